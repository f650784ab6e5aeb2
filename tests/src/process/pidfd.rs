//! Waits for the end of a process which need not be a child.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Waits until the process behind `pidfd` has ended; false when it has not
/// within the time.
///
/// On a thread of its own, since handing a descriptor to tokio's reactor takes
/// unsafe code. The thread ends with the process or the time, whichever is
/// first, also when nobody waits for it any more.
pub(super) async fn wait_for_end(pidfd: OwnedFd, within: Duration) -> bool {
    let waiting = tokio::task::spawn_blocking(move || {
        let end = std::time::Instant::now() + within;
        loop {
            let left = end.saturating_duration_since(std::time::Instant::now());
            let timeout = Timespec::try_from(left).ok();
            let mut watched = [PollFd::new(&pidfd, PollFlags::IN)];
            match poll(&mut watched, timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                outcome => return matches!(outcome, Ok(1..)),
            }
        }
    });
    waiting.await.unwrap_or(false)
}
