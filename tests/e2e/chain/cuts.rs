//! Connections that break, of sessions without the carrier: nothing hangs, and
//! the session is suspended.

use qvd_rpc::SessionState;
use qvd_tests::fault::{Cut, Direction, Endpoint, Fault, FaultProxy};
use qvd_tests::process::Process;
use qvd_tests::rig::{Agent, Desktop, Vm};
use qvd_tests::{Outcome, Result, Scene, play};
use rustix::process::Signal;

use super::{Stage, WAIT, connect, end_of, said};

/// A stage with a relay on each side of the broker.
struct Relayed {
    stage: Stage,
    front: FaultProxy,
    nx: FaultProxy,
}

impl Relayed {
    async fn set(scene: &Scene, tls: bool) -> Result<Self> {
        let agent = Agent::start(scene, "vm", &Desktop::Small, &super::PLAIN).await?;
        let nx = relay(agent.x_port())?;
        let mut vm = Vm::of(&agent, 1, "ann-desktop", &["ann"]);
        vm.x_port = nx.port().unwrap_or_default();
        let stage = Stage::around(scene, tls, agent, vm).await?;
        let front = relay(stage.server.address().port())?;
        Ok(Self { stage, front, nx })
    }

    async fn connect(&self, scene: &Scene) -> Result<Process> {
        let mut login = self.stage.login();
        login.port = self.front.port().unwrap_or_default();
        connect(scene, &login, &self.stage.display, &self.stage.agent).await
    }

    /// The client ends with a cause, the session is suspended, and no
    /// connection is left on either side.
    async fn is_lost(&self, client: &mut Process) -> Outcome {
        let (status, sentence) = end_of(client).await?;
        assert_eq!(status, 22, "{}", said(client));
        let known = ["the other side closed it", "Connection reset by peer"];
        assert!(
            known.iter().any(|cause| sentence.contains(cause)),
            "{sentence}"
        );
        assert!(sentence.contains("connect again"), "{sentence}");
        self.stage.becomes(SessionState::Suspended).await?;
        self.front.wait_until_closed(WAIT).await?;
        Ok(self.nx.wait_until_closed(WAIT).await?)
    }
}

fn relay(port: u16) -> Result<FaultProxy> {
    FaultProxy::start(&Endpoint::local(0), &Endpoint::local(port))
}

/// One session that is broken by `fault`, and a second one that resumes it.
async fn broken_and_resumed<F>(scene: &Scene, tls: bool, fault: F) -> Outcome
where
    F: FnOnce(&Relayed),
{
    let relayed = Relayed::set(scene, tls).await?;
    let mut client = relayed.connect(scene).await?;
    fault(&relayed);
    relayed.is_lost(&mut client).await?;
    let mut client = relayed.connect(scene).await?;
    super::leave(&mut client, &relayed.stage.agent).await?;
    Ok(relayed.stage.strike().await?)
}

fn cut_test<F>(name: &str, tls: bool, fault: F)
where
    F: FnOnce(&Relayed),
{
    play(name, async |scene| {
        broken_and_resumed(scene, tls, fault).await
    });
}

#[test]
fn a_reset_between_client_and_broker() {
    cut_test("chain_reset_in_front", true, |relayed| {
        relayed.front.cut(Cut::Reset);
    });
}

#[test]
fn an_end_between_client_and_broker() {
    cut_test("chain_end_in_front", false, |relayed| {
        relayed.front.cut(Cut::Fin);
    });
}

#[test]
fn a_reset_between_broker_and_agent() {
    cut_test("chain_reset_behind", true, |relayed| {
        relayed.nx.cut(Cut::Reset);
    });
}

#[test]
fn an_end_between_broker_and_agent() {
    cut_test("chain_end_behind", false, |relayed| {
        relayed.nx.cut(Cut::Fin);
    });
}

#[test]
fn half_an_end_from_the_client() {
    cut_test("chain_half_end_from_client", true, |relayed| {
        relayed.front.half_close(Direction::ToServer);
    });
}

