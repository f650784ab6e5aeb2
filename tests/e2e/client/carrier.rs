//! Sessions on the carrier: a lost connection is a pause, of which nxagent and
//! the user's programs notice nothing.

use std::time::Duration;

use qvd_rpc::{Call, SessionState};
use qvd_tests::display::Image;
use qvd_tests::fault::{Cut, Direction};
use qvd_tests::process::{Log, Process};
use qvd_tests::rig::{Desktop, Login};
use qvd_tests::{Outcome, Scene, play, play_for};
use rustix::process::{Pid, Signal, kill_process};

use super::stage::{CONNECTED, LOST, Stage, WAIT, end_of, said, times};
use crate::agent::{process_with, session};

/// What the agent says when a client has come back.
pub(super) const BACK: &str = "the client is back";

/// What it says when it has noticed that one is gone.
pub(super) const AWAY: &str = "the client's connection is lost";

/// What nxagent says when it begins.
pub(super) const BEGINS: &str = "Session: Starting session at";

/// What nxagent says when it notices that its client is gone.
const NOTICED: [&str; 3] = ["Suspending session", "Display failure", "No data received"];

pub(super) async fn agent_says(log: &Log, from: usize, text: &str) -> Outcome {
    log.wait_for(from, text, WAIT, |line| line.text.contains(text))
        .await?;
    Ok(())
}

/// Nobody in the session has noticed anything.
fn unnoticed(stage: &Stage) -> Outcome {
    let text = stage.agent.daemon_log()?.text();
    for words in NOTICED {
        assert!(!text.contains(words), "{words}\n{text}");
    }
    Ok(())
}

/// Waits until the session draws something new.
pub(super) async fn moves(stage: &Stage) -> Outcome {
    let window = stage.drawn().await?;
    let before: Image = stage.display.screen().screenshot_of(&window)?;
    let moved = |screen: &qvd_tests::display::Screen| {
        Ok(screen.screenshot_of(&window)?.changed_fraction(&before) > 0.0)
    };
    stage
        .display
        .screen()
        .wait_for_pixels("the clock moves", WAIT, moved)
        .await?;
    Ok(())
}

/// The session goes on, and nobody in it has noticed anything.
pub(super) async fn undisturbed(stage: &Stage) -> Outcome {
    moves(stage).await?;
    unnoticed(stage)
}

/// A client is back, has said so, and is undisturbed.
pub(super) async fn is_back(stage: &Stage, client: &Process) -> Outcome {
    agent_says(stage.agent.daemon_log()?, 0, BACK).await?;
    said(client, CONNECTED, 2).await?;
    undisturbed(stage).await
}

/// Breaks the connection of a session, which goes on.
fn goes_on<F>(name: &str, tls: bool, fault: F)
where
    F: FnOnce(&Stage),
{
    play(name, async |scene| {
        let stage = Stage::set(scene, tls).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        fault(&stage);
        agent_says(stage.agent.daemon_log()?, 0, BACK).await?;
        stage.becomes(SessionState::Connected).await?;
        undisturbed(&stage).await?;
        // Where the machine is slow it is told of, and so is its end.
        let told = times(&client, LOST);
        said(&client, CONNECTED, 1 + told).await?;
        assert_eq!(times(&client, CONNECTED), 1 + told);
        Ok(stage.leave(&mut client).await?)
    });
}

