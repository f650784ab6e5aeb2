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
