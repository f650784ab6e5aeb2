use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A connection of the slave channel: by the port that a client has written
/// down, or within the client by the engine's own socket.
#[derive(Debug)]
pub enum Line {
    /// By a port of the loopback interface.
    Tcp(TcpStream),
    /// By a socket where only the user gets.
    Unix(UnixStream),
}

impl Line {
    /// How long reading may take from now on; `None` for ever.
    pub(crate) fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(time),
            Self::Unix(stream) => stream.set_read_timeout(time),
        }
    }

    /// How long writing may take from now on; `None` for ever.
    pub(crate) fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_write_timeout(time),
            Self::Unix(stream) => stream.set_write_timeout(time),
        }
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<TcpStream> for Line {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<UnixStream> for Line {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

impl From<Line> for OwnedFd {
    fn from(line: Line) -> Self {
        match line {
            Line::Tcp(stream) => stream.into(),
            Line::Unix(stream) => stream.into(),
        }
    }
}
