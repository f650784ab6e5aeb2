use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use qvd_share::{Channel, Outages};
use rustix::event::PollFlags;

/// A connection of the slave channel: by the port that a client has written
/// down, or within the client by the engine's own socket.
#[derive(Debug)]
pub struct Line {
    stream: Stream,
    outages: Outages,
}

#[derive(Debug)]
enum Stream {
    /// By a port of the loopback interface.
    Tcp(TcpStream),
    /// By a socket where only the user gets.
    Unix(UnixStream),
}

impl Line {
    /// What carries it has outages, in which nobody is to lose patience.
    #[must_use]
    pub fn with_outages(mut self, outages: Outages) -> Self {
        self.outages = outages;
        self
    }

    /// Waits until there is something to read; `false` when the time has
    /// passed.
    pub(crate) fn wait_readable(&mut self, deadline: &mut Instant) -> io::Result<bool> {
        let Self { stream, outages } = self;
        outages.wait(stream.as_fd(), PollFlags::IN, deadline)
    }

    /// How long writing may take from now on; `None` for ever.
    pub(crate) fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_write_timeout(time),
            Stream::Unix(stream) => stream.set_write_timeout(time),
        }
    }

    /// What follows is another protocol's.
    pub(crate) fn into_channel(self) -> Channel {
        let socket: OwnedFd = match self.stream {
            Stream::Tcp(stream) => stream.into(),
            Stream::Unix(stream) => stream.into(),
        };
        Channel::socket(socket).with_outages(self.outages)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<Stream> for Line {
    fn from(stream: Stream) -> Self {
        Self {
            stream,
            outages: Outages::none(),
        }
    }
}

impl From<TcpStream> for Line {
    fn from(stream: TcpStream) -> Self {
        Stream::Tcp(stream).into()
    }
}

impl From<UnixStream> for Line {
    fn from(stream: UnixStream) -> Self {
        Stream::Unix(stream).into()
    }
}