/// The session has begun once, and goes on.
#[test]
fn after_a_reset_before_nx_has_begun() {
    play("carrier_reset_early", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let mut client = stage
            .login()
            .start_client(scene, &stage.display, &["-g", "800x600"])?;
        let log = stage.agent.daemon_log()?;
        agent_says(log, 0, "Info: Accepted connection from this host").await?;
        stage.front.cut(Cut::Reset);
        client.expect(CONNECTED, WAIT).await?;
        agent_says(log, 0, BACK).await?;
        stage.becomes(SessionState::Connected).await?;
        undisturbed(&stage).await?;
        let begins = log.text().matches(BEGINS).count();
        assert_eq!(begins, 1);
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn after_a_reset_between_client_and_broker() {
    goes_on("carrier_reset_in_front", true, |stage| {
        stage.front.cut(Cut::Reset);
    });
}

#[test]
fn after_an_end_between_client_and_broker() {
    goes_on("carrier_end_in_front", false, |stage| {
        stage.front.cut(Cut::Fin);
    });
}

#[test]
fn after_half_an_end_from_the_broker() {
    goes_on("carrier_half_end_in_front", true, |stage| {
        stage.front.half_close(Direction::ToClient);
    });
}

#[test]
fn after_a_reset_between_broker_and_vm() {
    goes_on("carrier_reset_behind", true, |stage| {
        stage.nx.cut(Cut::Reset);
    });
}

#[test]
fn after_half_an_end_from_the_vm() {
    goes_on("carrier_half_end_behind", true, |stage| {
        stage.nx.half_close(Direction::ToClient);
    });
}

#[test]
fn after_a_network_that_swallows_everything() {
    play("carrier_swallowed", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        let both = [Direction::ToClient, Direction::ToServer];
        both.iter().for_each(|way| stage.front.stall(*way));
        // Nothing is closed: only the silence tells.
        said(&client, LOST, 1).await?;
        // What the network held back comes late, beside the new connection.
        both.iter().for_each(|way| stage.front.resume(*way));
        is_back(&stage, &client).await?;
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn after_a_client_that_slept() {
    play_for("carrier_slept", 2 * WAIT, async |scene| {
        let stage = Stage::set(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        client.signal(Signal::STOP)?;
        let log = stage.agent.daemon_log()?;
        agent_says(log, 0, AWAY).await?;
        // Longer than an engine without the carrier bears silence.
        tokio::time::sleep(Duration::from_secs(32)).await;
        assert_eq!(stage.agent.state().await?, SessionState::Connected);
        client.signal(Signal::CONT)?;
        agent_says(log, 0, BACK).await?;
        undisturbed(&stage).await?;
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn after_an_outage_that_nxagent_and_nxproxy_would_not_survive_unseen() {
    play_for("carrier_outage", 4 * WAIT, async |scene| {
        let stage = Stage::set(scene, true).await?;
        let login = stage.login().with("client.nx.engine", "nxproxy");
        let mut client = stage.connect(scene, &login).await?;
        stage.front.refuse(true);
        stage.front.cut(Cut::Reset);
        let log = stage.agent.daemon_log()?;
        // After 30 s of silence nxagent would show the user a dialog.
        agent_says(log, 0, "nxagent is stopped").await?;
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(stage.agent.state().await?, SessionState::Connected);
        stage.front.refuse(false);
        is_back(&stage, &client).await?;
        assert_eq!(times(&client, LOST), 1);
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn after_a_broker_was_killed_and_started_again() {
    play("carrier_broker_restart", async |scene| {
        let mut stage = Stage::set(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        stage.server.process().signal(Signal::KILL)?;
        said(&client, LOST, 1).await?;
        stage.server.restart(scene).await?;
        is_back(&stage, &client).await?;
        Ok(stage.leave(&mut client).await?)
    });
}

/// Asks the agent for its status, as its administrator does.
async fn status_says(scene: &Scene, stage: &Stage, text: &str) -> Outcome {
    let config = stage.agent.config();
    let command = scene.built("qvd-vma")?;
    let mut status = scene.start(command.args(["status", "--config"]).arg(config))?;
    status.expect(text, WAIT).await?;
    assert!(status.wait(WAIT).await?.success());
    Ok(())
}

#[test]
fn after_the_agents_daemon_was_killed_and_started_again() {
    play("carrier_daemon_restart", async |scene| {
        let mut stage = Stage::set(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        stage.front.refuse(true);
        stage.agent.daemon()?.signal(Signal::KILL)?;
        stage.agent.daemon()?.wait(WAIT).await?;
        stage.front.cut(Cut::Reset);
        said(&client, LOST, 1).await?;
        stage.agent.start_daemon(scene).await?;
        stage.becomes(SessionState::Connected).await?;
        status_says(scene, &stage, "the client has been away for").await?;
        stage.front.refuse(false);
        said(&client, CONNECTED, 2).await?;
        undisturbed(&stage).await?;
        status_says(scene, &stage, "the client has been there for").await?;
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn a_client_that_stays_away_for_too_long_finds_its_session_suspended() {
    play("carrier_grace", async |scene| {
        let keys = [("vma.carrier.grace", "2")];
        let stage = Stage::set_with(scene, true, &Desktop::Small, &keys).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        stage.front.refuse(true);
        stage.front.cut(Cut::Reset);
        stage.becomes(SessionState::Suspended).await?;
        stage.front.refuse(false);
        // It is resumed, as any suspended session.
        stage.becomes(SessionState::Connected).await?;
        said(&client, CONNECTED, 2).await?;
        moves(&stage).await?;
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn the_session_of_a_client_that_was_killed_is_taken_over_at_once() {
    play("carrier_client_killed", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        client.signal(Signal::KILL)?;
        client.wait(WAIT).await?;
        agent_says(stage.agent.daemon_log()?, 0, AWAY).await?;
        assert_eq!(stage.agent.state().await?, SessionState::Connected);
        let mut client = stage.connect(scene, &stage.login()).await?;
        moves(&stage).await?;
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn a_client_that_gave_up_is_told_that_another_has_the_session() {
    play("carrier_overtaken", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let mut first = stage.connect(scene, &stage.login()).await?;
        stage.front.refuse(true);
        stage.front.cut(Cut::Reset);
        said(&first, LOST, 1).await?;
        // Not through the network of the first.
        let login = Login::at(&stage.server, &stage.user);
        let display = super::stage::display(scene).await?;
        let mut second = login.start_client(scene, &display, &["-g", "800x600"])?;
        second.expect(CONNECTED, WAIT).await?;
        super::stage::drawn(&display).await?;
        stage.front.refuse(false);
        let (status, text) = end_of(&mut first).await?;
        assert_eq!(status, 27, "{text}");
        assert!(text.contains("another client has taken"), "{text}");
        stage.becomes(SessionState::Connected).await?;
        Ok(stage.leave(&mut second).await?)
    });
}

#[test]
fn a_session_that_was_taken_away_by_force_is_not_fetched_back() {
    play_for("carrier_by_force", 2 * WAIT, async |scene| {
        let keys = [("internal.nxagent.timeout.suspending", "6")];
        let stage = Stage::set_with(scene, true, &Desktop::Small, &keys).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        // It says no last word.
        let nxagent = process_with(&session(&stage.agent)?, "nxagent :")?;
        let nxagent = i32::try_from(nxagent).ok().and_then(Pid::from_raw);
        kill_process(nxagent.ok_or("no nxagent")?, Signal::STOP)?;
        stage.agent.call(Call::XSuspend).await?;
        let (status, text) = end_of(&mut client).await?;
        assert_eq!(status, 0, "{text}");
        assert!(!text.contains(LOST), "{text}");
        stage.becomes(SessionState::Stopped).await?;
        Ok(())
    });
}
