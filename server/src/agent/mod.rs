//! The agent in a VM, as the server calls it.

mod session;
mod way;

use std::io;
use std::time::Duration;

use qvd_http1::{ResponseEvent, ResponseReader, Status};
use qvd_rpc::{Call, Reply};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

pub use self::session::{Limits, StartFailure, start, stop};
use self::way::Stream;
pub use self::way::{Tls, Way};
use crate::inventory::Vm;

/// For a connection to a VM to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// For the agent to answer `x_start`: the reference's runs hooks before it
/// does.
const X_START: Duration = Duration::from_secs(120);

/// For the agent to answer, beyond the time it was told to wait.
const ANSWER: Duration = Duration::from_secs(30);

/// Bytes read at a time.
const READ_SIZE: usize = 4 * 1024;

/// Why a call got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The agent is not there.
    #[error("its agent cannot be reached: {0}")]
    Unreachable(io::Error),
    /// The connection ended before the answer.
    #[error("its agent closed the connection: {0}")]
    Lost(io::Error),
    /// No answer in time.
    #[error("its agent does not answer")]
    TimedOut,
    /// The answer is not understood.
    #[error("its agent is not understood: {0}")]
    Http(#[from] qvd_http1::Error),
    /// The answer is not SimpleRPC, or another status than 200.
    #[error("its agent is not understood: {0}")]
    Rpc(#[from] qvd_rpc::Error),
}

impl CallError {
    /// Whether the agent does not know the method.
    fn is_unknown_method(&self) -> bool {
        matches!(self, Self::Rpc(qvd_rpc::Error::Status { status }) if *status == Status::NOT_FOUND)
    }
}

/// Calls to one agent over one connection, which is made when it is needed
/// and kept for a whole dialogue.
pub struct Agent<'a> {
    vm: &'a Vm,
    connection: Option<Connection>,
}

impl<'a> Agent<'a> {
    /// The agent of this VM.
    pub fn new(vm: &'a Vm) -> Self {
        Self {
            vm,
            connection: None,
        }
    }

    /// Calls the agent and waits for its answer.
    ///
    /// # Errors
    /// See [`CallError`]. A failure that the agent itself reports is a
    /// [`Reply::Failure`].
    pub async fn call(&mut self, call: &Call) -> Result<Reply, CallError> {
        let patience = match call {
            Call::XStart(_) => X_START,
            Call::XWait { timeout, .. } => ANSWER + *timeout,
            _ => ANSWER,
        };
        self.call_within(call, patience).await
    }

    async fn call_within(&mut self, call: &Call, patience: Duration) -> Result<Reply, CallError> {
        let deadline = Instant::now() + patience;
        if let Some(connection) = self.connection.take() {
            // The agent may have closed a connection that was idle: only then,
            // before any byte of an answer, is the call made again.
            match self.call_on(connection, call, deadline).await {
                Err(CallError::Lost(_)) => {}
                result => return result,
            }
        }
        let connection = Connection::open(self.vm).await?;
        self.call_on(connection, call, deadline).await
    }

    async fn call_on(
        &mut self,
        mut connection: Connection,
        call: &Call,
        deadline: Instant,
    ) -> Result<Reply, CallError> {
        let exchange = connection.exchange(call);
        let response = timeout_at(deadline, exchange)
            .await
            .map_err(|_| CallError::TimedOut)??;
        if !response.head.headers.has_token("Connection", "close") {
            self.connection = Some(connection);
        }
        Ok(Reply::from_response(&response)?)
    }

    /// Whether the agent answers within this time: the VM is up.
    pub async fn is_alive(&mut self, within: Duration) -> bool {
        let ping = self.call_within(&Call::Ping, within);
        matches!(
            tokio::time::timeout(within, ping).await,
            Ok(Ok(Reply::Alive))
        )
    }
}

struct Connection {
    stream: Box<dyn Stream>,
    key: Option<SecretString>,
    reader: ResponseReader,
}

impl Connection {
    async fn open(vm: &Vm) -> Result<Self, CallError> {
        let unreachable = CallError::Unreachable;
        let stream = connect(vm, vm.rpc_port).await.map_err(unreachable)?;
        let entering = vm.rpc.enter(stream, &vm.address);
        let entered = tokio::time::timeout(CONNECT, entering).await;
        let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
        Ok(Self {
            stream: entered
                .map_err(timed_out)
                .and_then(|entered| entered)
                .map_err(unreachable)?,
            key: vm.rpc.key().map_err(unreachable)?,
            reader: ResponseReader::new(qvd_rpc::MAX_REPLY),
        })
    }

    async fn exchange(&mut self, call: &Call) -> Result<qvd_http1::Response, CallError> {
        let mut bytes = Vec::new();
        let mut request = call.to_request();
        if let Some(key) = &self.key {
            let shown = format!("Bearer {}", key.expose_secret());
            request = request.header("Authorization", shown);
        }
        request.write(&mut bytes)?;
        self.stream
            .write_all(&bytes)
            .await
            .map_err(CallError::Lost)?;
        let mut chunk = [0; READ_SIZE];
        let mut begun = false;
        loop {
            match self.reader.poll()? {
                Some(ResponseEvent::Response(response)) => return Ok(response),
                Some(ResponseEvent::Interim(_)) => continue,
                Some(ResponseEvent::Upgraded(_)) => {
                    let reason = "an upgrade that was not asked for".to_owned();
                    return Err(qvd_rpc::Error::Reply(reason).into());
                }
                None => {}
            }
            match self.stream.read(&mut chunk).await {
                Ok(0) if begun => return Err(qvd_http1::Error::Truncated.into()),
                Ok(0) => return Err(CallError::Lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => self.reader.receive(chunk.get(..n).unwrap_or_default()),
                Err(error) => return Err(CallError::Lost(error)),
            }
            begun = true;
        }
    }
}

/// A connection to a port of the VM.
pub(crate) async fn connect(vm: &Vm, port: u16) -> io::Result<TcpStream> {
    let connecting = TcpStream::connect((vm.address.as_str(), port));
    let stream = tokio::time::timeout(CONNECT, connecting)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    qvd_net::socket::tune(&stream)?;
    Ok(stream)
}
