//! The broker's calls to the agent of a VM.

use std::io;
use std::time::Duration;

use qvd_broker::Refusal;
use qvd_http1::{ResponseEvent, ResponseReader, Status};
use qvd_rpc::{Call, MAX_REPLY, Reply, SessionState, Waited};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::inventory::Vm;

/// How long an agent may take to be connected to.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an agent may take to answer. Hooks of the reference's agent run
/// before it answers `x_start`.
const ANSWER: Duration = Duration::from_secs(90);

/// Between two looks at the state of an agent that does not know `x_wait`.
const POLL: Duration = Duration::from_millis(100);

/// Longest one `x_wait` is kept open, so that a dead agent is noticed.
const WAIT: Duration = Duration::from_secs(10);

/// Why an agent cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// It is not there.
    #[error("agent of VM {vm} cannot be reached: {source}")]
    Unreachable {
        /// The VM's name.
        vm: String,
        /// Why not.
        source: io::Error,
    },
    /// It does not answer.
    #[error("agent of VM {vm} does not answer")]
    Silent {
        /// The VM's name.
        vm: String,
    },
    /// It answers something else.
    #[error("agent of VM {vm} is not understood: {reason}")]
    Protocol {
        /// The VM's name.
        vm: String,
        /// What is wrong.
        reason: String,
    },
}

impl From<AgentError> for Refusal {
    fn from(error: AgentError) -> Self {
        Self::new(Status::SERVICE_UNAVAILABLE, error.to_string())
    }
}

/// A dialogue with an agent, on one connection as long as that lives.
pub struct Agent<'a> {
    vm: &'a Vm,
    connection: Option<(TcpStream, ResponseReader)>,
    /// The agent does not know `x_wait`.
    polls: bool,
}

impl<'a> Agent<'a> {
    /// The agent of a VM. Nothing is asked yet.
    #[must_use]
    pub fn of(vm: &'a Vm) -> Self {
        Self {
            vm,
            connection: None,
            polls: false,
        }
    }

    /// Makes a call.
    ///
    /// # Errors
    /// When there is no answer; a call that failed is a [`Reply::Failure`].
    pub async fn call(&mut self, call: &Call) -> Result<Reply, AgentError> {
        let response = self.exchange(call).await?;
        Reply::from_response(&response).map_err(|e| self.protocol(&e))
    }

    /// The session's state once it differs from `seen`, or after `most`.
    ///
    /// # Errors
    /// When the agent cannot be asked.
    pub async fn wait(
        &mut self,
        seen: Option<SessionState>,
        most: Duration,
    ) -> Result<Waited, AgentError> {
        if !self.polls {
            let call = Call::XWait {
                seen,
                timeout: most.min(WAIT),
            };
            let response = self.exchange(&call).await?;
            match Reply::from_response(&response) {
                Ok(Reply::Waited(waited)) => return Ok(waited),
                // A reference agent: it is asked again and again.
                Err(qvd_rpc::Error::Status {
                    status: Status::NOT_FOUND,
                }) => self.polls = true,
                Ok(other) => return Err(self.protocol(&format!("{other:?}"))),
                Err(error) => return Err(self.protocol(&error)),
            }
        }
        if seen.is_some() {
            sleep(POLL.min(most)).await;
        }
        match self.call(&Call::XState).await? {
            Reply::State(state) => Ok(Waited {
                state,
                reason: None,
            }),
            other => Err(self.protocol(&format!("{other:?}"))),
        }
    }

    async fn exchange(&mut self, call: &Call) -> Result<qvd_http1::Response, AgentError> {
        let mut request = Vec::new();
        let head = call.to_request();
        head.write(&mut request).map_err(|e| self.protocol(&e))?;
        let limit = match call {
            Call::XWait { timeout, .. } => *timeout + ANSWER,
            _ => ANSWER,
        };
        // A kept connection may have been closed by the agent meanwhile; the
        // request was then not taken, and is made once more on a new one.
        if let Some(mut kept) = self.connection.take()
            && let Ok(Ok(response)) = timeout(limit, converse(&mut kept, &request)).await
        {
            return Ok(self.keep(kept, response));
        }
        let address = (self.vm.address.as_str(), self.vm.rpc_port);
        let connected = timeout(CONNECT, TcpStream::connect(address)).await;
        let stream = connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| self.unreachable(source))?;
        let _ = stream.set_nodelay(true);
        let mut connection = (stream, ResponseReader::new(MAX_REPLY));
        match timeout(limit, converse(&mut connection, &request)).await {
            Ok(Ok(response)) => Ok(self.keep(connection, response)),
            Ok(Err(Fault::Io(source))) => Err(self.unreachable(source)),
            Ok(Err(Fault::Http(error))) => Err(self.protocol(&error)),
            Err(_) => Err(AgentError::Silent {
                vm: self.vm.name.clone(),
            }),
        }
    }

    fn keep(
        &mut self,
        connection: (TcpStream, ResponseReader),
        response: qvd_http1::Response,
    ) -> qvd_http1::Response {
        if !response.head.headers.has_token("Connection", "close") {
            self.connection = Some(connection);
        }
        response
    }

    fn unreachable(&self, source: io::Error) -> AgentError {
        AgentError::Unreachable {
            vm: self.vm.name.clone(),
            source,
        }
    }

    fn protocol(&self, reason: &dyn std::fmt::Display) -> AgentError {
        AgentError::Protocol {
            vm: self.vm.name.clone(),
            reason: reason.to_string(),
        }
    }
}

enum Fault {
    Io(io::Error),
    Http(qvd_http1::Error),
}

async fn converse(
    (stream, reader): &mut (TcpStream, ResponseReader),
    request: &[u8],
) -> Result<qvd_http1::Response, Fault> {
    stream.write_all(request).await.map_err(Fault::Io)?;
    let mut chunk = vec![0; 4096];
    loop {
        match reader.poll().map_err(Fault::Http)? {
            Some(ResponseEvent::Response(response)) => return Ok(response),
            Some(ResponseEvent::Interim(_)) => {}
            Some(ResponseEvent::Upgraded(_)) => {
                return Err(Fault::Io(io::ErrorKind::InvalidData.into()));
            }
            None => match stream.read(&mut chunk).await.map_err(Fault::Io)? {
                0 => reader.receive_end(),
                n => reader.receive(chunk.get(..n).unwrap_or_default()),
            },
        }
    }
}
