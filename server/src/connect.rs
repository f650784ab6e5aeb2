//! From a request to connect to a VM to the open NX port of its session.

use std::io;
use std::time::Duration;

use qvd_broker::{ConnectParameters, Refusal};
use qvd_http1::Status;
use qvd_rpc::{Call, Parameters, Reply, SessionState};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::agent::Agent;
use crate::inventory::{User, Vm};
use crate::registry::{Lease, Registry};

/// How long the NX port may take to be connected to.
const CONNECT: Duration = Duration::from_secs(10);

/// An agent can say `listening` some ten ms before its port accepts (seen on
/// the reference's): how often a refused connection is tried again.
const PORT_TRIES: u32 = 20;

/// Between two of these.
const PORT_PAUSE: Duration = Duration::from_millis(50);

/// Longest wait for an agent's state to change between two tries to start.
const RETRY: Duration = Duration::from_secs(2);

/// How long a session may take to end: the agent kills it after 20 s.
const STOPPING: Duration = Duration::from_secs(45);

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// How many times an agent is asked to start.
    pub start_tries: u32,
    /// From the start until the session listens; provisioning does not count.
    pub listening: Duration,
    /// For another session of the VM to end.
    pub takeover: Duration,
}

/// A session that awaits its client.
pub struct Prepared {
    /// The connection to its NX port.
    pub stream: TcpStream,
    /// The key of its slave channel.
    pub slave_key: SecretString,
    /// The VM, held while the session is connected.
    pub lease: Lease,
}

/// Lines for the user, in the reference's words.
pub type Progress = mpsc::UnboundedSender<String>;

/// Prepares a session for a client.
///
/// # Errors
/// The refusal for the client, with the agent's reason where it gives one.
pub async fn prepare(
    vm: &Vm,
    user: &User,
    parameters: &ConnectParameters,
    registry: &Registry,
    timeouts: Timeouts,
    progress: Progress,
) -> Result<Prepared, Refusal> {
    let tell = |text: String| {
        // A client that is gone ends this by dropping it.
        let _ = progress.send(text);
    };
    let id = vm.id;
    let mut lease = registry.take_over(id, timeouts.takeover).await?;
    tell(format!("Session acquired for VM_ID: {id}"));
    let slave_key = random_key()?;
    let properties = properties(vm, user, parameters, &slave_key);
    let work = async {
        let mut agent = Agent::of(vm);
        tell(format!("Starting X session at VM {id}"));
        start(&mut agent, properties, timeouts.start_tries).await?;
        tell(format!("Waiting for X session to come up on VM {id}"));
        await_listening(&mut agent, timeouts.listening).await?;
        tell(format!("Connecting X session for VM_ID: {id}"));
        connect(vm).await
    };
    let stream = tokio::select! {
        stream = work => stream?,
        () = lease.superseded() => {
            let reason = "another client of yours connects to this VM";
            return Err(Refusal::new(Status::CONFLICT, reason));
        }
    };
    tell("Connection established".into());
    Ok(Prepared {
        stream,
        slave_key,
        lease,
    })
}

/// Ends the session of a VM, whoever is connected to it.
///
/// # Errors
/// When the agent cannot be asked, or the session does not end.
pub async fn stop(
    vm: &Vm,
    registry: &Registry,
    timeouts: Timeouts,
    progress: Progress,
) -> Result<(), Refusal> {
    let id = vm.id;
    let _lease = registry.take_over(id, timeouts.takeover).await?;
    let _ = progress.send(format!("Stopping session at VM {id}"));
    let mut agent = Agent::of(vm);
    if let Reply::Failure(reason) = agent.call(&Call::XStop).await? {
        return Err(Refusal::new(Status::INTERNAL_SERVER_ERROR, reason));
    }
    let deadline = Instant::now() + STOPPING;
    let mut seen = None;
    while Instant::now() < deadline {
        let waited = agent.wait(seen, deadline - Instant::now()).await?;
        if waited.state == SessionState::Stopped {
            return Ok(());
        }
        seen = Some(waited.state);
    }
    Err(Refusal::new(
        Status::REQUEST_TIMEOUT,
        format!(
            "session of VM {} did not end within {} s",
            vm.name,
            STOPPING.as_secs()
        ),
    ))
}

