//! Making a session that a client can be joined with.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use qvd_broker::{ConnectParameters, Refusal};
use qvd_http1::{ResponseHead, Status};
use qvd_rpc::Parameters;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::agent::{self, Agent, StartFailure};
use crate::broker::Broker;
use crate::inventory::{User, Vm};
use crate::takeover::{Claim, Claimant, Failure};

/// Characters of a slave key.
const SLAVE_KEY: usize = 64;

/// A reference agent says `listening` tens of milliseconds before nxagent's
/// port does: how long it is tried.
const PORT: Duration = Duration::from_secs(5);

/// Between two tries of the port.
const PORT_STEP: Duration = Duration::from_millis(50);

/// A session that waits for its client.
pub(crate) struct Prepared {
    pub(crate) claim: Claim,
    pub(crate) vm: TcpStream,
    pub(crate) slave_key: SecretString,
    /// Whether the agent will speak the carrier, where the client asks.
    pub(crate) carrier: Option<bool>,
}

/// Takes the VM over, starts or resumes its session and connects to it.
///
/// # Errors
/// What the client is to be told.
pub(crate) async fn prepare(
    broker: &Arc<Broker>,
    user: &User,
    vm: &Vm,
    parameters: &ConnectParameters,
    progress: mpsc::Sender<String>,
) -> Result<Prepared, Refusal> {
    // The texts are those of the reference.
    let say = |text: String| {
        // A client that does not read its progress does without.
        let _ = progress.try_send(text);
    };
    let id = vm.id;
    let who = Claimant {
        session: parameters.session_id(),
        resumes: parameters.resumes(),
    };
    let mut claim = broker
        .registry
        .claim(id, broker.takeover, who)
        .await
        .map_err(|failure| not_taken(id, failure))?;
    say(format!("Session acquired for VM_ID: {id}"));
    let slave_key = new_slave_key()
        .map_err(|error| Refusal::new(Status::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let work = async {
        say(format!("Starting X session at VM {id}"));
        let properties = session_parameters(user, vm, parameters, &slave_key);
        let mut agent = Agent::new(vm);
        let waiting = || say(format!("Waiting for X session to come up on VM {id}"));
        let carrier = agent::start(&mut agent, properties, broker.limits, waiting)
            .await
            .map_err(|failure| not_started(id, &failure))?;
        say(format!("Connecting X session for VM_ID: {id}"));
        let socket = connect_to_session(vm).await.map_err(|error| {
            let reason = format!("VM {id}: its session cannot be connected to: {error}");
            Refusal::new(Status::SERVICE_UNAVAILABLE, reason)
        })?;
        say("Connection established".to_owned());
        Ok((socket, carrier))
    };
    let (socket, carrier) = tokio::select! {
        socket = work => socket?,
        () = claim.contended() => return Err(not_taken(id, Failure::Overtaken)),
    };
    Ok(Prepared {
        claim,
        vm: socket,
        slave_key,
        carrier: qvd_carrier::announced(parameters.value(qvd_carrier::CARRIER)).then_some(carrier),
    })
}

/// The 101.
pub(crate) fn joined(slave_key: &SecretString, carrier: Option<bool>) -> ResponseHead {
    let head = qvd_broker::connected(slave_key.expose_secret());
    match carrier {
        None => head,
        Some(spoken) => head.header(qvd_broker::CARRIER_HEADER, if spoken { "1" } else { "0" }),
    }
}

/// What the agent is told: what the client says of itself, overruled by the
/// user's properties, these by the VM's, and these by what is ours to say.
fn session_parameters(
    user: &User,
    vm: &Vm,
    client: &ConnectParameters,
    slave_key: &SecretString,
) -> Parameters {
    let mut parameters = Parameters::new();
    for (key, value) in client.iter() {
        parameters.set(key, value);
    }
    parameters.set("qvd.vm.user.name", user.login.as_str());
    for (key, value) in user.properties.iter().chain(&vm.properties) {
        parameters.set(key.as_str(), value.as_str());
    }
    parameters.set("qvd.slave.key", slave_key.expose_secret());
    parameters
}

async fn connect_to_session(vm: &Vm) -> io::Result<TcpStream> {
    let deadline = Instant::now() + PORT;
    loop {
        match agent::connect(vm, vm.x_port).await {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && Instant::now() < deadline =>
            {
                tokio::time::sleep(PORT_STEP).await;
            }
            result => return result,
        }
    }
}

/// Letters and digits, each equally likely.
fn new_slave_key() -> io::Result<SecretString> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut key = String::with_capacity(SLAVE_KEY);
    let mut bytes = [0; SLAVE_KEY];
    while key.len() < SLAVE_KEY {
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        // Six bits choose one of 64: the two too many are thrown away.
        let chosen = bytes
            .iter()
            .filter_map(|byte| ALPHABET.get(usize::from(byte & 63)));
        key.extend(
            chosen
                .take(SLAVE_KEY - key.len())
                .map(|letter| char::from(*letter)),
        );
    }
    Ok(key.into())
}

fn not_taken(vm: u64, failure: Failure) -> Refusal {
    let (status, reason) = match failure {
        Failure::TimedOut => (
            Status::SERVICE_UNAVAILABLE,
            format!("VM {vm} is in use by a connection that does not end"),
        ),
        Failure::Overtaken => (
            Status::SERVICE_UNAVAILABLE,
            format!("VM {vm} was taken over by a later connection"),
        ),
        Failure::Elsewhere => (
            Status::CONFLICT,
            format!("VM {vm}: another client has taken the session over"),
        ),
    };
    Refusal::new(status, reason)
}

pub(crate) fn not_started(vm: u64, failure: &StartFailure) -> Refusal {
    let status = match failure {
        StartFailure::TimedOut(_) => Status::REQUEST_TIMEOUT,
        StartFailure::Refused(_) | StartFailure::Ended(_) => Status::INTERNAL_SERVER_ERROR,
        StartFailure::Call(_) => Status::SERVICE_UNAVAILABLE,
    };
    Refusal::new(status, format!("VM {vm}: {failure}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::inventory::PasswordHash;

    #[test]
    fn slave_keys_are_64_letters_and_digits_and_differ() {
        let (one, other) = (new_slave_key().unwrap(), new_slave_key().unwrap());
        assert_eq!(one.expose_secret().len(), SLAVE_KEY);
        assert!(
            one.expose_secret()
                .chars()
                .all(|c| c.is_ascii_alphanumeric())
        );
        assert_ne!(one.expose_secret(), other.expose_secret());
    }

    #[test]
    fn the_vm_overrules_the_user_and_the_user_the_client() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let user = User {
            login: "ann".into(),
            password: PasswordHash(String::new()),
            properties: map(&[
                ("custom.a", "user"),
                ("custom.b", "user"),
                ("qvd.vm.user.name", "a1"),
            ]),
        };
        let vm = Vm {
            id: 1,
            name: "desk".into(),
            users: vec!["ann".into()],
            address: "localhost".into(),
            rpc_port: 3030,
            rpc: crate::agent::Way::default(),
            x_port: 4100,
            blocked: false,
            is_application: false,
            properties: map(&[("custom.a", "vm")]),
        };
        let client = map(&[("custom.a", "c"), ("custom.b", "c"), ("custom.c", "c")]);
        let client = ConnectParameters::from_pairs(client).unwrap();
        let parameters = session_parameters(&user, &vm, &client, &"key".into());
        let value = |key| parameters.value(key).unwrap();
        assert_eq!(
            (value("custom.a"), value("custom.b"), value("custom.c")),
            ("vm", "user", "c")
        );
        assert_eq!(
            (value("qvd.vm.user.name"), value("qvd.slave.key")),
            ("a1", "key")
        );
    }
}
