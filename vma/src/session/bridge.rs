//! The client's connection, joined to nxagent's socket.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// How long nxagent may take to accept; its socket is local.
const CONNECT: Duration = Duration::from_secs(5);

/// Serves one client until either end has closed both ways.
///
/// # Errors
/// When nxagent does not accept, or the connection breaks.
pub async fn serve(client: OwnedFd, nx_socket: PathBuf) -> io::Result<(u64, u64)> {
    let client = std::net::TcpStream::from(client);
    client.set_nonblocking(true)?;
    let client = TcpStream::from_std(client)?;
    let agent = timeout(CONNECT, UnixStream::connect(&nx_socket)).await??;
    let (mut client, mut agent) = (client, agent);
    tokio::io::copy_bidirectional(&mut client, &mut agent).await
}
