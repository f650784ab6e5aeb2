//! X cookies and the files that hold them.

use std::fmt;
use std::path::Path;

use crate::Result;
use crate::scene::{random_bytes, write_private};

/// The authorization protocol every X server here asks for.
pub(super) const PROTOCOL: &[u8] = b"MIT-MAGIC-COOKIE-1";

/// Address families of an authority file: a host's own displays by its name,
/// and any address at all.
const FAMILY_LOCAL: u16 = 256;
const FAMILY_WILD: u16 = 0xffff;

/// The secret of an X display.
#[derive(Clone)]
pub struct Cookie([u8; 16]);

impl Cookie {
    /// A new random one.
    ///
    /// # Errors
    ///
    /// When the system's random generator fails.
    pub fn random() -> Result<Self> {
        Ok(Self(random_bytes()?))
    }

    /// Writes an authority file (as `XAUTHORITY` and `-auth` name it) for a
    /// display of this machine, readable to its owner only.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write_authority(&self, path: &Path, display: u16) -> Result<()> {
        let host = rustix::system::uname().nodename().to_bytes().to_vec();
        // Xlib finds the entry by the host's name; nxagent's and nxproxy's own
        // lookup goes through xauth, which does the same. The second entry is
        // for a host whose name changes.
        let entries = [(FAMILY_LOCAL, host.as_slice()), (FAMILY_WILD, b"")];
        self.write_entries(path, display, &entries)
    }

    /// The same for a display of this machine under another name alone, as it
    /// is left behind when the machine is renamed.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write_authority_as(&self, path: &Path, host: &str, display: u16) -> Result<()> {
        self.write_entries(path, display, &[(FAMILY_LOCAL, host.as_bytes())])
    }

    fn write_entries(&self, path: &Path, display: u16, entries: &[(u16, &[u8])]) -> Result<()> {
        let number = display.to_string();
        let mut file = Vec::new();
        for (family, address) in entries {
            file.extend(family.to_be_bytes());
            for field in [address, number.as_bytes(), PROTOCOL, &self.0] {
                let length = u16::try_from(field.len()).unwrap_or(u16::MAX);
                file.extend(length.to_be_bytes());
                file.extend(field);
            }
        }
        write_private(path, &file)
    }

    /// The secret itself.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_both_entries_and_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("authority");
        Cookie([7; 16]).write_authority(&path, 301).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let entry = [
            b"\x00\x03301\x00\x12MIT-MAGIC-COOKIE-1\x00\x10".as_slice(),
            &[7; 16],
        ]
        .concat();
        assert_eq!(
            bytes
                .windows(entry.len())
                .filter(|part| *part == entry)
                .count(),
            2
        );
        assert!(bytes.starts_with(&[1, 0]));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Cookie([7; 16])), "Cookie(…)");
    }
}
