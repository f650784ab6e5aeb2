//! The RPC port.

use std::time::Duration;

use qvd_http1::{Response, Status};
use qvd_net::http::{Deadlines, Error, ServerConnection};
use qvd_rpc::{Call, MAX_CALL_BODY, MAX_WAIT, Reply, SessionState, Waited};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;

use super::core::{Ask, Input};
use crate::access::Access;

/// Most connections served at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

/// What the RPC port needs of the core.
#[derive(Clone)]
pub struct Handle {
    /// Calls that change something.
    pub input: tokio::sync::mpsc::UnboundedSender<Input>,
    /// The session's state: asked without waiting for anybody.
    pub state: watch::Receiver<Waited>,
}

/// Serves calls for ever.
pub async fn serve(listener: TcpListener, access: Access, handle: Handle) {
    let room = std::sync::Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "RPC port");
                // Out of descriptors: others must end first.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if !stream
            .local_addr()
            .is_ok_and(|local| access.allows(peer, local))
        {
            tracing::warn!(%peer, "refused on the RPC port");
            continue;
        }
        let handle = handle.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = converse(stream, handle).await {
                tracing::debug!(%error, %peer, "RPC connection");
            }
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, handle: Handle) -> Result<(), Error> {
    qvd_net::socket::tune(&stream)?;
    let mut connection = ServerConnection::new(stream, MAX_CALL_BODY, Deadlines::default());
    while let Some(request) = connection.next_request().await? {
        let close = request.head.wants_close();
        let response = match Call::from_request(&request.head) {
            Ok(call) => answer(call, &handle).await,
            Err(error) => error.response(),
        };
        connection.respond(&response).await?;
        if close {
            break;
        }
    }
    Ok(())
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
