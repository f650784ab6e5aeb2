//! The NX port: open only while a session is awaited, for one connection.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use qvd_carrier::Offer;
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::access::Access;

/// What a client of NX says first (seen: `NXPROXY-3.5.0-3.5.99 …`). Whoever
/// says anything else, or nothing, does not take the port from the client.
const GREETING: [u8; 8] = *b"NXPROXY-";

/// How long a connection may take to say it. Where the carrier is offered, the
/// client hears of it first, over a link that may be slow.
const GREET: Duration = Duration::from_secs(10);

/// Before the next try where a connection cannot be taken.
const PAUSE: Duration = Duration::from_millis(50);

/// Most connections that are listened to at a time; the oldest gives way.
const MAX_WAITING: usize = 16;

/// An open port. It is closed when it has given its connection, or is dropped.
pub struct NxPort(JoinHandle<()>);

/// What a port tells each who connects, and what is told of who came.
#[derive(Clone, Copy)]
pub struct Awaited {
    /// The carrier, where it is spoken.
    pub offer: Option<Offer>,
    /// The port's number: each that is opened has its own.
    pub number: u64,
}

/// A client's connection, as the port gives it.
pub struct Client {
    /// The connection, of which nothing has been read.
    pub connection: OwnedFd,
    /// Whether the carrier was offered on it.
    pub greeted: bool,
    /// Whether it is a carrier's.
    pub carrier: bool,
    /// The number of the port.
    pub port: u64,
}

impl NxPort {
    /// Opens the port; the first connection of a peer that may connect and
    /// greets as a client does goes to `clients`. Where the carrier is offered
    /// each is told first that it is spoken.
    ///
    /// # Errors
    /// One sentence that names the port.
    pub fn open(
        address: SocketAddr,
        access: Access,
        awaited: Awaited,
        clients: mpsc::UnboundedSender<Client>,
    ) -> Result<Self, String> {
        let listener = qvd_net::socket::listen(&address.ip().to_string(), address.port())
            .map_err(|e| format!("NX port {address} cannot be opened: {e}"))?;
        Ok(Self(tokio::task::spawn_local(accept_one(
            listener, access, awaited, clients,
        ))))
    }
}

impl NxPort {
    /// Whether it awaits its connection still.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.0.is_finished()
    }
}

impl Drop for NxPort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn accept_one(
    listener: TcpListener,
    access: Access,
    awaited: Awaited,
    clients: mpsc::UnboundedSender<Client>,
) {
    let Awaited { offer, number } = awaited;
    let mut waiting = JoinSet::new();
    let mut order = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            Some(greeted) = waiting.join_next() => {
                if let Ok(Some(connection)) = greeted {
                    let greeted = offer.is_some();
                    let client = Client {
                        carrier: greeted && is_carrier(&connection),
                        connection,
                        greeted,
                        port: number,
                    };
                    let _ = clients.send(client);
                    // Those who wait are let go with this.
                    return;
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (client, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Of a connection that broke before it was accepted; or of no
                // descriptors, of which others must let go first.
                tracing::debug!(%error, "NX port");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if !client
            .local_addr()
            .is_ok_and(|local| access.allows(peer, local))
        {
            tracing::warn!(%peer, "refused on the NX port");
            continue;
        }
        if waiting.len() >= MAX_WAITING
            && let Some(oldest) = order.pop_front()
        {
            let oldest: tokio::task::AbortHandle = oldest;
            oldest.abort();
        }
        order.retain(|task| !task.is_finished());
        order.push_back(waiting.spawn_local(greeted(client, peer, offer)));
    }
}

/// The connection, once it has greeted as a client.
async fn greeted(client: TcpStream, peer: SocketAddr, offer: Option<Offer>) -> Option<OwnedFd> {
    match timeout(GREET, greeting(&client, offer)).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => {
            tracing::warn!(%peer, "no client of NX on the NX port");
            return None;
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, %peer, "NX port");
            return None;
        }
        Err(_) => {
            tracing::warn!(%peer, "says nothing on the NX port");
            return None;
        }
    }
    tracing::info!(%peer, "client on the NX port");
    match client.into_std() {
        Ok(client) => Some(client.into()),
        Err(error) => {
            tracing::warn!(%error, %peer, "NX port");
            None
        }
    }
}

/// Whether the peer greets as a client. Its bytes stay where they are, for the
/// session process to read.
async fn greeting(client: &TcpStream, offer: Option<Offer>) -> io::Result<bool> {
    if let Some(offer) = offer {
        client.writable().await?;
        // The first bytes of a connection find room, all of them.
        client.try_write(&qvd_carrier::greeting(offer))?;
    }
    loop {
        let ready = client.ready(Interest::READABLE).await?;
        match client.try_io(Interest::READABLE, || peek(client, offer.is_some())) {
            // Nothing more will come, and that would be told again and again.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && ready.is_read_closed() => {
                return Ok(false);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            greeted => return greeted,
        }
    }
}

