//! Texts with a grammar of their own.

use secrecy::{ExposeSecret as _, SecretString};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use super::{Value, digits, from_str};

/// A text whose characters and length are limited.
macro_rules! name {
    ($(#[$meta:meta])* $name:ident: $expected:literal, |$text:ident| $valid:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Value for $name {
            fn expected() -> Cow<'static, str> {
                $expected.into()
            }

            fn parse($text: &str) -> Option<Self> {
                (!$text.is_empty() && $text.len() <= 256 && $valid).then(|| Self($text.to_owned()))
            }
        }

        from_str!($name);
    };
}

name! {
    /// The name of a user or group of the system, which may come from a
    /// directory service (`DOMAIN\ann`, `ann@example.org`). It can be an
    /// argument of `useradd` and a field of `/etc/passwd`.
    UserName: "a user or group name",
    |text| !text.starts_with(['-', '.'])
        && !text.contains(|c: char| c.is_control() || c.is_whitespace() || ":/,".contains(c))
}

name! {
    /// A file system that `mkfs.TYPE` makes.
    FsType: "a file system type such as ext4",
    |text| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

name! {
    /// A locale, such as `en_US.UTF-8`.
    Locale: "a locale such as en_US.UTF-8",
    |text| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.@-".contains(&b))
}

name! {
    /// The name of an environment variable.
    VariableName: "the name of an environment variable",
    |text| !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A program to run: an absolute path, or a name to look up in `PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProgramName(PathBuf);

impl ProgramName {
    /// The path or name.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl AsRef<OsStr> for ProgramName {
    /// What `std::process::Command::new` takes.
    fn as_ref(&self) -> &OsStr {
        self.0.as_os_str()
    }
}

impl Value for ProgramName {
    fn expected() -> Cow<'static, str> {
        "an absolute path or the name of a program".into()
    }

    /// A path relative to wherever the program happens to run is refused.
    fn parse(text: &str) -> Option<Self> {
        let text = unquoted(text);
        let name = !text.is_empty() && !text.contains('/') && !text.starts_with(['-', '.', '~']);
        let valid = (name || text.starts_with('/')) && !text.contains(char::is_control);
        valid.then(|| Self(text.into()))
    }
}

/// Arguments for a program, split at spaces. Single or double quotes keep an
/// argument with spaces together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words(Vec<String>);

impl Words {
    /// The arguments.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl Value for Words {
    fn expected() -> Cow<'static, str> {
        "arguments separated by spaces, with closed quotes".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut quote = None;
        for c in text.chars() {
            match (quote, c) {
                (_, c) if c.is_control() && c != '\t' => return None,
                (Some(open), c) if c == open => quote = None,
                (None, '"' | '\'') => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                (None, ' ' | '\t') => words.extend(word.take()),
                (_, c) => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        quote.is_none().then_some(Self(words))
    }
}

/// A path that may lie in somebody's home directory: absolute, or beneath the
/// home with `~/` or nothing before it (the reference has `.qvd/certs`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HomePath(PathBuf);

impl HomePath {
    /// The path for the user whose home directory is `home`.
    #[must_use]
    pub fn under(&self, home: &Path) -> PathBuf {
        home.join(&self.0)
    }
}

/// As it is written in a configuration.
impl fmt::Display for HomePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_relative() {
            write!(f, "~/{}", self.0.display())
        } else {
            self.0.display().fmt(f)
        }
    }
}

impl Value for HomePath {
    fn expected() -> Cow<'static, str> {
        "a path, absolute or beneath ~/".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let text = unquoted(text);
        let bare = match text.strip_prefix("~/") {
            Some(bare) => bare.trim_start_matches('/'),
            None if text.starts_with('~') => return None,
            None => text,
        };
        let valid = !bare.is_empty() && !text.contains(char::is_control);
        valid.then(|| Self(bare.into()))
    }
}

/// The permissions that new files do not get, in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Umask(u16);

impl Umask {
    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }
}

impl Value for Umask {
    fn expected() -> Cow<'static, str> {
        "an octal number from 0000 to 0777".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let bits = u16::from_str_radix(digits(text)?, 8).ok()?;
        (bits <= 0o777 && text.len() <= 4).then_some(Self(bits))
    }
}

/// A whole number within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ranged<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Ranged<MIN, MAX> {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl<const MIN: u32, const MAX: u32> Value for Ranged<MIN, MAX> {
    fn expected() -> Cow<'static, str> {
        format!("a whole number from {MIN} to {MAX}").into()
    }

    fn parse(text: &str) -> Option<Self> {
        digits(text)?
            .parse()
            .ok()
            .filter(|number| (MIN..=MAX).contains(number))
            .map(Self)
    }
}

/// The text within a pair of double quotes, or all of it.
pub(crate) fn unquoted(text: &str) -> &str {
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text)
}

from_str!(CallKey, HomePath);

/// A secret that callers of the agent show. Of the letters that a header can
/// carry as they are (RFC 6750), and long enough not to be guessed.
#[derive(Debug, Clone)]
pub struct CallKey(SecretString);

impl CallKey {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl Value for CallKey {
    const SECRET: bool = true;

    fn expected() -> Cow<'static, str> {
        "16 to 256 letters, digits and -._~+/=".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let fits = (16..=256).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b));
        fits.then(|| Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_split_as_an_administrator_expects() {
        let words = |text| Words::parse(text).map(|words| words.0);
        let own = |words: &[&str]| Some(words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(words(""), own(&[]));
        assert_eq!(
            words(" -o atomic_o_trunc  -o\tidmap=user "),
            own(&["-o", "atomic_o_trunc", "-o", "idmap=user"])
        );
        assert_eq!(
            words("a 'b c' \"d 'e'\" ''"),
            own(&["a", "b c", "d 'e'", ""])
        );
        assert_eq!(words("x=\"a b\"c"), own(&["x=a bc"]));
        assert_eq!(words("'open"), None);
        assert_eq!(words("a\nb"), None);
    }

    #[test]
    fn home_paths() {
        let under = |text| HomePath::parse(text).map(|path| path.under(Path::new("/home/ann")));
        assert_eq!(under("~/Redirected"), Some("/home/ann/Redirected".into()));
        assert_eq!(under(".qvd/certs"), Some("/home/ann/.qvd/certs".into()));
        assert_eq!(under("/srv"), Some("/srv".into()));
        assert_eq!(under("~//etc"), Some("/home/ann/etc".into()));
        for wrong in ["", "~", "~/", "~bob/x", "a\nb"] {
            assert_eq!(under(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn programs() {
        for right in ["/usr/bin/nxagent", "xdg-open", "/etc/X11/Xsession"] {
            assert_eq!(
                ProgramName::parse(right).unwrap().as_path(),
                Path::new(right)
            );
        }
        for wrong in ["", "bin/x", "./x", "~/x", "-x", "a\nb"] {
            assert!(ProgramName::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn user_names() {
        for right in [
            "ann",
            "DOM\\ann",
            "ann@example.org",
            "jörg",
            "www-data",
            "x$",
        ] {
            assert!(UserName::parse(right).is_some(), "{right}");
        }
        for wrong in ["", "-r", ".", "..", "a:b", "a/b", "a,b", "a b", "a\nb"] {
            assert!(UserName::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn umasks_are_octal() {
        assert_eq!(Umask::parse("0022").unwrap().bits(), 0o022);
        assert_eq!(Umask::parse("77").unwrap().bits(), 0o077);
        for wrong in ["", "8", "1000", "0o22", "00022", "-1"] {
            assert_eq!(Umask::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn other_names() {
        assert!(VariableName::parse("LC_ALL").is_some());
        assert!(VariableName::parse("1A").is_none());
        assert!(VariableName::parse("A=B").is_none());
        assert!(FsType::parse("ext4 /dev/sda").is_none());
        assert!(Locale::parse("C").is_some());
        assert!(Locale::parse("en_US;x").is_none());
        assert_eq!(Ranged::<1, 5>::parse("5").unwrap().number(), 5);
        assert!(Ranged::<1, 5>::parse("6").is_none());
    }

    #[test]
    fn keys_of_callers_are_long_and_not_shown() {
        let key = CallKey::parse("0123456789abcdef").unwrap();
        assert_eq!(key.expose(), "0123456789abcdef");
        assert!(!format!("{key:?}").contains("0123"));
        for wrong in ["", "short", "0123456789 abcdef", "0123456789abcdef\n"] {
            assert!(CallKey::parse(wrong).is_none(), "{wrong}");
        }
        assert!(CallKey::parse(&"x".repeat(257)).is_none());
    }
}
