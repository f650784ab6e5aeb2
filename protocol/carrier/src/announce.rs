//! How a client says, through a broker, that it speaks the carrier: by
//! parameters of its connect, which any broker hands to the agent.

use crate::token::Token;

/// The parameter of a client that speaks the carrier: `1`.
pub const CARRIER: &str = "qvd.client.carrier";

/// The parameter of a client that has lost the connection of a session: the
/// session's token, 32 hexadecimal digits. A secret: it goes into no log and to
/// no hook.
pub const RESUME: &str = "qvd.client.carrier.resume";

/// Whether the value of [`CARRIER`] says that the carrier is spoken.
#[must_use]
pub fn announced(value: Option<&str>) -> bool {
    value == Some("1")
}

/// The token in the value of [`RESUME`]; `None` of what is none.
#[must_use]
pub fn resumes(value: &str) -> Option<Token> {
    let digits = value.as_bytes();
    if digits.len() != 32 {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(Token::new(bytes))
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

impl Token {
    /// The value of [`RESUME`].
    #[must_use]
    pub fn to_parameter(&self) -> String {
        self.bytes().iter().map(|b| format!("{b:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_nothing_else_is_one() {
        let token =
            Token::new(*b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff");
        let value = token.to_parameter();
        assert_eq!(value.len(), 32);
        assert_eq!(resumes(&value), Some(token.clone()));
        assert_eq!(resumes(&value.to_uppercase()), Some(token));
        for wrong in [
            "",
            "1",
            &value[1..],
            &format!("{value}0"),
            &"g".repeat(32),
            &"é".repeat(16),
        ] {
            assert_eq!(resumes(wrong), None, "{wrong}");
        }
    }
}
