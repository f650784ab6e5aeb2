//! A connection to the broker.

use std::io;
use std::time::Duration;

use nx_proxy::{NxStream, Transport};
use qvd_broker::{ConnectParameters, Credentials, Dialogue, Event as Said, Request, VmEntry};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::dial::dial;
use super::event::{Event, Events};
use super::failure::{Code, Failure};
use super::names::Names;
use super::tls::TlsPolicy;
use super::trust;

/// How long the broker may take to answer a request, or to say something while
/// it prepares a VM: a broker starts a stopped VM within 270 s.
const ANSWER: Duration = Duration::from_secs(300);

/// From this on, a broker may have closed a connection for being idle.
const IDLE: Duration = Duration::from_secs(5);

/// What the client calls itself.
const USER_AGENT: &str = concat!("qvdclient/", env!("CARGO_PKG_VERSION"), " (linux)");

/// Where the broker is and who asks.
#[derive(Debug, Clone)]
pub struct Target {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the broker is recognised; `None` for a connection in the clear.
    pub tls: Option<TlsPolicy>,
    /// Who asks.
    pub credentials: Credentials,
    /// Variables of the user's environment shared with the broker.
    pub environment: Vec<(String, SecretString)>,
    /// What its name has led to.
    pub names: Names,
}

/// A connection to the broker.
pub struct Broker {
    target: Target,
    stream: Box<dyn Transport>,
    dialogue: Dialogue,
    /// When it last answered.
    answered: Option<Instant>,
    /// How long it may say nothing.
    patience: Duration,
}

/// The way to a session's NX end.
pub struct Tunnel {
    /// The bytes, from the very first.
    pub stream: NxStream,
    /// The key of the session's slave channel.
    pub slave_key: Option<SecretString>,
    /// Whether the agent will speak the carrier, as far as the broker knows.
    pub carrier: Option<bool>,
}

impl Broker {
    /// Connects to the broker.
    ///
    /// # Errors
    /// When it is not there or not the one it should be.
    pub async fn open(target: Target, events: Events<'_>) -> Result<Self, Failure> {
        let stream = connect(&target, events).await?;
        let dialogue = Dialogue::new(Some(target.credentials.clone()), USER_AGENT)
            .with_environment(target.environment.clone());
        Ok(Self {
            target,
            stream,
            dialogue,
            answered: None,
            patience: ANSWER,
        })
    }

    /// The broker may say nothing for no longer than this. It says something
    /// at each step to a session, and starting a VM is the longest by far.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Whether the broker is there, which needs no login.
    ///
    /// # Errors
    /// When it says no, or nothing.
    pub async fn ping(&mut self, events: Events<'_>) -> Result<(), Failure> {
        match self.ask(Request::Ping, events).await? {
            Said::Alive => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// The user's VMs.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub async fn vms(&mut self, events: Events<'_>) -> Result<Vec<VmEntry>, Failure> {
        self.list(Request::ListVms { file_name: None }, events)
            .await
    }

    /// The user's applications.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub async fn applications(&mut self, events: Events<'_>) -> Result<Vec<VmEntry>, Failure> {
        self.list(Request::ListApplications, events).await
    }

    async fn list(
        &mut self,
        request: Request,
        events: Events<'_>,
    ) -> Result<Vec<VmEntry>, Failure> {
        events(Event::Authenticating);
        match self.ask(request, events).await? {
            Said::Vms(vms) => Ok(vms),
            other => Err(unexpected(&other)),
        }
    }