#[test]
fn half_an_end_from_the_agent() {
    cut_test("chain_half_end_from_agent", false, |relayed| {
        relayed.nx.half_close(Direction::ToClient);
    });
}

/// A stage with a relay before the agent's calls.
async fn calls_relayed(scene: &Scene) -> Result<(Stage, FaultProxy)> {
    let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
    let calls = relay(agent.rpc().port())?;
    let mut vm = Vm::of(&agent, 1, "ann-desktop", &["ann"]);
    vm.rpc_port = calls.port().unwrap_or_default();
    Ok((Stage::around(scene, true, agent, vm).await?, calls))
}

#[test]
fn an_agent_that_hangs_up_on_a_call() {
    play("chain_call_cut", async |scene| {
        let (stage, calls) = calls_relayed(scene).await?;
        for how in [Cut::Fin, Cut::Reset] {
            calls.change(Direction::ToClient, |rules| {
                rules.at = Some((10, Fault::Cut(how)));
            });
            let mut client = stage.login().start_client(scene, &stage.display, &[])?;
            let (status, sentence) = end_of(&mut client).await?;
            assert_eq!(status, 16, "{}", said(&client));
            assert!(sentence.contains("VM 1: its agent"), "{sentence}");
        }
        // The agent's next caller finds it as it was.
        calls.change(Direction::ToClient, |rules| rules.at = None);
        let mut client = stage.connect(scene).await?;
        super::leave(&mut client, &stage.agent).await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_user_gives_up_on_an_agent_that_says_nothing() {
    play("chain_call_stalled", async |scene| {
        let (mut stage, calls) = calls_relayed(scene).await?;
        calls.stall(Direction::ToClient);
        let mut client = stage.login().start_client(scene, &stage.display, &[])?;
        client.expect("Starting X session at VM 1", WAIT).await?;
        client.signal(Signal::INT)?;
        let (status, sentence) = end_of(&mut client).await?;
        assert_eq!((status, sentence.as_str()), (130, "interrupted"));
        let given_up = stage.server.process();
        let given_up = given_up.expect("given up by its client", WAIT).await?;
        assert!(given_up.text.contains("session=\""), "{}", given_up.text);
        // The broker lets go of the agent, too.
        calls.resume(Direction::ToClient);
        calls.wait_until_closed(WAIT).await?;
        stage.becomes(SessionState::Stopped).await?;
        let mut client = stage.connect(scene).await?;
        super::leave(&mut client, &stage.agent).await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_user_gives_up_on_a_session_that_says_nothing() {
    play("chain_nx_stalled", async |scene| {
        let relayed = Relayed::set(scene, true).await?;
        relayed.nx.stall(Direction::ToClient);
        let login = relayed.stage.login();
        let mut client = login.start_client(scene, &relayed.stage.display, &[])?;
        client.expect("Opening the desktop", WAIT).await?;
        client.signal(Signal::INT)?;
        let status = client.wait(WAIT).await?.code();
        assert_eq!(status, Some(130), "{}", said(&client));
        relayed.nx.resume(Direction::ToClient);
        relayed.nx.wait_until_closed(WAIT).await?;
        let mut client = relayed.connect(scene).await?;
        super::leave(&mut client, &relayed.stage.agent).await?;
        Ok(relayed.stage.strike().await?)
    });
}

#[test]
fn a_stalled_session_is_left_and_taken_up_by_another_way() {
    play("chain_stall", async |scene| {
        let relayed = Relayed::set(scene, true).await?;
        let mut client = relayed.connect(scene).await?;
        relayed.front.stall(Direction::ToServer);
        relayed.front.stall(Direction::ToClient);

        // The user's next connection does not wait for the stalled one.
        let other = super::display(scene).await?;
        let login = relayed.stage.login();
        let mut second = connect(scene, &login, &other, &relayed.stage.agent).await?;
        // A client that hears nothing any more can still be left.
        client.signal(Signal::INT)?;
        assert_eq!(client.wait(WAIT).await?.code(), Some(0));
        assert!(second.is_running());
        super::leave(&mut second, &relayed.stage.agent).await?;
        Ok(relayed.stage.strike().await?)
    });
}
