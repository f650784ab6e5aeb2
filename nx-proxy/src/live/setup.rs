//! The first message of an X client, with this end's right to draw put in.

use crate::authority::Cookie;
use crate::codec::CodecError;

/// Bytes before the authorization.
const HEAD: usize = 12;

/// The setup message at the start of `bytes` with `cookie` in place of what it
/// brings, and what follows it as it is. The agent knows nothing of this
/// machine's displays; what it sends as authorization is of no use here.
///
/// # Errors
/// It is no setup message.
pub(super) fn admit(bytes: &[u8], cookie: &Cookie) -> Result<Vec<u8>, CodecError> {
    let parts = bytes.split_first_chunk::<HEAD>();
    let Some((head, rest)) = parts else {
        return Err(CodecError::Setup);
    };
    let [order, _, v1, v2, v3, v4, n1, n2, d1, d2, ..] = *head;
    let big = match order {
        b'B' => true,
        b'l' => false,
        _ => return Err(CodecError::Setup),
    };
    let length = |pair: [u8; 2]| {
        usize::from(if big {
            u16::from_be_bytes(pair)
        } else {
            u16::from_le_bytes(pair)
        })
    };
    let theirs = padded(length([n1, n2])) + padded(length([d1, d2]));
    let Some(rest) = rest.get(theirs..) else {
        return Err(CodecError::Setup);
    };
    let (name, data) = cookie;
    let mut out = vec![order, 0, v1, v2, v3, v4];
    for part in [name, data] {
        // The file of cookies has 16-bit lengths, too.
        let length = u16::try_from(part.len()).unwrap_or(0);
        out.extend(if big {
            length.to_be_bytes()
        } else {
            length.to_le_bytes()
        });
    }
    out.extend([0, 0]);
    for part in [name, data] {
        out.extend_from_slice(part);
        out.resize(padded(out.len()), 0);
    }
    out.extend_from_slice(rest);
    Ok(out)
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie() -> Cookie {
        (b"MIT-MAGIC-COOKIE-1".to_vec(), vec![7; 16])
    }

    #[test]
    fn the_cookie_of_the_display_is_put_in() {
        let plain = b"l\0\x0b\0\0\0\0\0\0\0\0\0and more";
        let mut expected = b"l\0\x0b\0\0\0\x12\0\x10\0\0\0MIT-MAGIC-COOKIE-1\0\0".to_vec();
        expected.extend([7; 16]);
        expected.extend(b"and more");
        assert_eq!(admit(plain, &cookie()).unwrap(), expected);

        let other = b"B\0\0\x0b\0\0\0\x05\0\x02\0\0OTHER\0\0\0no\0\0and more";
        let got = admit(other, &cookie()).unwrap();
        assert_eq!(&got[..12], b"B\0\0\x0b\0\0\0\x12\0\x10\0\0");
        assert_eq!(&got[12..], &expected[12..]);

        let got = admit(plain, &Cookie::default()).unwrap();
        assert_eq!(got, plain);
    }

    #[test]
    fn what_is_no_setup_message_is_refused() {
        for bytes in [
            &b""[..],
            b"l\0\x0b\0\0\0\0\0\0\0\0",
            b"x\0\x0b\0\0\0\0\0\0\0\0\0",
            b"l\0\x0b\0\0\0\x05\0\0\0\0\0MIT-MA",
        ] {
            assert_eq!(admit(bytes, &cookie()), Err(CodecError::Setup));
        }
    }
}
