//! The other end of SimpleRPC, answering as a test says.

use std::sync::{Arc, Mutex};

use qvd_http1::Response;
use qvd_net::http::{Deadlines, ServerConnection};
use qvd_rpc::{Call, Parameters, Reply, SessionState, Waited};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What the broker called, and the state it is told.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) rpc_port: u16,
    pub(crate) state: watch::Sender<SessionState>,
    pub(crate) calls: Arc<Mutex<Vec<Call>>>,
    /// Answers of `x_start` before it starts anything.
    pub(crate) failures: Arc<Mutex<Vec<&'static str>>>,
    knows_wait: bool,
    /// What `x_start` leads to.
    starts_to: SessionState,
}

impl Peer {
    pub(crate) async fn start(knows_wait: bool, starts_to: SessionState) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = Self {
            rpc_port: listener.local_addr().unwrap().port(),
            state: watch::Sender::new(SessionState::Stopped),
            calls: Arc::default(),
            failures: Arc::default(),
            knows_wait,
            starts_to,
        };
        let serving = peer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let peer = serving.clone();
                tokio::spawn(async move {
                    let mut connection = ServerConnection::new(stream, 0, Deadlines::default());
                    while let Ok(Some(request)) = connection.next_request().await {
                        let response = match Call::from_request(&request.head) {
                            Ok(call) => peer.answer(call).await,
                            Err(error) => error.response(),
                        };
                        connection.respond(&response).await.unwrap();
                    }
                });
            }
        });
        peer
    }

    async fn answer(&self, call: Call) -> Response {
        let reply = match &call {
            Call::XWait { .. } if !self.knows_wait => {
                return qvd_rpc::Error::NoSuchMethod.response();
            }
            Call::XWait { seen, timeout } => {
                let mut state = self.state.subscribe();
                let changed = state.wait_for(|state| Some(*state) != *seen);
                let _ = tokio::time::timeout(*timeout, changed).await;
                let state = *self.state.borrow();
                Reply::Waited(Waited {
                    state,
                    reason: None,
                    carrier: None,
                })
            }
            Call::Ping => Reply::Alive,
            Call::XStop => {
                self.state.send_replace(SessionState::Stopped);
                Reply::State(SessionState::Stopping)
            }
            Call::XStart(_) => self.x_start(),
            _ => Reply::State(*self.state.borrow()),
        };
        self.calls.lock().unwrap().push(call);
        reply.to_response()
    }

    fn x_start(&self) -> Reply {
        if let Some(message) = self.failures.lock().unwrap().pop() {
            return Reply::Failure(message.to_owned());
        }
        self.state.send_replace(self.starts_to);
        Reply::State(SessionState::Starting)
    }

    pub(crate) fn starts(&self) -> Vec<Parameters> {
        let calls = self.calls.lock().unwrap();
        calls
            .iter()
            .filter_map(|call| match call {
                Call::XStart(parameters) => Some(parameters.clone()),
                _ => None,
            })
            .collect()
    }
}
