//! The RPC port.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use qvd_http1::{RequestHead, Response, Status};
use qvd_net::http::{Deadlines, Error, ServerConnection};
use qvd_rpc::{Call, MAX_CALL_BODY, MAX_WAIT, Reply, SessionState, Waited};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::core::{Ask, Input};
use super::gate::Gate;
use super::places::{Place, Places};
use super::vnc;

/// How long the port waits for callers.
const DEADLINES: Deadlines = Deadlines {
    request: Duration::from_secs(10),
    first: Duration::from_secs(120),
    idle: Duration::from_secs(120),
    write: Duration::from_secs(10),
};

/// How long a caller may take to agree on a key.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Refusals that are logged one by one within [`REFUSALS_OF`]; the rest is
/// counted, so that nobody fills the log by being refused.
const REFUSALS: u32 = 10;

/// See [`REFUSALS`].
const REFUSALS_OF: Duration = Duration::from_secs(60);

/// What the RPC port needs of the core.
#[derive(Clone)]
pub struct Handle {
    /// Calls that change something.
    pub input: tokio::sync::mpsc::UnboundedSender<Input>,
    /// The session's state: asked without waiting for anybody.
    pub state: watch::Receiver<Waited>,
    /// Who may call.
    pub gate: watch::Receiver<Arc<Gate>>,
}

/// A caller's connection.
pub enum Caller {
    /// As in the reference.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Serves calls for ever.
pub async fn serve(listener: TcpListener, handle: Handle) {
    let places = Places::default();
    let mut refusals = Refusals::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "RPC port");
                // Out of descriptors: others must end first.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let gate = handle.gate.borrow().clone();
        let allowed = stream
            .local_addr()
            .is_ok_and(|local| gate.access.allows(peer, local));
        if !allowed {
            refusals.tell(peer);
            continue;
        }
        let place = places.take(peer.ip().to_canonical());
        let number = place.number();
        let handle = handle.clone();
        let task = tokio::task::spawn_local(async move {
            if let Err(error) = meet(stream, &place, &gate, handle).await {
                tracing::debug!(%error, %peer, "RPC connection");
            }
        });
        places.serve(number, task.abort_handle());
    }
}

/// Tells of refused callers, but not of each.
#[derive(Default)]
struct Refusals {
    since: Option<Instant>,
    told: u32,
    untold: u64,
}

impl Refusals {
    fn tell(&mut self, peer: SocketAddr) {
        if self.since.is_none_or(|since| since.elapsed() > REFUSALS_OF) {
            if self.untold > 0 {
                tracing::warn!("{} more were refused on the RPC port", self.untold);
            }
            *self = Self {
                since: Some(Instant::now()),
                ..Self::default()
            };
        }
        if self.told < REFUSALS {
            self.told += 1;
            tracing::warn!(%peer, "refused on the RPC port");
        } else {
            self.untold += 1;
        }
    }
}

async fn meet(stream: TcpStream, place: &Place, gate: &Gate, handle: Handle) -> Result<(), Error> {
    qvd_net::socket::tune(&stream)?;
    let caller = match &gate.tls {
        None => Caller::Plain(stream),
        Some(config) => {
            let acceptor = TlsAcceptor::from(config.clone());
            let met = timeout(HANDSHAKE, acceptor.accept(stream)).await;
            Caller::Tls(Box::new(met.map_err(|_| Error::TooSlow)??))
        }
    };
    converse(caller, place, handle).await
}

async fn converse(caller: Caller, place: &Place, handle: Handle) -> Result<(), Error> {
    let mut connection = ServerConnection::new(caller, MAX_CALL_BODY, DEADLINES);
    while let Some(request) = connection.next_request().await? {
        place.heard(true);
        let close = request.head.wants_close();
        // The rules of the moment: a connection may be older than they are.
        let gate = handle.gate.borrow().clone();
        let response = match gate.admit(&request.head) {
            Err(refused) => refused,
            Ok(()) if vnc::is_asked(&request.head) => {
                match vnc::prepare(&request.head, &mut connection, &handle).await? {
                    Ok(number) => return vnc::hand_over(number, connection, place, &handle).await,
                    Err(refused) => refused,
                }
            }
            Ok(()) => respond(&request.head, &handle).await,
        };
        // Whoever does not take his answer makes room for others.
        place.heard(false);
        connection.respond(&response).await?;
        if close {
            break;
        }
    }
    Ok(())
}

async fn respond(head: &RequestHead, handle: &Handle) -> Response {
    match Call::from_request(head) {
        Ok(call) => answer(call, handle).await,
        Err(error) => error.response(),
    }
}

async fn answer(call: Call, handle: &Handle) -> Response {
    let ask = match call {
        Call::Ping => return Reply::Alive.to_response(),
        Call::XState => return Reply::State(handle.state.borrow().state).to_response(),
        Call::XWait { seen, timeout } => return wait(seen, timeout, handle).await.to_response(),
        Call::XStart(parameters) => Ask::Start(parameters),
        Call::XSuspend => Ask::Suspend,
        Call::XStop => Ask::Stop,
        Call::Poweroff => Ask::Poweroff,
        Call::Expire => Ask::Expire,
        _ => return qvd_rpc::Error::NoSuchMethod.response(),
    };
    let (reply, answered) = oneshot::channel();
    if handle.input.send(Input::Call(ask, reply)).is_err() {
        return gone();
    }
    answered
        .await
        .map_or_else(|_| gone(), |reply| reply.to_response())
}

async fn wait(seen: Option<SessionState>, time: Duration, handle: &Handle) -> Reply {
    let mut state = handle.state.clone();
    let changed = state.wait_for(|now| Some(now.state) != seen);
    // Over without a change: the caller is told what it knows.
    let _ = timeout(time.min(MAX_WAIT), changed).await;
    Reply::Waited(handle.state.borrow().clone())
}

fn gone() -> Response {
    Response::text(Status::SERVICE_UNAVAILABLE, "the agent is ending")
}

impl AsyncRead for Caller {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Caller {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
