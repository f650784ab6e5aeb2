use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use qvd_http1::Headers;
use secrecy::{ExposeSecret, SecretString};

use crate::Error;

/// Who a client says it is.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Login and password. The password may contain `:`.
    Basic {
        /// The login, without `:`.
        login: String,
        /// The password.
        password: SecretString,
    },
    /// A token that the broker gave out earlier.
    Bearer {
        /// The token.
        token: SecretString,
    },
}

impl Credentials {
    /// The value of the `Authorization` header.
    ///
    /// # Errors
    /// [`Error::LoginWithColon`]: everything after the colon would be read as
    /// part of the password.
    pub fn to_header(&self) -> Result<String, Error> {
        Ok(match self {
            Self::Basic { login, .. } if login.contains(':') => return Err(Error::LoginWithColon),
            Self::Basic { login, password } => {
                let pair = format!("{login}:{}", password.expose_secret());
                format!("Basic {}", STANDARD.encode(pair))
            }
            Self::Bearer { token } => {
                format!("Bearer {}", STANDARD.encode(token.expose_secret()))
            }
        })
    }

    /// Reads the `Authorization` header; `None` where there is none.
    ///
    /// # Errors
    /// [`Error::Authorization`] for another scheme, for what is not base64,
    /// not UTF-8, or without a colon.
    pub fn from_headers(headers: &Headers) -> Result<Option<Self>, Error> {
        let Some(value) = headers.value("Authorization") else {
            return Ok(None);
        };
        let value = std::str::from_utf8(value).map_err(|_| Error::Authorization)?;
        let (scheme, encoded) = value.trim().split_once(' ').ok_or(Error::Authorization)?;
        // Long values arrive folded: the reference's encoder breaks lines.
        let encoded: String = encoded.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(encoded).map_err(|_| Error::Authorization)?;
        let text = String::from_utf8(bytes).map_err(|_| Error::Authorization)?;
        if scheme.eq_ignore_ascii_case("Basic") {
            let (login, password) = text.split_once(':').ok_or(Error::Authorization)?;
            Ok(Some(Self::Basic {
                login: login.to_owned(),
                password: password.into(),
            }))
        } else if scheme.eq_ignore_ascii_case("Bearer") {
            Ok(Some(Self::Bearer { token: text.into() }))
        } else {
            Err(Error::Authorization)
        }
    }
}

/// The header of a 401: name and value.
#[must_use]
pub fn basic_challenge() -> (&'static str, &'static str) {
    ("WWW-Authenticate", "Basic realm=\"QVD\"")
}
