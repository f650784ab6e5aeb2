//! The mount table: what is mounted where, without a question to any file
//! system. One whose peer is silent would not answer.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Most bytes of a mount table.
const MAX_TABLE: u64 = 16 * 1024 * 1024;

/// The mount table, which tells when it changes.
#[derive(Debug)]
pub struct Table(File);

impl Table {
    /// Opens it.
    ///
    /// # Errors
    /// When there is no `/proc`.
    pub fn open() -> io::Result<Self> {
        File::open("/proc/self/mountinfo").map(Self)
    }

    /// What is mounted, in the order of mounting.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn mounts(&mut self) -> io::Result<Vec<Mount>> {
        let mut table = Vec::new();
        self.0.rewind()?;
        (&self.0).take(MAX_TABLE).read_to_end(&mut table)?;
        let lines = table.split(|b| *b == b'\n');
        Ok(lines.filter_map(Mount::of).collect())
    }

    /// Whether something is mounted on `point`, by its real name.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn has(&mut self, point: &Path) -> io::Result<bool> {
        Ok(self.mounts()?.iter().any(|one| one.point == point))
    }

    /// Waits for a change, or for `end` to become readable; `false` when the
    /// time has passed.
    ///
    /// # Errors
    /// When the table cannot be watched.
    pub fn changes(&self, end: Option<&OwnedFd>, deadline: Instant) -> io::Result<bool> {
        let mut fds = vec![PollFd::new(&self.0, PollFlags::PRI)];
        fds.extend(end.map(|end| PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN)));
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut fds, Some(&left)) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(ready) => return Ok(ready > 0),
            }
        }
    }
}

/// It has an exceptional condition (`POLLPRI`) whenever it changed since it was
/// last asked.
impl AsFd for Table {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The file system's device number, as `major:minor`: no other file system
    /// has it while this one lives, mounted or not.
    pub device: Vec<u8>,
    /// Where it is mounted, by its real name.
    pub point: PathBuf,
    /// The kind of file system.
    pub kind: Vec<u8>,
}

impl Mount {
    /// Of a line: number, parent, device, root, mount point, options, fields up
    /// to a hyphen, kind... (`proc_pid_mountinfo(5)`).
    #[must_use]
    pub fn of(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|b| *b == b' ').skip(2);
        Some(Self {
            device: fields.next()?.to_owned(),
            point: unescaped(fields.nth(1)?),
            kind: fields.skip_while(|field| *field != b"-").nth(1)?.to_owned(),
        })
    }
}

/// Space, tab, line end and backslash stand in the table as three octal
/// digits.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, more)) = rest.split_first() {
        let digits = more.get(..3).filter(|_| *first == b'\\');
        let octal = digits.and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        bytes.push(octal.unwrap_or(*first));
        rest = match octal {
            Some(_) => more.get(3..).unwrap_or_default(),
            None => more,
        };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_and_its_escapes_undone() {
        assert_eq!(unescaped(b"/a\\040b\\134"), Path::new("/a b\\"));
        assert_eq!(unescaped(b"/a\\9"), Path::new("/a\\9"));
        let mut table = Table::open().unwrap();
        assert!(table.has(Path::new("/proc")).unwrap());
        assert!(!table.has(Path::new("/proc/none")).unwrap());
        let line = b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw";
        let mount = Mount::of(line).unwrap();
        assert_eq!(mount.device, b"98:0");
        assert_eq!(mount.point, Path::new("/mnt 2"));
        assert_eq!(mount.kind, b"ext3");
        assert_eq!(Mount::of(b"36 35 98:0"), None);
        let now = Instant::now();
        assert!(!table.changes(None, now).unwrap() || table.has(Path::new("/")).unwrap());
    }
}
