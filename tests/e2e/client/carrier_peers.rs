//! The carrier is spoken where both ends know it, through any broker, and
//! nowhere else.

use qvd_rpc::{Call, SessionState};
use qvd_tests::display::Display;
use qvd_tests::fault::{Cut, Direction, FaultProxy};
use qvd_tests::process::Process;
use qvd_tests::rig::{
    Agent, Desktop, Login, ReferenceAgent, ReferenceBroker, ReferenceClient, Server, Vm,
};
use qvd_tests::{Outcome, Result, Scene, play};
use rustix::process::Signal;

use super::stage::{CONNECTED, WAIT, display, drawn, inventory, relay};

/// Who of the three is ours; the others know nothing of the carrier.
#[derive(Clone, Copy)]
struct Ours {
    client: bool,
    broker: bool,
    agent: bool,
}

/// An agent of either kind.
enum Vma {
    Ours(Agent),
    Reference(ReferenceAgent),
}

impl Vma {
    async fn becomes(&self, state: SessionState) -> Result<()> {
        match self {
            Self::Ours(agent) => agent.wait_for_state(state, WAIT).await,
            Self::Reference(agent) => agent.wait_for_state(state, WAIT).await,
        }
    }

    fn said(&self) -> Result<String> {
        Ok(match self {
            Self::Ours(agent) => agent.daemon_log()?.text(),
            Self::Reference(agent) => agent.said(),
        })
    }

    /// Waits until it has said this.
    async fn says(&self, words: &str) -> Outcome {
        match self {
            Self::Ours(agent) => super::carrier::agent_says(agent.daemon_log()?, 0, words).await,
            Self::Reference(agent) => Ok(agent.expect(words, WAIT).await?),
        }
    }

    async fn stop(&self) -> Result<()> {
        match self {
            Self::Ours(agent) => agent.call(Call::XStop).await.map(drop)?,
            Self::Reference(agent) => agent.call(Call::XStop).await.map(drop)?,
        }
        self.becomes(SessionState::Stopped).await
    }
}

/// A broker of either kind.
enum Broker {
    Ours(Box<Server>),
    Reference(ReferenceBroker),
}

impl Broker {
    fn port(&self) -> u16 {
        match self {
            Self::Ours(broker) => broker.address().port(),
            Self::Reference(broker) => broker.port(),
        }
    }
}

/// A client of either kind.
enum Client {
    Ours(Process),
    Reference(ReferenceClient),
}

impl Client {
    async fn leave(self) -> Outcome {
        match self {
            Self::Ours(mut client) => {
                client.signal(Signal::INT)?;
                let status = client.wait(WAIT).await?.code();
                assert_eq!(status, Some(0), "{}", client.log().text());
            }
            Self::Reference(client) => client.leave().await?,
        }
        Ok(())
    }
}

/// Connects, has the connection cut, and looks whether that is a pause.
async fn meet(scene: &Scene, ours: Ours) -> Outcome {
    let (agent, rpc, x_port) = match ours.agent {
        true => {
            let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
            let (rpc, x_port) = (agent.rpc(), agent.x_port());
            (Vma::Ours(agent), rpc, x_port)
        }
        false => {
            let agent = ReferenceAgent::start(scene)?;
            let (rpc, x_port) = (agent.rpc(), agent.x_port());
            (Vma::Reference(agent), rpc, x_port)
        }
    };
    let user = ReferenceClient::user();
    let vm = Vm::at(rpc.port(), x_port, 1, "alices-desktop", &["alice"]);
    let server = Server::start(scene, &inventory(&user, vec![vm]), false, &[]).await?;
    let mut login = Login::at(&server, &user).with("client.reconnect.timeout", "60");
    let broker = match ours.broker {
        true => Broker::Ours(Box::new(server)),
        false => Broker::Reference(ReferenceBroker::start(rpc, x_port)?),
    };
    let front: FaultProxy = relay(broker.port())?;
    login.port = front.port().unwrap_or_default();
    let display = display(scene).await?;
    let connect = async || -> Result<Client> { connect(scene, &display, &login, ours).await };
    let mut client = connect().await?;
    agent.becomes(SessionState::Connected).await?;
    drawn(&display).await?;

    front.cut(Cut::Reset);
    let carried = ours.client && ours.agent;
    let sign = match carried {
        true => "the client is back",
        false => "Session: Session suspended",
    };
    agent.says(sign).await?;
    if !ours.client {
        // Its user comes again.
        agent.becomes(SessionState::Suspended).await?;
        client.leave().await?;
        client = connect().await?;
    }
    agent.becomes(SessionState::Connected).await?;
    assert_eq!(agent.said()?.contains("Suspending session"), !carried);
    drawn(&display).await?;
    client.leave().await?;
    agent.becomes(SessionState::Suspended).await?;
    Ok(agent.stop().await?)
}

async fn connect(scene: &Scene, display: &Display, login: &Login, ours: Ours) -> Result<Client> {
    if !ours.client {
        let client = ReferenceClient::connect(scene, display, login.port).await?;
        return Ok(Client::Reference(client));
    }
    let client = login.start_client(scene, display, &["-g", "800x600"])?;
    client.expect(CONNECTED, WAIT).await?;
    Ok(Client::Ours(client))
}

fn all_meet(name: &str, client: bool, broker: bool, agent: bool) {
    let ours = Ours {
        client,
        broker,
        agent,
    };
    play(name, async |scene| meet(scene, ours).await);
}

#[test]
fn all_are_ours() {
    all_meet("carrier_all_ours", true, true, true);
}

#[test]
fn the_broker_is_a_reference() {
    all_meet("carrier_reference_broker", true, false, true);
}

#[test]
fn the_agent_is_a_reference() {
    all_meet("carrier_reference_agent", true, true, false);
}

#[test]
fn broker_and_agent_are_references() {
    all_meet("carrier_reference_both", true, false, false);
}

#[test]
fn the_client_is_a_reference() {
    all_meet("carrier_reference_client", false, true, true);
}

#[test]
fn client_and_broker_are_references() {
    all_meet("carrier_only_agent", false, false, true);
}

#[test]
fn client_and_agent_are_references() {
    all_meet("carrier_only_broker", false, true, false);
}

#[test]
fn all_are_references() {
    all_meet("carrier_none", false, false, false);
}

#[test]
fn a_greeting_that_comes_too_late_does_no_harm() {
    play("carrier_late", async |scene| {
        let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        let nx = relay(agent.x_port())?;
        let broker = ReferenceBroker::start(agent.rpc(), nx.port().unwrap_or_default())?;
        let user = ReferenceClient::user();
        let server = Server::start(scene, &inventory(&user, Vec::new()), false, &[]).await?;
        let mut login = Login::at(&server, &user);
        login.port = broker.port();
        nx.stall(Direction::ToClient);
        let display = display(scene).await?;
        let mut client = login.start_client(scene, &display, &["-g", "800x600"])?;
        client.expect("Opening the desktop", WAIT).await?;
        // The client has waited, and speaks NX by now.
        nx.wait_for_bytes(Direction::ToServer, 8, WAIT).await?;
        nx.resume(Direction::ToClient);
        client.expect(CONNECTED, WAIT).await?;
        drawn(&display).await?;
        client.signal(Signal::INT)?;
        assert_eq!(client.wait(WAIT).await?.code(), Some(0));
        agent.wait_for_state(SessionState::Suspended, WAIT).await?;
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        Ok(())
    });
}
