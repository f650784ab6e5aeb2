//! The media of the user's machine: what is mounted beneath `/media` and the
//! like, and word of every change.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// Most bytes of a mount table.
const MAX_TABLE: u64 = 16 * 1024 * 1024;

/// The mount table. It has an exceptional condition (`POLLPRI`) for `poll`
/// whenever it changed since it was last asked.
pub(super) struct Table(File);

impl Table {
    pub(super) fn open() -> io::Result<Self> {
        File::open("/proc/self/mountinfo").map(Self)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Where media are mounted beneath one of `roots`, in the order of their
    /// names.
    pub(super) fn media(&mut self, roots: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
        let mut table = Vec::new();
        self.0.rewind()?;
        (&self.0).take(MAX_TABLE).read_to_end(&mut table)?;
        Ok(media(&table, roots))
    }
}

/// The outermost mounts beneath `roots`: what is mounted within a medium is
/// reached through it.
fn media(table: &[u8], roots: &[PathBuf]) -> Vec<PathBuf> {
    let points = table.split(|b| *b == b'\n').filter_map(point);
    let is_medium = |point: &PathBuf| {
        let beneath = |root: &PathBuf| point != root && point.starts_with(root);
        roots.iter().any(beneath)
    };
    let mut found: Vec<PathBuf> = points.filter(is_medium).collect();
    found.sort();
    // A parent comes before what is beneath it.
    let mut outermost: Vec<PathBuf> = Vec::new();
    for point in found {
        if !outermost.iter().any(|other| point.starts_with(other)) {
            outermost.push(point);
        }
    }
    outermost
}

/// The mount point of a line: its fifth field. An automounter's own mount has
/// nothing in it before it is entered, and what then comes is a mount too.
fn point(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.split(|b| *b == b' ');
    let point = fields.nth(4)?;
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    (kind != b"autofs").then(|| PathBuf::from(OsString::from_vec(unescaped(point))))
}

/// Space, tab, line end and backslash stand in the table as three octal
/// digits.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, more)) = rest.split_first() {
        let digits = more.get(..3).filter(|_| *first == b'\\');
        let octal = digits.and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = more.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
24 1 0:22 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 24 0:25 / /media rw - tmpfs tmpfs rw
31 30 8:17 / /media/ann/My\\040stick rw,nosuid shared:9 master:3 - vfat /dev/sdb1 rw
32 31 8:18 / /media/ann/My\\040stick/deeper rw - ext4 /dev/sdb2 rw
33 24 8:33 / /run/media/ann/b\\134c rw - ext4 /dev/sdc rw
34 24 0:40 / /mediathek/x rw - tmpfs tmpfs rw
35 24 0:41 / /media/auto rw - autofs systemd-1 rw
garbage
36 24 0:42 / /media/half";

    #[test]
    fn media_are_the_outermost_mounts_beneath_their_folders() {
        let roots = ["/media", "/run/media"].map(PathBuf::from);
        let found = media(TABLE.as_bytes(), &roots);
        let expected = ["/media/ann/My stick", "/run/media/ann/b\\c"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(media(TABLE.as_bytes(), &[]).is_empty());
    }

    #[test]
    fn the_machines_own_table_is_read_again_and_again() {
        let mut table = Table::open().unwrap();
        let proc = || [PathBuf::from("/")];
        let first = table.media(&proc()).unwrap();
        assert!(first.contains(&PathBuf::from("/proc")), "{first:?}");
        assert_eq!(table.media(&proc()).unwrap(), first);
    }
}
