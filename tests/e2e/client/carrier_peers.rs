//! The carrier is spoken where both ends know it, through any broker, and
//! nowhere else.

use qvd_rpc::SessionState;
use qvd_tests::fault::{Cut, Direction, FaultProxy};
use qvd_tests::rig::{Agent, Desktop, Login, ReferenceBroker, Server, User, Vm};
use qvd_tests::{Outcome, Scene, play};

use super::stage::{CONNECTED, WAIT, display, drawn, inventory, relay};

/// Who of the three is ours; the others know nothing of the carrier.
#[derive(Clone, Copy)]
struct Ours {
    client: bool,
    broker: bool,
    agent: bool,
}

/// A broker of either kind.
enum Broker {
    Ours(Server),
    Reference(ReferenceBroker),
}

/// Connects, has the connection cut, and looks whether that is a pause.
async fn meet(scene: &Scene, ours: Ours) -> Outcome {
    let enabled = |on| if on { "1" } else { "0" };
    let keys = [("vma.carrier.enable", enabled(ours.agent))];
    let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
    let user = User::new("ann", "apples and pears");
    let server = Server::start(
        scene,
        &inventory(&user, vec![Vm::of(&agent, 1, "ann-desktop", &["ann"])]),
        false,
        &[],
    )
    .await?;
    let mut login = Login::at(&server, &user)
        .with("client.reconnect.timeout", "60")
        .with("client.carrier.enable", enabled(ours.client));
    let broker = match ours.broker {
        true => Broker::Ours(server),
        false => Broker::Reference(ReferenceBroker::start(&agent, agent.x_port())?),
    };
    let front: FaultProxy = relay(match &broker {
        Broker::Ours(server) => server.address().port(),
        Broker::Reference(broker) => broker.port(),
    })?;
    login.port = front.port().unwrap_or_default();
    let display = display(scene).await?;
    let mut client = login.start_client(scene, &display, &["-g", "800x600"])?;
    client.expect(CONNECTED, WAIT).await?;
    agent.wait_for_state(SessionState::Connected, WAIT).await?;
    drawn(&display).await?;

    let log = agent.daemon_log()?;
    front.cut(Cut::Reset);
    let carried = ours.client && ours.agent;
    let sign = match carried {
        true => "the client is back",
        false => "session is suspended",
    };
    log.wait_for(0, sign, WAIT, |line| line.text.contains(sign))
        .await?;
    agent.wait_for_state(SessionState::Connected, WAIT).await?;
    assert_eq!(log.text().contains("Suspending session"), !carried);
    drawn(&display).await?;
    client.signal(rustix::process::Signal::INT)?;
    let status = client.wait(WAIT).await?.code();
    assert_eq!(status, Some(0), "{}", client.log().text());
    agent.wait_for_state(SessionState::Suspended, WAIT).await?;
    agent.call(qvd_rpc::Call::XStop).await?;
    agent.wait_for_state(SessionState::Stopped, WAIT).await?;
    Ok(())
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
        let broker = ReferenceBroker::start(&agent, nx.port().unwrap_or_default())?;
        let user = User::new("ann", "apples and pears");
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
        client.signal(rustix::process::Signal::INT)?;
        assert_eq!(client.wait(WAIT).await?.code(), Some(0));
        agent.wait_for_state(SessionState::Suspended, WAIT).await?;
        agent.call(qvd_rpc::Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        Ok(())
    });
}
