use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};

use crate::Error;

/// Longest path of a Unix socket, in bytes (`sun_path` with its final NUL).
const MAX_PATH: usize = 107;

/// A private place where exactly one process can reach us: a Unix socket in a
/// directory of mode 0700, instead of a port of the loopback interface that
/// every local user could connect to.
pub(super) struct Rendezvous {
    listener: UnixListener,
    socket: PathBuf,
    dir: TempDir,
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

/// Does `make` with a new directory that nobody else can enter: where the user
/// has one of that kind, or else in the directory for temporary files.
pub(crate) fn privately<T>(make: impl Fn(TempDir) -> io::Result<T>) -> Result<T, Error> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usable = |dir: &PathBuf| fits(dir) && dir.is_dir();
    let parents = [runtime, Some(std::env::temp_dir()), Some("/tmp".into())];
    let mut failure = None;
    for parent in parents.into_iter().flatten().filter(usable) {
        let dir = tempfile::Builder::new()
            .prefix("qvd-nx-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(&parent);
        match dir.and_then(&make) {
            Ok(made) => return Ok(made),
            Err(source) => {
                failure = Some(Error::PrivateDir {
                    dir: parent,
                    source,
                });
            }
        }
    }
    Err(failure.unwrap_or_else(|| Error::PrivateDirName {
        dir: std::env::temp_dir(),
    }))
}

/// Whether a socket beneath `dir` can be named in an NX option string, where
/// `,`, `:` and `=` separate options.
fn fits(dir: &Path) -> bool {
    let room = "/qvd-nx-XXXXXX/nx".len();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+".contains(&b);
    dir.is_absolute()
        && dir.as_os_str().len() + room <= MAX_PATH
        && dir
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .copied()
            .all(plain)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn directories_whose_name_would_smuggle_an_option_are_not_used() {
        assert!(fits(Path::new("/run/user/1000")));
        assert!(fits(Path::new("/tmp")));
        for dir in [
            "/tmp/a,kill=1",
            "/tmp/a:1",
            "/tmp/a b",
            "relative",
            "/tmp/é",
        ] {
            assert!(!fits(Path::new(dir)), "{dir}");
        }
        assert!(!fits(Path::new(&format!("/{}", "x".repeat(100)))));
    }
}
