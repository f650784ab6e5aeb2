//! The secret a session is resumed with.

use std::fmt;

use subtle::ConstantTimeEq;

/// 128 random bits that let their holder resume a session. Compared in
/// constant time, never shown.
#[derive(Clone)]
pub struct Token([u8; 16]);

impl Token {
    /// The token of these bytes, which come from the system's random numbers.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the wire.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
