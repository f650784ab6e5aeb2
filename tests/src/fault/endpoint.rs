//! TCP and Unix sockets under one name.

use std::fmt;
use std::io::Result;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::Shutdown;
use rustix::net::sockopt::set_socket_linger;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::rules::Cut;

/// An address of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// A TCP port on loopback; 0 is any free one.
    pub fn local(port: u16) -> Self {
        Self::Tcp((Ipv4Addr::LOCALHOST, port).into())
    }

    /// A Unix socket.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::Unix(path.into())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds and tells the address with its real port. A Unix socket's path
    /// must be free.
    pub(super) fn bind(address: &Endpoint) -> Result<(Self, Endpoint)> {
        match address {
            Endpoint::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let real = Endpoint::Tcp(listener.local_addr()?);
                Ok((Self::Tcp(TcpListener::from_std(listener)?), real))
            }
            Endpoint::Unix(path) => Ok((Self::Unix(UnixListener::bind(path)?), address.clone())),
        }
    }

    pub(super) async fn accept(&self) -> Result<Socket> {
        match self {
            Self::Tcp(listener) => Socket::tcp(listener.accept().await?.0),
            Self::Unix(listener) => Ok(Socket::Unix(listener.accept().await?.0)),
        }
    }
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub(super) async fn connect(address: &Endpoint) -> Result<Self> {
        match address {
            Endpoint::Tcp(address) => Self::tcp(TcpStream::connect(address).await?),
            Endpoint::Unix(path) => Ok(Self::Unix(UnixStream::connect(path).await?)),
        }
    }

    fn tcp(stream: TcpStream) -> Result<Self> {
        // A split must leave as it was cut.
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    pub(super) async fn readable(&self) -> Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }

    pub(super) async fn writable(&self) -> Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
            Self::Unix(stream) => stream.writable().await,
        }
    }

    pub(super) fn try_read(&self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    /// Tells the peer that nothing more comes.
    pub(super) fn shut_writing(&self) {
        // A peer that is gone needs no telling.
        let _gone = match self {
            Self::Tcp(stream) => rustix::net::shutdown(stream, Shutdown::Write),
            Self::Unix(stream) => rustix::net::shutdown(stream, Shutdown::Write),
        };
    }

    /// Prepares the close which follows when the socket is dropped.
    pub(super) fn close(&self, how: Cut) {
        match (how, self) {
            (Cut::Fin, _) => self.shut_writing(),
            // Lingering for no time is how a reset is asked for.
            (Cut::Reset, Self::Tcp(stream)) => {
                let _gone = set_socket_linger(stream, Some(Duration::ZERO));
            }
            (Cut::Reset, Self::Unix(_)) => {}
        }
    }
}
