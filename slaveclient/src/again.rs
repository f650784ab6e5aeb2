//! Waiting for a session that was lost to come back.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::Session;

/// How long a client may take to notice that its session is lost.
const NOTICE: Duration = Duration::from_secs(10);

/// Why a share ended.
#[derive(Debug)]
pub enum Again {
    /// The session was lost and is back.
    Back(Session),
    /// The session is there as before: the VM ended the share.
    Unmounted,
    /// The session's client has ended, or whoever waits was told to.
    Over,
}

impl Session {
    /// Says what has become of the session after a share ended, and waits for
    /// it where its client tries to get it back. `end` becomes readable when
    /// nobody wants to know any more.
    ///
    /// # Errors
    /// When the client or its files cannot be watched.
    pub fn again(&self, end: impl AsFd) -> io::Result<Again> {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let seen = inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::DELETE_SELF;
        if self.is_foreign() {
            // The reference's client does not get sessions back.
            return Ok(Again::Over);
        }
        match inotify::add_watch(&watch, self.folder(), seen) {
            Err(rustix::io::Errno::NOENT) => return Ok(Again::Over),
            watched => watched?,
        };
        let pid = i32::try_from(self.about().pid).ok().and_then(Pid::from_raw);
        let client = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let Some(Ok(client)) = client else {
            return Ok(Again::Over);
        };
        let deadline = Instant::now() + NOTICE;
        loop {
            if !self.is_live() {
                return Ok(Again::Over);
            }
            // What changes after this look is seen by the watch.
            drain(watch.as_fd());
            let now = self.now();
            let lost = match now {
                Some(now) if now.is_another_than(self) => return Ok(Again::Back(now)),
                now => now.is_none(),
            };
            let left = match lost {
                true => None,
                false => Some(deadline.saturating_duration_since(Instant::now())),
            };
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [
                PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN),
                PollFd::new(&client, PollFlags::IN),
                PollFd::new(&watch, PollFlags::IN),
            ];
            match poll(&mut fds, left.as_ref()) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(0) => return Ok(Again::Unmounted),
                Ok(_) => {
                    let is_told =
                        |fd: Option<&PollFd<'_>>| fd.is_some_and(|fd| !fd.revents().is_empty());
                    if is_told(fds.first()) || is_told(fds.get(1)) {
                        return Ok(Again::Over);
                    }
                }
            }
        }
    }
}

/// That something changed is enough to know.
fn drain(watch: BorrowedFd<'_>) {
    let mut buffer = [0; 4096];
    while rustix::io::read(watch, &mut buffer).is_ok_and(|count| count > 0) {}
}
