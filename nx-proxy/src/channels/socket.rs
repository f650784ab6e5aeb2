//! A Unix socket that only this user may connect to.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// A listening Unix socket. It goes from the file system with this value.
#[derive(Debug)]
pub(crate) struct UserSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The device and number of what was bound.
    node: (u64, u64),
}

impl UserSocket {
    /// Listens at `path`. A socket that is there and that nobody listens at,
    /// as a killed program leaves it, is replaced.
    ///
    /// # Errors
    /// There is something else, or no room for it; with the path.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("unix:{}: {error}", path.display()))
        };
        let bound = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left(path) => {
                fs::remove_file(path).and_then(|()| UnixListener::bind(path))
            }
            bound => bound,
        };
        let this = Self {
            listener: bound.map_err(named)?,
            path: path.to_owned(),
            node: node(path).map_err(named)?,
        };
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(named)?;
        Ok(this)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection. Cancel safe.
    ///
    /// # Errors
    /// `PermissionDenied` is one of another user, which has been closed: others
    /// may follow. Any other is the system's.
    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.listener.accept().await?;
        let user = stream.peer_cred()?.uid();
        if user == 0 || user == rustix::process::geteuid().as_raw() {
            return Ok(stream);
        }
        let reason = format!("connection of user {user} refused");
        Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
    }
}

impl Drop for UserSocket {
    fn drop(&mut self) {
        // Its folder may be gone already, or another program have its place.
        if node(&self.path).is_ok_and(|node| node == self.node) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn node(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Whether nobody has the socket at `path` any more.
fn is_left(path: &Path) -> bool {
    // One for datagrams never waits here: it is refused because nobody is
    // there, or because somebody is who listens for streams.
    let is_socket = fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    let tried = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    is_socket && tried.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_killed_program_left_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        // Dropped without being removed, as with a kill.
        drop(UnixListener::bind(&path).unwrap());
        let socket = UserSocket::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (connected, accepted) = tokio::join!(UnixStream::connect(&path), socket.accept());
        drop((connected.unwrap(), accepted.unwrap()));

        let error = UserSocket::bind(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&path.display().to_string()));
        assert!(UnixStream::connect(&path).await.is_ok(), "it was taken");
        drop(socket);
        assert!(!path.exists());

        fs::write(&path, "letter").unwrap();
        assert!(UserSocket::bind(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "letter");
    }
}
