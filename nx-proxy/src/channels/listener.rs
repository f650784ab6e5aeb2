//! Where programs of this machine connect to have a channel to the agent.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::sleep;

use super::UserSocket;
use crate::LocalEnd;
use crate::quiet::Quiet;

/// Before the next try when the machine has no room for a connection.
const FULL: Duration = Duration::from_millis(100);

/// A listening socket of a session.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Unix(UserSocket),
    Tcp(TcpListener),
}

impl Listener {
    /// Listens on the Unix socket `path`, which only this user may connect to.
    /// The socket goes with this value. One that a killed program left there is
    /// replaced.
    ///
    /// # Errors
    /// There is something else, or no room for it.
    pub fn unix(path: &Path) -> io::Result<Self> {
        UserSocket::bind(path).map(|socket| Self(Kind::Unix(socket)))
    }

    /// Listens on a port of the loopback interface, as nxproxy does. Every user
    /// of the machine can connect to it.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn port(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.map_err(|error| {
            io::Error::new(error.kind(), format!("tcp:localhost:{port}: {error}"))
        })?;
        Ok(Self(Kind::Tcp(listener)))
    }

    /// The port, of one that has one.
    #[must_use]
    pub fn number(&self) -> Option<u16> {
        match &self.0 {
            Kind::Unix(_) => None,
            Kind::Tcp(listener) => listener.local_addr().ok().map(|address| address.port()),
        }
    }

    /// The next connection. Cancel safe.
    pub(super) async fn accept(&self) -> LocalEnd {
        loop {
            let accepted: io::Result<LocalEnd> = match &self.0 {
                Kind::Unix(socket) => match socket.accept().await {
                    Ok(stream) => Quiet::new(stream).map(|end| Box::new(end) as LocalEnd),
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        tracing::warn!(%error, "connection closed");
                        continue;
                    }
                    Err(error) => Err(error),
                },
                Kind::Tcp(listener) => listener.accept().await.and_then(|(stream, _)| {
                    stream.set_nodelay(true)?;
                    Ok(Box::new(stream) as LocalEnd)
                }),
            };
            match accepted {
                Ok(end) => return end,
                Err(error) => {
                    // Of the connection, or for want of descriptors.
                    tracing::warn!(%error, "connection cannot be taken");
                    sleep(FULL).await;
                }
            }
        }
    }
}

/// As nxproxy's log has it.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Unix(socket) => write!(f, "unix:{}", socket.path().display()),
            Kind::Tcp(_) => write!(f, "tcp:localhost:{}", self.number().unwrap_or(0)),
        }
    }
}