/// What the agent is told. The VM's and the user's properties are the
/// administrator's; of the client come only names that were checked; what the
/// broker itself says wins over all.
fn properties(
    vm: &Vm,
    user: &User,
    parameters: &ConnectParameters,
    slave_key: &SecretString,
) -> Parameters {
    let mut properties = Parameters::new();
    let admin = vm.properties.iter().chain(&user.properties);
    let client = parameters.iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
    for (key, value) in admin.map(|(k, v)| (k.clone(), v.clone())).chain(client) {
        properties.set(key, value);
    }
    if properties.value("qvd.vm.user.name").is_none() {
        properties.set("qvd.vm.user.name", user.login.as_str());
    }
    properties.set("qvd.slave.key", slave_key.expose_secret());
    properties
}

/// Has the agent start or resume the session. An agent that is busy, or lets
/// another client go first, is asked again when its state has changed.
async fn start(agent: &mut Agent<'_>, properties: Parameters, tries: u32) -> Result<(), Refusal> {
    let call = Call::XStart(properties);
    let mut last = String::new();
    let mut refused_while_ready = false;
    for _ in 0..tries {
        match agent.call(&call).await? {
            Reply::State(_) => return Ok(()),
            Reply::Failure(reason) => last = reason,
            _ => last = "unexpected answer".to_owned(),
        }
        let state = agent.wait(None, RETRY).await?.state;
        if matches!(state, SessionState::Stopped | SessionState::Suspended) {
            // It could start and does not want to: asked twice, it means it.
            if refused_while_ready {
                break;
            }
            refused_while_ready = true;
            continue;
        }
        agent.wait(Some(state), RETRY).await?;
    }
    let reason = format!("session could not be started: {last}");
    Err(Refusal::new(Status::INTERNAL_SERVER_ERROR, reason))
}

async fn await_listening(agent: &mut Agent<'_>, within: Duration) -> Result<(), Refusal> {
    let failed = |reason: Option<String>, fallback: &str| {
        let reason = reason.unwrap_or_else(|| fallback.to_owned());
        let text = format!("session could not be started: {reason}");
        Refusal::new(Status::INTERNAL_SERVER_ERROR, text)
    };
    let mut deadline = Instant::now() + within;
    let mut seen = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Refusal::new(
                Status::REQUEST_TIMEOUT,
                format!("session did not come up within {} s", within.as_secs()),
            ));
        }
        let waited = agent.wait(seen, left).await?;
        match waited.state {
            SessionState::Listening => return Ok(()),
            SessionState::Starting => {}
            // Takes as long as it takes.
            SessionState::Provisioning => deadline = Instant::now() + within,
            SessionState::Stopped | SessionState::Stopping => {
                return Err(failed(waited.reason, "it ended"));
            }
            SessionState::Suspended | SessionState::Suspending => {
                return Err(failed(waited.reason, "it stays suspended"));
            }
            SessionState::Connected => return Err(failed(None, "another client took it")),
        }
        seen = Some(waited.state);
    }
}

async fn connect(vm: &Vm) -> Result<TcpStream, Refusal> {
    let address = (vm.address.as_str(), vm.x_port);
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..PORT_TRIES {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                if let Err(error) = qvd_net::socket::tune(&stream) {
                    tracing::debug!(%error, "socket options");
                }
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => break,
        }
        sleep(PORT_PAUSE).await;
    }
    let reason = format!("session of VM {} cannot be connected to: {last}", vm.name);
    Err(Refusal::new(Status::SERVICE_UNAVAILABLE, reason))
}

/// 64 random letters and digits.
fn random_key() -> Result<SecretString, Refusal> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut key = String::with_capacity(64);
    while key.len() < 64 {
        let mut bytes = [0; 128];
        getrandom::fill(&mut bytes).map_err(|e| {
            tracing::error!(error = %e, "no randomness");
            Refusal::new(
                Status::INTERNAL_SERVER_ERROR,
                "the broker has no randomness",
            )
        })?;
        // Bytes beyond the last whole alphabet would favour its beginning.
        let fair = bytes
            .iter()
            .filter(|b| usize::from(**b) < 4 * ALPHABET.len());
        let letters = fair.filter_map(|b| ALPHABET.get(usize::from(*b) % ALPHABET.len()));
        key.extend(letters.map(|b| char::from(*b)).take(64 - key.len()));
    }
    Ok(SecretString::from(key))
}

impl From<&qvd_config::ServerConfig> for Timeouts {
    fn from(config: &qvd_config::ServerConfig) -> Self {
        Self {
            start_tries: config.timeout.x_start.number(),
            listening: config.timeout.listening,
            takeover: config.timeout.takeover,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slave_key_is_64_letters_and_digits_and_new_each_time() {
        let (a, b) = (random_key().unwrap(), random_key().unwrap());
        assert_eq!(a.expose_secret().len(), 64);
        assert!(a.expose_secret().bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(a.expose_secret(), b.expose_secret());
    }
}
