//! The slave channel as a port of the loopback interface, for the programs
//! that read `~/.qvd/slave-port`.
//!
//! The engine's own socket is another one after each reconnect and lies where
//! nobody looks for it; this port stays the same for the client's life, and
//! nobody else can have it in between.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use qvd_net::relay::{Meter, Side, plain};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// Most connections at a time: each is a process in the VM.
const MAX_CONNECTIONS: usize = 64;

/// The port; it closes when this is dropped, with its connections.
pub(super) struct Port {
    number: u16,
    socket: watch::Sender<Option<PathBuf>>,
    task: JoinHandle<()>,
}

impl Port {
    /// A port that the system chooses.
    pub(super) async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let number = listener.local_addr()?.port();
        let (socket, at) = watch::channel(None);
        let task = tokio::spawn(serve(listener, at));
        Ok(Self {
            number,
            socket,
            task,
        })
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// From now on connections go to this socket of the engine's; with `None`
    /// they are closed, and those that are there too.
    pub(super) fn lead_to(&self, socket: Option<PathBuf>) {
        self.socket.send_replace(socket);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, at: watch::Receiver<Option<PathBuf>>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // For want of descriptors, which others give back.
                tracing::warn!(%error, "slave channel: a connection was not taken");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let mut at = at.clone();
        tokio::spawn(async move {
            let socket = at.borrow_and_update().clone();
            if let Some(socket) = socket
                && let Err(error) = relay(stream, socket, &mut at).await
            {
                tracing::info!(%error, "slave channel: no connection to the session");
            }
            drop(place);
        });
    }
}

/// Ends with either side, with the engine, and with the port.
async fn relay(
    stream: TcpStream,
    socket: PathBuf,
    at: &mut watch::Receiver<Option<PathBuf>>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let engine = UnixStream::connect(&socket).await?;
    let gone = async {
        // An error says that the port was closed.
        let _ = at.changed().await;
    };
    let meter = Meter::default();
    let ended = plain(Side::new(stream), Side::new(engine), &meter, gone).await;
    tracing::debug!(%ended, "slave channel: a connection ended");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;
    use tokio::time::timeout;

    use super::*;

    const WAIT: Duration = Duration::from_secs(30);

    async fn connect(port: &Port) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port.number()))
            .await
            .unwrap()
    }

    /// Whether the other end has closed.
    async fn ends(stream: &mut TcpStream) -> bool {
        let read = timeout(WAIT, stream.read(&mut [0; 1])).await.unwrap();
        matches!(read, Ok(0) | Err(_))
    }

    #[tokio::test]
    async fn the_port_leads_to_the_engine_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let port = Port::open().await.unwrap();
        assert!(ends(&mut connect(&port).await).await, "to nobody yet");
        for name in ["one", "two"] {
            let socket = folder.path().join(name);
            let engine = UnixListener::bind(&socket).unwrap();
            port.lead_to(Some(socket));
            let mut user = connect(&port).await;
            let (mut there, _) = timeout(WAIT, engine.accept()).await.unwrap().unwrap();
            user.write_all(b"ask").await.unwrap();
            let mut asked = [0; 3];
            there.read_exact(&mut asked).await.unwrap();
            there.write_all(b"say").await.unwrap();
            let mut said = [0; 3];
            user.read_exact(&mut said).await.unwrap();
            assert_eq!((&asked, &said), (b"ask", b"say"));
            // With the engine everything on it ends.
            port.lead_to(None);
            assert!(ends(&mut user).await);
            assert!(ends(&mut connect(&port).await).await);
        }
        let number = port.number();
        drop(port);
        let again = async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, number))
                .await
                .is_ok()
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(WAIT, again).await.unwrap();
    }
}
