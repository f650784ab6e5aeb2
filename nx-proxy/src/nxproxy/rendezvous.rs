use std::io;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use crate::Error;
use crate::private::{PrivateDir, privately};

/// A private place where exactly one process can reach us: a Unix socket in a
/// directory of mode 0700, instead of a port of the loopback interface that
/// every local user could connect to.
pub(super) struct Rendezvous {
    listener: UnixListener,
    socket: PathBuf,
    dir: PrivateDir,
}

impl Rendezvous {
    /// In a directory of its own.
    pub(super) fn new() -> Result<Self, Error> {
        privately(|dir| {
            let socket = dir.path().join("nx");
            Ok(Self {
                listener: UnixListener::bind(&socket)?,
                socket,
                dir,
            })
        })
    }

    /// The socket's path, fit for an NX option string.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where nxproxy opens a socket for the slave channel, beside ours.
    pub(super) fn slave(&self) -> PathBuf {
        self.dir.path().join("sl")
    }

    /// The private directory, which goes away with this value.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The connection of the process `pid`; every other one is closed.
    pub(super) async fn accept(&self, pid: i32) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            match stream.peer_cred() {
                Ok(peer) if peer.pid() == Some(pid) => return Ok(stream),
                peer => tracing::warn!(?peer, "connection of a process that is not nxproxy closed"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn only_the_child_is_let_in() {
        let rendezvous = Rendezvous::new().unwrap();
        let mode = std::fs::metadata(rendezvous.dir())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o700);
        let mut stranger = UnixStream::connect(rendezvous.socket()).await.unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let accepted = rendezvous.accept(own + 1);
        assert!(timeout(Duration::from_millis(50), accepted).await.is_err());
        assert_eq!(stranger.read(&mut [0]).await.unwrap(), 0);

        let _child = UnixStream::connect(rendezvous.socket()).await.unwrap();
        let accepted = rendezvous.accept(own);
        timeout(Duration::from_secs(5), accepted)
            .await
            .unwrap()
            .unwrap();
    }

    #[tokio::test]
    async fn the_directory_goes_away_with_the_session() {
        let rendezvous = Rendezvous::new().unwrap();
        let dir = rendezvous.dir().to_owned();
        assert!(dir.is_dir());
        drop(rendezvous);
        assert!(!dir.exists());
    }
}
