//! The connection to an X server, with a deadline on each wait.

use std::io::{Error, ErrorKind, Result};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use x11rb::rust_connection::{DefaultStream, PollMode, Stream};
use x11rb::utils::RawFdContainer;

/// How long an X server may take for one answer.
const ANSWER: Timespec = Timespec {
    tv_sec: 15,
    tv_nsec: 0,
};

/// [`DefaultStream`] waits for ever; a suspended nxagent, for one, does not
/// answer.
#[derive(Debug)]
pub(super) struct DeadlineStream(pub(super) DefaultStream);

impl Stream for DeadlineStream {
    fn poll(&self, mode: PollMode) -> Result<()> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, mode.readable());
        flags.set(PollFlags::OUT, mode.writable());
        loop {
            let mut watched = [PollFd::new(&self.0, flags)];
            match poll(&mut watched, Some(&ANSWER)) {
                Ok(0) => {
                    let limit = Duration::try_from(ANSWER).unwrap_or_default();
                    let what = format!("no answer within {} s", limit.as_secs());
                    return Err(Error::new(ErrorKind::TimedOut, what));
                }
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn read(&self, buffer: &mut [u8], descriptors: &mut Vec<RawFdContainer>) -> Result<usize> {
        self.0.read(buffer, descriptors)
    }

    fn write(&self, bytes: &[u8], descriptors: &mut Vec<RawFdContainer>) -> Result<usize> {
        self.0.write(bytes, descriptors)
    }
}
