//! A socket whose connections become streams of the carrier: the session's
//! slave channel, as shares know it. Another one tells of outages.

use std::io;
use std::path::PathBuf;

use qvd_carrier::Kind;
use qvd_net::carrier::{Session, tell_road};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::{JoinHandle, JoinSet};

/// Most connections at a time: each is a program in the VM.
const MAX_CONNECTIONS: usize = 64;

/// The socket; its connections end when this is dropped.
pub(in crate::core) struct Door {
    dir: TempDir,
    task: JoinHandle<()>,
}

impl Door {
    /// Opens it, in a folder where only the user gets.
    pub(in crate::core) fn open(session: Session) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("qvd-carrier-").tempdir()?;
        let listener = UnixListener::bind(dir.path().join("slave"))?;
        let road = UnixListener::bind(dir.path().join("road"))?;
        let task = tokio::spawn(async move {
            let tells = tell_road(road, session.link());
            tokio::join!(serve(listener, session), tells);
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
