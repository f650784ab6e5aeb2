use std::fmt;

/// Longest value of an NX option, in bytes.
const MAX_VALUE: usize = 32;

/// NX options a user may set for this end, checked key by key.
///
/// Options that name hosts, ports, files or processes belong to the engine and
/// are refused: an option string is a place where one value could smuggle in
/// another option.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NxOptions(Vec<(&'static str, String)>);

/// Why a string of NX options is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// A part is not `key=value`.
    #[error("NX option {0:?} is not of the form key=value")]
    Form(String),
    /// The key is none a user may set.
    #[error("NX option {0:?} is not one that can be set")]
    Key(String),
    /// The value is not of the kind the key needs.
    #[error("NX option {key} needs {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What its value has to be.
        expected: &'static str,
    },
}

#[derive(Clone, Copy)]
enum Kind {
    /// `0` or `1`.
    Switch,
    /// `0` to `9`.
    Level,
    /// A number, perhaps with `k` or `m`.
    Size,
    /// Letters, digits and hyphens.
    Word,
}

/// What can be set, from nxproxy's manual page.
const KEYS: &[(&str, Kind)] = &[
    ("cache", Kind::Size),
    ("data", Kind::Level),
    ("delta", Kind::Switch),
    ("images", Kind::Size),
    ("limit", Kind::Size),
    ("link", Kind::Word),
    ("load", Kind::Switch),
    ("memory", Kind::Size),
    ("nodelay", Kind::Switch),
    ("pack", Kind::Word),
    ("render", Kind::Switch),
    ("save", Kind::Switch),
    ("shseg", Kind::Size),
    ("stream", Kind::Level),
    ("strict", Kind::Switch),
    ("taint", Kind::Switch),
    ("timeout", Kind::Size),
];

impl NxOptions {
    /// Reads `nx/nx,key=value,…:0`, where the `nx/nx,` and the display at the
    /// end may be left out.
    ///
    /// # Errors
    /// [`OptionError`], which names the first option that is refused.
    pub fn parse(text: &str) -> Result<Self, OptionError> {
        let text = text.trim();
        let text = text.strip_prefix("nx/nx").unwrap_or(text);
        let text = match text.rsplit_once(':') {
            Some((options, display)) if display.bytes().all(|b| b.is_ascii_digit()) => options,
            _ => text,
        };
        let parts = text.split(',').filter(|part| !part.is_empty());
        parts.map(option).collect::<Result<_, _>>().map(Self)
    }

    /// The options as they are written, `key=value` each.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(key, value)| (*key, value.as_str()))
    }
}

impl fmt::Display for NxOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nx/nx")?;
        self.iter()
            .try_for_each(|(key, value)| write!(f, ",{key}={value}"))
    }
}

fn option(part: &str) -> Result<(&'static str, String), OptionError> {
    let (key, value) = part
        .split_once('=')
        .ok_or_else(|| OptionError::Form(part.to_owned()))?;
    let (key, kind) = KEYS
        .iter()
        .find(|(known, _)| *known == key)
        .ok_or_else(|| OptionError::Key(key.to_owned()))?;
    if kind.accepts(value) {
        Ok((key, value.to_owned()))
    } else {
        Err(OptionError::Value {
            key,
            expected: kind.expected(),
        })
    }
}

impl Kind {
    fn accepts(self, value: &str) -> bool {
        if value.is_empty() || value.len() > MAX_VALUE {
            return false;
        }
        match self {
            Self::Switch => matches!(value, "0" | "1"),
            Self::Level => value.len() == 1 && value.bytes().all(|b| b.is_ascii_digit()),
            Self::Size => {
                let digits = value.strip_suffix(['k', 'm']).unwrap_or(value);
                (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
            }
            Self::Word => value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-'),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Switch => "0 or 1",
            Self::Level => "a number from 0 to 9",
            Self::Size => "a number, perhaps with k or m",
            Self::Word => "a word of letters, digits and hyphens",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_manuals_example_is_taken() {
        let options = NxOptions::parse("nx/nx,data=0,delta=0,cache=16384,pack=0:0").unwrap();
        assert_eq!(
            options.to_string(),
            "nx/nx,data=0,delta=0,cache=16384,pack=0"
        );
        assert_eq!(
            NxOptions::parse("link=16k").unwrap().to_string(),
            "nx/nx,link=16k"
        );
        assert_eq!(NxOptions::parse("").unwrap(), NxOptions::default());
        assert_eq!(NxOptions::parse("nx/nx:0").unwrap(), NxOptions::default());
    }

    #[test]
    fn options_of_the_engine_and_unknown_ones_are_refused_by_name() {
        for key in [
            "connect", "root", "kill", "listen", "port", "options", "errors", "cookie", "slave",
            "media", "cups", "font", "accept", "session", "bogus", "",
        ] {
            assert_eq!(
                NxOptions::parse(&format!("data=0,{key}=1")),
                Err(OptionError::Key(key.to_owned()))
            );
        }
    }

    #[test]
    fn values_of_another_kind_are_refused() {
        for text in [
            "data=10",
            "data=",
            "delta=2",
            "cache=big",
            "cache=k",
            "pack=a:b",
            "link=a b",
            "link=lan\u{0}",
            "pack=a/b",
            "cache=9999999999",
        ] {
            assert!(
                matches!(NxOptions::parse(text), Err(OptionError::Value { .. })),
                "{text}"
            );
        }
        assert_eq!(
            NxOptions::parse("data"),
            Err(OptionError::Form("data".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn nothing_smuggles_an_option(text in "\\PC{0,80}") {
            if let Ok(options) = NxOptions::parse(&text) {
                for (key, value) in options.iter() {
                    prop_assert!(KEYS.iter().any(|(known, _)| *known == key));
                    prop_assert!(!value.contains([',', ':', '=', ' ']));
                }
            }
        }
    }
}
