//! Waiting for what another program mounts.

use std::io;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use qvd_share::mount::Table;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

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
