//! What is mounted where, without a question to any file system: one whose
//! peer is silent would not answer.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Most bytes of a mount table.
const MAX_TABLE: u64 = 16 * 1024 * 1024;

/// The mount table, which tells when it changes.
pub(crate) struct Table(File);

impl Table {
    pub(crate) fn open() -> io::Result<Self> {
        File::open("/proc/self/mountinfo").map(Self)
    }

    /// The mount points.
    pub(crate) fn points(&mut self) -> io::Result<Vec<PathBuf>> {
        let mut table = Vec::new();
        self.0.rewind()?;
        (&self.0).take(MAX_TABLE).read_to_end(&mut table)?;
        let lines = table.split(|b| *b == b'\n');
        let point = |line: &[u8]| Some(unescaped(line.split(|b| *b == b' ').nth(4)?));
        Ok(lines.filter_map(point).collect())
    }

    pub(crate) fn has(&mut self, point: &Path) -> io::Result<bool> {
        Ok(self.points()?.iter().any(|one| one == point))
    }

    /// Waits for a change, or for `end` to become readable; `false` when the
    /// time has passed.
    pub(crate) fn changes(&self, end: Option<&OwnedFd>, deadline: Instant) -> io::Result<bool> {
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

/// Waits until something is mounted on `point`, or the program that is to do
/// it has ended.
pub(crate) fn appears(point: &Path, child: &Child, time: Duration) -> io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let mut table = Table::open()?;
    let deadline = Instant::now() + time;
    // The table has it by its real name.
    let point = point.canonicalize()?;
    loop {
        if table.has(&point)? {
            return Ok(true);
        }
        let is_over = || {
            let mut fds = [PollFd::new(&ended, PollFlags::IN)];
            !matches!(poll(&mut fds, Some(&Timespec::default())), Ok(0))
        };
        if is_over() || !table.changes(Some(&ended), deadline)? {
            return Ok(false);
        }
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
        let now = Instant::now();
        assert!(!table.changes(None, now).unwrap() || table.has(Path::new("/")).unwrap());
    }
}
