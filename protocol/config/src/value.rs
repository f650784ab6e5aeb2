//! The types a key can have.

use std::borrow::Cow;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

mod group;
mod log4perl;
mod net;
mod session;
mod share;
mod text;

pub use group::Numbered;
pub use log4perl::{Appender, Destination, Log4perl, SyslogSocket};
pub use net::{HostName, Network};
pub use session::{
    Bandwidth, Display, Geometry, Keyboard, Link, LogLevel, NxEngine, RpcMethod, ShareEngine,
    Theme, ToleranceChecks,
};
pub use share::{SharedFolder, SharedFolders};
pub use text::{
    CallKey, FsType, HomePath, Locale, ProgramName, Ranged, Umask, UserName, VariableName, Words,
};

use crate::key::Key;
use crate::read::Reader;

/// A type that one value can be read as.
pub(crate) trait Value: Sized {
    /// The value must not be shown.
    const SECRET: bool = false;

    /// What a text must be, to follow the word "expected".
    fn expected() -> Cow<'static, str>;

    fn parse(text: &str) -> Option<Self>;
}

/// A type that a key, or a group of keys, can be read as.
pub(crate) trait Field: Sized {
    const SECRET: bool;

    fn expected() -> Cow<'static, str>;

    fn accepts(text: &str) -> bool;

    /// Reads the key; `None` after telling the reader what is wrong.
    fn read(reader: &mut Reader<'_>, key: &'static Key) -> Option<Self>;
}

impl<T: Value> Field for T {
    const SECRET: bool = T::SECRET;

    fn expected() -> Cow<'static, str> {
        T::expected()
    }

    fn accepts(text: &str) -> bool {
        T::parse(text).is_some()
    }

    fn read(reader: &mut Reader<'_>, key: &'static Key) -> Option<Self> {
        reader.value(key)
    }
}

/// Makes a type that is written as text readable from a command line, too.
macro_rules! from_str {
    ($($type:ty),*) => { $(
        impl std::str::FromStr for $type {
            type Err = $crate::value::Expected;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                use $crate::value::Value;
                Self::parse(text).ok_or_else(|| $crate::value::Expected(Self::expected()))
            }
        }
    )* };
}
pub(crate) use from_str;

/// A text was not what its type takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct Expected(pub(crate) Cow<'static, str>);

impl<T: Value> Value for Option<T> {
    const SECRET: bool = T::SECRET;

    fn expected() -> Cow<'static, str> {
        format!("{}, or nothing", T::expected()).into()
    }

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            Some(None)
        } else {
            T::parse(text).map(Some)
        }
    }
}

/// Items separated by commas, spaces or both.
impl<T: Value> Value for Vec<T> {
    fn expected() -> Cow<'static, str> {
        format!(
            "a list, separated by commas or spaces, each {}",
            T::expected()
        )
        .into()
    }

    fn parse(text: &str) -> Option<Self> {
        text.split([',', ' ', '\t'])
            .filter(|item| !item.is_empty())
            .map(T::parse)
            .collect()
    }
}

impl Value for bool {
    fn expected() -> Cow<'static, str> {
        "1, true, yes or on, or 0, false, no, off or nothing".into()
    }

    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Some(true),
            "" | "0" | "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }
}

impl Value for String {
    fn expected() -> Cow<'static, str> {
        "text without control characters".into()
    }

    fn parse(text: &str) -> Option<Self> {
        (!text.contains(char::is_control)).then(|| text.to_owned())
    }
}

impl Value for SecretString {
    const SECRET: bool = true;

    fn expected() -> Cow<'static, str> {
        "text without control characters".into()
    }

    fn parse(text: &str) -> Option<Self> {
        (!text.contains(char::is_control)).then(|| Self::from(text))
    }
}

/// Absolute. The manual writes one in double quotes, so a pair is taken off.
impl Value for PathBuf {
    fn expected() -> Cow<'static, str> {
        "an absolute path".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text::unquoted(text);
        (text.starts_with('/') && !text.contains(char::is_control)).then(|| text.into())
    }
}

