//! The way to a sound server that listens on a Unix socket.
//!
//! nxproxy knows ports of loopback only for sound (seen: it ends with "No port
//! specified for multimedia connections" for a socket's name), and anybody on
//! the machine can connect to a port. So the port is ours, and leads on only
//! for connections of the same user.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::{AbortHandle, JoinSet};

/// Most sounds at a time; a program has one connection or two.
const MAX_CONNECTIONS: usize = 64;

/// Where the kernel tells whose a connection is.
const TABLE: &str = "/proc/net/tcp";

/// A port that leads to a socket, until it is dropped.
#[derive(Debug)]
pub struct Way {
    port: u16,
    task: AbortHandle,
}

impl Way {
    /// Opens a port of loopback for the server at `socket`.
    ///
    /// # Errors
    /// When there is none.
    pub async fn open(socket: PathBuf) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(serve(listener, socket)).abort_handle();
        Ok(Self { port, task })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, socket: PathBuf) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) if connections.len() < MAX_CONNECTIONS => {
                    connections.spawn(join(stream, peer, socket.clone()));
                }
                Ok(_) => tracing::warn!("a sound is dropped, there are {MAX_CONNECTIONS}"),
                Err(error) => {
                    tracing::warn!(%error, "no more sound");
                    return;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn join(mut stream: TcpStream, peer: SocketAddr, socket: PathBuf) {
    let joined = async {
        if !is_ours(peer, stream.local_addr()?)? {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        let mut server = UnixStream::connect(&socket).await?;
        copy_bidirectional(&mut stream, &mut server).await
    };
    if let Err(error) = joined.await {
        tracing::info!(%error, server = %socket.display(), "a sound ended");
    }
}

/// Whether the other end of a connection on loopback is a process of this user.
fn is_ours(peer: SocketAddr, own: SocketAddr) -> io::Result<bool> {
    let table = std::fs::read_to_string(Path::new(TABLE))?;
    Ok(owner(&table, peer, own) == Some(rustix::process::geteuid().as_raw()))
}

/// The user of the socket that is `local` with `remote` at its other end.
fn owner(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let (local, remote) = (written(local)?, written(remote)?);
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let is_it = fields.next()? == local && fields.next()? == remote;
        is_it.then(|| fields.nth(4)?.parse().ok()).flatten()
    })
}

/// An address as the table has it: the bytes of IPv4 as one number of this
/// machine's order, and the port.
fn written(address: SocketAddr) -> Option<String> {
    match address {
        SocketAddr::V4(v4) => Some(format!(
            "{:08X}:{:04X}",
            u32::from_ne_bytes(v4.ip().octets()),
            v4.port()
        )),
        SocketAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;

    #[test]
    fn the_owner_of_a_connection_is_read_from_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1\n\
            1: 0100007F:A2C4 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 2 1\n";
        let (near, far) = (
            "127.0.0.1:41668".parse().unwrap(),
            "127.0.0.1:8080".parse().unwrap(),
        );
        assert_eq!(owner(table, near, far), Some(1000));
        assert_eq!(owner(table, far, near), None);
        assert_eq!(owner("", near, far), None);
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_the_port_goes_with_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("native");
        let server = UnixListener::bind(&socket).unwrap();
        let way = Way::open(socket).await.unwrap();
        let port = way.port();
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        client.write_all(b"play").await.unwrap();
        let (mut served, _) = server.accept().await.unwrap();
        let mut bytes = [0; 4];
        served.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"play");
        served.write_all(b"done").await.unwrap();
        client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"done");
        drop(way);
        assert_eq!(client.read(&mut bytes).await.unwrap_or(0), 0);
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    }
}
