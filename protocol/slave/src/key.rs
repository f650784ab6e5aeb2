use std::fmt;

use qvd_http1::Headers;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use crate::Error;

/// Most bytes of a key. The reference's have 64.
const MAX_KEY: usize = 256;

/// The session's secret, which both ends of the slave channel know: `Basic`
/// and the raw key in `Authorization`, not base64.
#[derive(Clone)]
pub struct Key(SecretString);

impl Key {
    /// Takes a key as it is in its file or header; a line end after it is not
    /// part of it. `None` when it is empty, too long, or has other characters
    /// than visible ASCII.
    #[must_use]
    pub fn new(key: &str) -> Option<Self> {
        let key = key.trim_end_matches(['\r', '\n']);
        let fits = (1..=MAX_KEY).contains(&key.len());
        (fits && key.bytes().all(|b| b.is_ascii_graphic())).then(|| Self(key.into()))
    }

    /// Checks the key of a request; the comparison takes the same time
    /// wherever the keys differ.
    ///
    /// # Errors
    /// [`Error::NoKey`] and [`Error::WrongKey`].
    pub fn check(&self, headers: &Headers) -> Result<(), Error> {
        let value = headers.value("Authorization").ok_or(Error::NoKey)?;
        let (scheme, given) = value
            .iter()
            .position(|b| *b == b' ')
            .and_then(|at| value.split_at_checked(at))
            .ok_or(Error::NoKey)?;
        if !scheme.eq_ignore_ascii_case(b"Basic") {
            return Err(Error::NoKey);
        }
        let same = self.0.expose_secret().as_bytes().ct_eq(given.trim_ascii());
        if bool::from(same) {
            Ok(())
        } else {
            Err(Error::WrongKey)
        }
    }

    /// The key as it stands in its file. It is a secret: it belongs into a
    /// file that only the user may read, and nowhere else.
    #[must_use]
    pub fn to_file(&self) -> &str {
        self.0.expose_secret()
    }

    /// The value of `Authorization`.
    pub(crate) fn authorization(&self) -> String {
        format!("Basic {}", self.0.expose_secret())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> Headers {
        let mut headers = Headers::new();
        headers.push("Authorization", value);
        headers
    }

    #[test]
    fn only_the_very_key_opens() {
        let key = Key::new("SLAVEKEY0123456789\n").unwrap();
        assert_eq!(key.check(&headers("Basic SLAVEKEY0123456789")), Ok(()));
        assert_eq!(key.check(&headers("basic SLAVEKEY0123456789")), Ok(()));
        for wrong in [
            "Basic SLAVEKEY012345678",
            "Basic SLAVEKEY01234567890",
            "Basic ",
        ] {
            assert_eq!(key.check(&headers(wrong)), Err(Error::WrongKey), "{wrong}");
        }
        for none in ["Bearer SLAVEKEY0123456789", "SLAVEKEY0123456789", ""] {
            assert_eq!(key.check(&headers(none)), Err(Error::NoKey), "{none}");
        }
        assert_eq!(key.check(&Headers::new()), Err(Error::NoKey));
    }

    #[test]
    fn a_key_is_visible_ascii_and_is_never_shown() {
        for bad in ["", "\n", "a b", "a\tb", "schlüssel", &"k".repeat(257)] {
            assert!(Key::new(bad).is_none(), "{bad:?}");
        }
        let key = Key::new("geheim").unwrap();
        assert_eq!(format!("{key:?}"), "Key(…)");
    }
}
