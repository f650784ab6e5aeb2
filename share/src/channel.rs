use std::io;
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, sendmsg, shutdown};

use crate::Outages;

/// Bytes read from a channel at once, but for those of a packet longer than
/// that, which are read into the packet.
pub(crate) const READ: usize = 32 * 1024;

/// A connected stream of bytes: a socket, or a pipe for each direction.
#[derive(Debug)]
pub struct Channel {
    input: OwnedFd,
    output: Output,
    /// Of what carries it.
    outages: Mutex<Outages>,
}

/// What wakes who waits for room in a channel, also when it rings before that.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(eventfd(0, flags)?))
    }

    pub(crate) fn ring(&self) {
        // One that cannot be rung once more has been rung.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    fn hush(&self) {
        // Somebody rang it, or it would not be read.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

#[derive(Debug)]
enum Output {
    /// The input is a socket, and is written to as well.
    Socket,
    Pipe(OwnedFd),
}

impl Channel {
    /// A connected socket.
    #[must_use]
    pub fn socket(socket: impl Into<OwnedFd>) -> Self {
        Self {
            input: socket.into(),
            output: Output::Socket,
            outages: Mutex::default(),
        }
    }

    /// Standard input and output: the same socket as on the slave channel, or
    /// two pipes.
    ///
    /// # Errors
    /// When they cannot be duplicated.
    pub fn stdio() -> io::Result<Self> {
        let input = rustix::stdio::stdin().try_clone_to_owned()?;
        let output = rustix::stdio::stdout().try_clone_to_owned()?;
        let is_socket = rustix::fs::fstat(&input)
            .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_socket());
        Ok(Self {
            input,
            output: if is_socket {
                Output::Socket
            } else {
                Output::Pipe(output)
            },
            outages: Mutex::default(),
        })
    }

    /// What carries it has outages, in which nobody is to lose patience.
    #[must_use]
    pub fn with_outages(mut self, outages: Outages) -> Self {
        self.outages = Mutex::new(outages);
        self
    }

    /// The outages, for whoever looks after them.
    pub(crate) fn take_outages(&self) -> Outages {
        let mut outages = self.outages.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut outages)
    }

    /// Reads what is there, and waits where nothing is. 0: the peer has
    /// closed.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = match self.output {
                Output::Socket => {
                    recv(&self.input, &mut *buffer, RecvFlags::empty()).map(|(n, _)| n)
                }
                Output::Pipe(_) => rustix::io::read(&self.input, &mut *buffer),
            };
            match count {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    wait(&self.input, PollFlags::IN, None)?;
                }
                count => return Ok(count?),
            }
        }
    }

    /// The same, appended to `buffer` within its capacity.
    pub(crate) fn read_into(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            let room = rustix::buffer::spare_capacity(buffer);
            let count = match self.output {
                Output::Socket => recv(&self.input, room, RecvFlags::empty()).map(|(n, _)| n),
                Output::Pipe(_) => rustix::io::read(&self.input, room),
            };
            match count {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    wait(&self.input, PollFlags::IN, None)?;
                }
                count => return Ok(count?),
            }
        }
    }

    /// Writes what fits without waiting; `None` where nothing does. A pipe is
    /// waited for.
    pub(crate) fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        loop {
            let count = match &self.output {
                Output::Socket => sendmsg(
                    &self.input,
                    parts,
                    &mut SendAncillaryBuffer::default(),
                    SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
                ),
                Output::Pipe(output) => rustix::io::writev(output, parts),
            };
            match count {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                count => return Ok(Some(count?)),
            }
        }
    }

    /// Waits until something can be written; `false` when the time has passed
    /// or somebody rings.
    pub(crate) fn wait_writable(&self, time: Duration, bell: &Bell) -> io::Result<bool> {
        let time = Timespec::try_from(time).ok();
        let mut fds = [
            PollFd::from_borrowed_fd(self.output().as_fd(), PollFlags::OUT),
            PollFd::from_borrowed_fd(bell.0.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, time.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let [output, rung] = fds.map(|fd| !fd.revents().is_empty());
        if rung {
            bell.hush();
        }
        Ok(output)
    }

    /// The same, of a time that does not pass while there is an outage.
    pub(crate) fn wait_taken(&self, time: Duration) -> io::Result<bool> {
        let mut outages = self.outages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut deadline = Instant::now() + time;
        outages.wait(self.output(), PollFlags::OUT, &mut deadline)
    }

    fn output(&self) -> &OwnedFd {
        match &self.output {
            Output::Socket => &self.input,
            Output::Pipe(output) => output,
        }
    }

    /// Ends both directions; whoever reads or writes is woken. Does nothing to
    /// pipes, which end with their other end.
    pub(crate) fn shutdown(&self) {
        // One that is shut down already is as wanted.
        let _ = shutdown(&self.input, Shutdown::Both);
    }
}

fn wait(fd: &OwnedFd, flags: PollFlags, time: Option<Duration>) -> io::Result<bool> {
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), flags)];
    match poll(&mut fds, time.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