/// `*` is every IPv4 address of the machine, as in the reference's `l7r.address`.
impl Value for IpAddr {
    fn expected() -> Cow<'static, str> {
        "an IP address, or * for every IPv4 address".into()
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(std::net::Ipv4Addr::UNSPECIFIED.into());
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        bare.unwrap_or(text).parse().ok()
    }
}

/// A port to listen on; 0 lets the system choose.
impl Value for u16 {
    fn expected() -> Cow<'static, str> {
        "a port from 0 to 65535".into()
    }

    fn parse(text: &str) -> Option<Self> {
        digits(text)?.parse().ok()
    }
}

/// A port to connect to.
impl Value for NonZeroU16 {
    fn expected() -> Cow<'static, str> {
        "a port from 1 to 65535".into()
    }

    fn parse(text: &str) -> Option<Self> {
        digits(text)?.parse().ok()
    }
}

/// The number of a virtual machine.
impl Value for NonZeroU32 {
    fn expected() -> Cow<'static, str> {
        "a whole number from 1".into()
    }

    fn parse(text: &str) -> Option<Self> {
        digits(text)?.parse().ok()
    }
}

/// Seconds, with up to three decimals: a wait, so never none and never for ever.
impl Value for Duration {
    fn expected() -> Cow<'static, str> {
        "seconds from 0.001 to 86400".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let seconds: u64 = digits(whole)?.parse().ok()?;
        let millis: u64 = match part.len() {
            1..=3 => format!("{:0<3}", digits(part)?).parse().ok()?,
            _ => return None,
        };
        let all = Self::from_secs(seconds).checked_add(Self::from_millis(millis))?;
        (!all.is_zero() && all <= Self::from_secs(86400)).then_some(all)
    }
}

/// Only digits: the parsers of the standard library also take a sign.
pub(crate) fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        for yes in ["1", "true", "Yes", "ON"] {
            assert_eq!(bool::parse(yes), Some(true), "{yes}");
        }
        for no in ["", "0", "false", "No", "OFF"] {
            assert_eq!(bool::parse(no), Some(false), "{no}");
        }
        for wrong in ["2", "y", "01", "enabled", " "] {
            assert_eq!(bool::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn paths_are_absolute() {
        assert_eq!(PathBuf::parse("/a b"), Some("/a b".into()));
        assert_eq!(PathBuf::parse("\"/a b\""), Some("/a b".into()));
        for wrong in ["", "a", "~/a", "\"\"", "/a\nb"] {
            assert_eq!(PathBuf::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(IpAddr::parse("*"), Some("0.0.0.0".parse().unwrap()));
        assert_eq!(IpAddr::parse("[::1]"), Some("::1".parse().unwrap()));
        assert_eq!(IpAddr::parse("10.0.0.1"), Some("10.0.0.1".parse().unwrap()));
        for wrong in ["", "localhost", "10.0.0", "::1]", "10.0.0.1:80"] {
            assert_eq!(IpAddr::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ports() {
        assert_eq!(u16::parse("0"), Some(0));
        assert_eq!(u16::parse("65535"), Some(65535));
        for wrong in ["", "-1", "+1", "65536", "1.5", "0x10"] {
            assert_eq!(u16::parse(wrong), None, "{wrong}");
            assert_eq!(NonZeroU16::parse(wrong), None, "{wrong}");
        }
        assert_eq!(NonZeroU16::parse("0"), None);
    }

    #[test]
    fn seconds() {
        assert_eq!(Duration::parse("20"), Some(Duration::from_secs(20)));
        assert_eq!(Duration::parse("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(Duration::parse("86400"), Some(Duration::from_secs(86400)));
        for wrong in [
            "",
            "0",
            "0.0",
            "-1",
            "1.",
            ".5",
            "1.0001",
            "86400.001",
            "1e3",
            "inf",
            "20s",
        ] {
            assert_eq!(Duration::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Duration::parse("99999999999999999999"), None);
    }

    #[test]
    fn lists() {
        let users = Vec::<UserName>::parse("audio, video  fuse,").unwrap();
        let users: Vec<&str> = users.iter().map(UserName::as_str).collect();
        assert_eq!(users, ["audio", "video", "fuse"]);
        assert!(Vec::<UserName>::parse("").unwrap().is_empty());
        assert!(Vec::<UserName>::parse("audio,-x").is_none());
    }
}