/// Whether a connection that has greeted did so as a carrier does.
fn is_carrier(connection: &OwnedFd) -> bool {
    let mut first = [0; 1];
    let peeked = recv(connection, &mut first[..], RecvFlags::PEEK);
    peeked.is_ok() && qvd_carrier::MAGIC.starts_with(&first)
}

/// Looks at the first bytes. What may yet become a greeting is to be waited
/// for, though there is something to read.
fn peek(client: &TcpStream, carrier: bool) -> io::Result<bool> {
    let mut first = [0; GREETING.len()];
    let (length, _) = recv(client, &mut first[..], RecvFlags::PEEK)?;
    let said = first.get(..length).unwrap_or_default();
    let begins = |with: &[u8]| with.starts_with(said);
    let good = begins(&GREETING) || (carrier && begins(&qvd_carrier::MAGIC));
    if good && length > 0 && length < first.len() {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(good && length == first.len())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::LocalSet;

    use super::*;

    const WAIT: Duration = Duration::from_secs(20);

    async fn open(offer: Option<Offer>) -> (NxPort, SocketAddr, mpsc::UnboundedReceiver<Client>) {
        let (sender, clients) = mpsc::unbounded_channel();
        let listener = qvd_net::socket::listen("127.0.0.1", 0).unwrap();
        let address = (Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port()).into();
        let access = Access::new(vec!["127.0.0.1".parse().unwrap()], false);
        let awaited = Awaited { offer, number: 1 };
        let task = tokio::task::spawn_local(accept_one(listener, access, awaited, sender));
        (NxPort(task), address, clients)
    }

    #[tokio::test]
    async fn who_is_no_client_does_not_take_the_port() {
        LocalSet::new()
            .run_until(async {
                let (_port, address, mut clients) = open(None).await;
                let mut carrier = TcpStream::connect(address).await.unwrap();
                carrier.write_all(&qvd_carrier::MAGIC).await.unwrap();
                let mut strays = Vec::new();
                for _ in 0..3 * MAX_WAITING {
                    strays.push(TcpStream::connect(address).await.unwrap());
                }
                let mut http = TcpStream::connect(address).await.unwrap();
                http.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
                let mut half = TcpStream::connect(address).await.unwrap();
                half.write_all(b"NXPR").await.unwrap();
                half.shutdown().await.unwrap();
                let mut client = TcpStream::connect(address).await.unwrap();
                client.write_all(b"NXPRO").await.unwrap();
                tokio::task::yield_now().await;
                client.write_all(b"XY-3.5.0 rest").await.unwrap();
                let taken = timeout(WAIT, clients.recv()).await.unwrap().unwrap();
                assert!(!taken.greeted);
                let mut bytes = [0; 64];
                let (length, _) =
                    recv(&taken.connection, &mut bytes[..], RecvFlags::empty()).unwrap();
                assert_eq!(&bytes[..length], b"NXPROXY-3.5.0 rest");
                // It was the only one, and the port is closed.
                assert!(timeout(WAIT, clients.recv()).await.unwrap().is_none());
                assert!(TcpStream::connect(address).await.is_err());
            })
            .await;
    }

    #[tokio::test]
    async fn where_the_carrier_is_offered_it_is_taken_or_not() {
        LocalSet::new()
            .run_until(async {
                for said in [&b"NXPROXY-3.5.0"[..], &qvd_carrier::MAGIC] {
                    let (_port, address, mut clients) = open(Some(Offer::New)).await;
                    let mut stray = TcpStream::connect(address).await.unwrap();
                    stray.write_all(b"\x89QVE").await.unwrap();
                    let mut client = TcpStream::connect(address).await.unwrap();
                    let mut heard = [0; 12];
                    client.read_exact(&mut heard).await.unwrap();
                    assert_eq!(qvd_carrier::offer(&heard), Some(Offer::New));
                    for byte in said {
                        client.write_all(&[*byte]).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                    let taken = timeout(WAIT, clients.recv()).await.unwrap().unwrap();
                    assert!(taken.greeted);
                    assert_eq!(taken.carrier, said == qvd_carrier::MAGIC);
                    let mut bytes = [0; 64];
                    let (length, _) =
                        recv(&taken.connection, &mut bytes[..], RecvFlags::empty()).unwrap();
                    assert!(length > 0 && said.starts_with(&bytes[..length]));
                }
            })
            .await;
    }
}
