//! A socket whose connections become streams of the carrier: the session's
//! slave channel, as shares know it. Another one tells of outages. What the VM
//! asks comes the other way.

mod left;

use std::fs::{Permissions, set_permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use qvd_carrier::Kind;
use qvd_net::carrier::{Session, tell_road};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::{JoinHandle, JoinSet};

use super::asked::{self, Server};

/// Most connections at a time: each is a program in the VM.
const MAX_CONNECTIONS: usize = 64;

/// The socket; its connections end when this is dropped.
pub(in crate::core) struct Door {
    dir: TempDir,
    task: JoinHandle<()>,
}

impl Door {
    /// Opens it, in a folder where only the user gets.
    pub(in crate::core) fn open(
        session: Session,
        slave: Option<nx_proxy::Slave>,
    ) -> io::Result<Self> {
        // The umask is not to decide who gets in.
        let dir = tempfile::Builder::new()
            .prefix(&left::prefix())
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        if let Some(parent) = dir.path().parent().map(Path::to_owned) {
            // Nobody waits for it.
            drop(tokio::task::spawn_blocking(move || left::tidy(&parent)));
        }
        let listener = bind(&dir.path().join("slave"))?;
        let road = bind(&dir.path().join("road"))?;
        let server = Server {
            slave,
            road: dir.path().join("road"),
        };
        let task = tokio::spawn(async move {
            let tells = tell_road(road, session.link());
            let answers = asked::serve(session.clone(), server);
            tokio::join!(serve(listener, session), answers, tells);
        });
        Ok(Self { dir, task })
    }

    /// Where connections are taken.
    pub(in crate::core) fn socket(&self) -> PathBuf {
        self.dir.path().join("slave")
    }

    /// Where it is told whether the carrier has a connection.
    pub(in crate::core) fn road(&self) -> PathBuf {
        self.dir.path().join("road")
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A socket to which only the user connects.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn serve(listener: UnixListener, session: Session) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((connection, _)) = accepted.inspect_err(|error| tracing::debug!(%error, "share"))
        else {
            // Out of descriptors: others must end first.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        match session.open(Kind::Share, b"") {
            Ok(stream) => drop(connections.spawn(stream.join(connection))),
            Err(error) => tracing::info!(%error, "no stream for a share"),
        }
    }
}

#[cfg(test)]
mod tests {
    use qvd_carrier::{Config, Role};

    use super::*;

    #[tokio::test]
    async fn nobody_else_gets_in() {
        let session = Session::new(Role::Client, Config::default());
        let door = Door::open(session, None).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(door.dir.path()), 0o700);
        assert_eq!(mode(&door.socket()), 0o600);
        assert_eq!(mode(&door.road()), 0o600);
    }
}
