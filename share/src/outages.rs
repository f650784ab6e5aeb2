//! The outages of what carries a channel, in which no time passes for those
//! who wait for the other end.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use qvd_carrier::{ROAD_VARIABLE, Road};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};

/// Tells of outages: by a socket of whoever has the connection, where the
/// channel is a stream of the carrier, and else of none ever.
#[derive(Debug, Default)]
pub struct Outages {
    told: Option<UnixStream>,
    /// Since when there is one.
    since: Option<Instant>,
}

impl Outages {
    /// There are none that anybody would tell of.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Those that are told of at `socket`; of none, where nobody does.
    #[must_use]
    pub fn told_at(socket: &Path) -> Self {
        let told = UnixStream::connect(socket).and_then(|told| {
            told.set_nonblocking(true)?;
            Ok(told)
        });
        if let Err(error) = &told {
            tracing::debug!(%error, socket = %socket.display(), "nobody tells of outages");
        }
        Self {
            told: told.ok(),
            since: None,
        }
    }

    /// Those that whoever started this process tells of.
    #[must_use]
    pub fn of_process() -> Self {
        match std::env::var_os(ROAD_VARIABLE) {
            Some(socket) => Self::told_at(&PathBuf::from(socket)),
            None => Self::none(),
        }
    }

    /// Whether anybody tells of them.
    pub(crate) fn are_told(&self) -> bool {
        self.told.is_some()
    }

    /// Waits for the next change, no longer than this time.
    pub(crate) fn next(&mut self, time: Option<Duration>) -> Next {
        loop {
            let before = self.since.is_some();
            self.hear();
            let Some(told) = &self.told else {
                return Next::Over;
            };
            if self.since.is_some() != before {
                return Next::Changed(self.since.is_some());
            }
            let mut fds = [PollFd::new(told, PollFlags::IN)];
            match wait(&mut fds, time) {
                Ok(0) => return Next::Nothing,
                Ok(_) => {}
                Err(_) => self.told = None,
            }
        }
    }

    /// Waits until `fd` is ready; `false` when the time until `deadline` has
    /// passed, which is put off by every outage.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(
        &mut self,
        fd: impl AsFd,
        flags: PollFlags,
        deadline: &mut Instant,
    ) -> io::Result<bool> {
        let fd = fd.as_fd();
        let begin = Instant::now();
        loop {
            self.hear();
            let left = match self.since {
                // What has passed of the outage is made good once it is over.
                Some(_) => None,
                None => Some(deadline.saturating_duration_since(Instant::now())),
            };
            let mut fds = Vec::with_capacity(2);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
            if let Some(told) = &self.told {
                fds.push(PollFd::new(told, PollFlags::IN));
            }
            let ready = wait(&mut fds, left)?;
            if fds.first().is_some_and(|fd| !fd.revents().is_empty()) {
                return Ok(true);
            }
            if ready == 0 && left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            let since = self.since;
            self.hear();
            if let (Some(since), None) = (since, self.since) {
                *deadline += since.max(begin).elapsed();
            }
        }
    }

    /// Takes what was told meanwhile.
    fn hear(&mut self) {
        while let Some(told) = &self.told {
            let mut bytes = [0; 64];
            match recv(told, &mut bytes[..], RecvFlags::DONTWAIT) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Ok((count @ 1.., _)) => {
                    let heard = bytes.get(..count).unwrap_or_default();
                    let last = heard.iter().rev().find_map(|byte| Road::from_byte(*byte));
                    match last {
                        Some(Road::Lost) if self.since.is_none() => {
                            self.since = Some(Instant::now());
                        }
                        Some(Road::Open) => self.since = None,
                        _ => {}
                    }
                }
                // The session is over: who waits has the time that is left.
                _ => {
                    self.told = None;
                    self.since = None;
                }
            }
        }
    }
}

/// What [`Outages::next`] has heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is an outage from now on, or none any more.
    Changed(bool),
    /// Nothing in the time that was given.
    Nothing,
    /// Nobody tells of them any more.
    Over,
}

fn wait(fds: &mut [PollFd<'_>], time: Option<Duration>) -> io::Result<usize> {
    // Longer than can be said is for ever.
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    match poll(fds, time.as_ref()) {
        Err(rustix::io::Errno::INTR) => Ok(0),
        ready => Ok(ready?),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    /// Outages, and who tells of them.
    fn told() -> (Outages, UnixStream) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("road");
        let listener = UnixListener::bind(&socket).unwrap();
        let outages = Outages::told_at(&socket);
        (outages, listener.accept().unwrap().0)
    }

    #[test]
    fn changes_are_heard_once_and_nothing_after_the_end() {
        let (mut outages, mut teller) = told();
        teller.write_all(b"o").unwrap();
        assert_eq!(outages.next(Some(Duration::ZERO)), Next::Nothing);
        teller.write_all(b"l").unwrap();
        assert_eq!(outages.next(Some(WAIT)), Next::Changed(true));
        teller.write_all(b"l?").unwrap();
        assert_eq!(outages.next(Some(Duration::ZERO)), Next::Nothing);
        teller.write_all(b"o").unwrap();
        assert_eq!(outages.next(Some(WAIT)), Next::Changed(false));
        drop(teller);
        assert_eq!(outages.next(Some(WAIT)), Next::Over);
        assert_eq!(Outages::none().next(None), Next::Over);
        let nobody = Path::new("/nonexistent/road");
        assert_eq!(Outages::told_at(nobody).next(None), Next::Over);
    }

    #[test]
    fn a_deadline_is_put_off_by_an_outage_and_by_nothing_else() {
        let (mut outages, mut teller) = told();
        let (mut near, mut far) = UnixStream::pair().unwrap();
        teller.write_all(b"l").unwrap();
        assert_eq!(outages.next(Some(WAIT)), Next::Changed(true));
        let passed = Instant::now();
        let speaks = thread::spawn(move || {
            far.write_all(b"x").unwrap();
            far
        });
        let mut deadline = passed;
        assert!(outages.wait(&near, PollFlags::IN, &mut deadline).unwrap());
        let _far = speaks.join().unwrap();
        near.read_exact(&mut [0]).unwrap();
        // It is over while it is waited for: the deadline comes that much later.
        let ends = thread::spawn(move || {
            teller.write_all(b"o").unwrap();
            teller
        });
        assert!(!outages.wait(&near, PollFlags::IN, &mut deadline).unwrap());
        assert!(deadline >= passed);
        assert!(!outages.wait(&near, PollFlags::IN, &mut deadline).unwrap());
        drop(ends.join().unwrap());
    }

    #[test]
    fn whoever_waits_for_a_session_that_is_over_has_the_time_that_is_left() {
        let (mut outages, mut teller) = told();
        let (near, _far) = UnixStream::pair().unwrap();
        teller.write_all(b"l").unwrap();
        assert_eq!(outages.next(Some(WAIT)), Next::Changed(true));
        drop(teller);
        let mut deadline = Instant::now() + Duration::from_millis(10);
        assert!(!outages.wait(&near, PollFlags::IN, &mut deadline).unwrap());
        assert!(!outages.are_told());
    }
}
