//! The client's connection, joined to nxagent's socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use qvd_net::relay::{Ended, Meter, Side, plain};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

/// How long nxagent may take to accept; its socket is local.
const CONNECT: Duration = Duration::from_secs(5);

/// How long nxagent may keep the connection of a client that is gone. One that
/// hangs never closes it.
const LINGER: Duration = Duration::from_secs(5);

/// What went through a client's connection, and why it ended.
#[derive(Debug)]
pub struct Served {
    /// Why it ended.
    pub ended: Ended,
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
}

/// Serves one client until both ends have closed, or one has and the other does
/// not follow.
///
/// # Errors
/// When nxagent does not accept.
pub async fn serve(client: TcpStream, nx_socket: PathBuf) -> io::Result<Served> {
    let agent = timeout(CONNECT, UnixStream::connect(&nx_socket)).await??;
    let meter = Meter::default();
    let alone = async {
        meter.half_closed().await;
        sleep(LINGER).await;
    };
    let ended = plain(Side::new(client), Side::new(agent), &meter, alone).await;
    Ok(Served {
        ended,
        received: meter.left_to_right(),
        sent: meter.right_to_left(),
    })
}
