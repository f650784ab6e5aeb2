//! The X cookie of a session's display.

use std::io;
use std::path::Path;

use crate::files::write_private;

/// `FamilyWild` of the X authority file: matches any address.
const FAMILY_WILD: u16 = 0xffff;

/// The protocol's name, as servers and clients know it.
const PROTOCOL: &[u8] = b"MIT-MAGIC-COOKIE-1";

/// Makes a random cookie and writes it for nxagent and its clients, readable
/// by the user only.
///
/// # Errors
/// When there is no randomness or the file cannot be written.
pub fn write(path: &Path, display: u16) -> io::Result<()> {
    let mut cookie = [0; 16];
    getrandom::fill(&mut cookie).map_err(io::Error::other)?;
    write_private(path, &entry(display, &cookie)?)
}

/// One entry: family, address, display number, protocol, cookie; each but the
/// first a big-endian length and bytes.
fn entry(display: u16, cookie: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = FAMILY_WILD.to_be_bytes().to_vec();
    for field in [&b""[..], display.to_string().as_bytes(), PROTOCOL, cookie] {
        let length = u16::try_from(field.len()).map_err(io::Error::other)?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(field);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_what_xauth_writes() {
        let expected = b"\xff\xff\0\0\0\x03100\0\x12MIT-MAGIC-COOKIE-1\0\x020\x01";
        assert_eq!(entry(100, b"0\x01").unwrap(), expected);
    }
}