    /// Stops a VM.
    ///
    /// # Errors
    /// When the broker refuses or does not answer.
    pub async fn stop_vm(&mut self, id: u64, events: Events<'_>) -> Result<(), Failure> {
        match self.ask(Request::StopVm { id }, events).await? {
            Said::Stopped(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Connects to a VM; the broker's words about its progress come as events.
    ///
    /// # Errors
    /// When the broker refuses, or the VM cannot be had.
    pub async fn connect(
        mut self,
        id: u64,
        parameters: ConnectParameters,
        events: Events<'_>,
    ) -> Result<Tunnel, Failure> {
        match self
            .ask(Request::Connect { id, parameters }, events)
            .await?
        {
            Said::Connected { slave_key, carrier } => {
                let early = self.dialogue.take_rest();
                Ok(Tunnel {
                    stream: NxStream::new(self.stream, early),
                    slave_key,
                    carrier,
                })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Asks, and gives the final answer.
    ///
    /// A broker may close a connection that was idle, while the user thinks
    /// about which VM to take: then the question is put again on a new one.
    async fn ask(&mut self, request: Request, events: Events<'_>) -> Result<Said, Failure> {
        let idle = self.answered.map_or(Duration::ZERO, |at| at.elapsed());
        if self.dialogue.is_closing() {
            self.reopen(events).await?;
        } else if idle >= IDLE {
            match self.ask_here(request.clone(), events).await {
                Err(Unanswered::NotHeard(failure)) => {
                    tracing::info!(%failure, "connection was idle too long, connecting again");
                    self.reopen(events).await?;
                }
                Err(Unanswered::Failed(failure)) => return Err(failure),
                Ok(said) => return Ok(said),
            }
        }
        let said = self.ask_here(request, events).await?;
        self.answered = Some(Instant::now());
        Ok(said)
    }

    async fn reopen(&mut self, events: Events<'_>) -> Result<(), Failure> {
        let again = Self::open(self.target.clone(), events).await?;
        *self = again.with_patience(self.patience);
        Ok(())
    }

    async fn ask_here(&mut self, request: Request, events: Events<'_>) -> Result<Said, Unanswered> {
        self.dialogue.ask(request).map_err(Failure::from)?;
        if let Some(bytes) = self.dialogue.poll_transmit() {
            let written = timeout(self.patience, async {
                self.stream.write_all(&bytes).await?;
                self.stream.flush().await
            });
            let written = written.await.map_err(|_| self.silent())?;
            written.map_err(|e| Unanswered::NotHeard(lost(e)))?;
        }
        let mut heard = false;
        let mut deadline = Instant::now() + self.patience;
        let mut chunk = vec![0; 16 * 1024];
        loop {
            match self.dialogue.poll_event().map_err(Failure::from) {
                Err(failure) => return Err(failure.into()),
                Ok(Some(Said::Progress(text))) => {
                    events(Event::Progress(text));
                    deadline = Instant::now() + self.patience;
                    continue;
                }
                Ok(Some(Said::Refused(refusal))) => return Err(Failure::from(refusal).into()),
                Ok(Some(said)) => return Ok(said),
                Ok(None) => {}
            }
            let read = timeout_at(deadline, self.stream.read(&mut chunk)).await;
            match read.map_err(|_| self.silent())? {
                Ok(0) if !heard => return Err(Unanswered::NotHeard(hung_up())),
                // A peer that ends TLS without a word has ended all the same.
                Err(e) if heard && e.kind() == io::ErrorKind::UnexpectedEof => {
                    self.dialogue.receive_end();
                }
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(Unanswered::NotHeard(hung_up()));
                }
                Err(e) if !heard => return Err(Unanswered::NotHeard(lost(e))),
                Err(e) => return Err(lost(e).into()),
                Ok(0) => self.dialogue.receive_end(),
                Ok(n) => {
                    heard = true;
                    self.dialogue.receive(chunk.get(..n).unwrap_or_default());
                }
            }
        }
    }
}

impl Broker {
    fn silent(&self) -> Failure {
        let seconds = self.patience.as_secs();
        let message = format!("the broker said nothing for {seconds} s");
        Failure::new(Code::TimedOut, message)
    }
}

/// Why there is no answer.
enum Unanswered {
    /// The connection ended before a byte of an answer came.
    NotHeard(Failure),
    /// Anything else.
    Failed(Failure),
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NotHeard(failure) | Unanswered::Failed(failure) => failure,
        }
    }
}

fn hung_up() -> Failure {
    let message = "the broker closed the connection without an answer";
    Failure::new(Code::ConnectFailed, message)
}

fn lost(error: io::Error) -> Failure {
    // TLS that ends without its closing word, as of a killed broker.
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return hung_up().because(error);
    }
    let message = format!("connection to the broker broke: {error}");
    Failure::new(Code::ConnectFailed, message).because(error)
}

fn unexpected(said: &Said) -> Failure {
    Failure::new(
        Code::Protocol,
        format!("the broker answered another question: {said:?}"),
    )
}

async fn connect(target: &Target, events: Events<'_>) -> Result<Box<dyn Transport>, Failure> {
    let (host, port, names) = (&target.host, target.port, &target.names);
    match &target.tls {
        None => Ok(Box::new(dial(host, port, None, events).await?.stream)),
        Some(policy) => Ok(trust::connect((host, port), names, policy, events).await?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_the_closing_word_of_tls_is_an_end() {
        let error = io::Error::new(io::ErrorKind::UnexpectedEof, "see https://docs.example");
        assert_eq!(
            lost(error).to_string(),
            "the broker closed the connection without an answer"
        );
    }
}
