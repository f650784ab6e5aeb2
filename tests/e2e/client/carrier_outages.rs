//! Outages that are not between client and broker alone, or not over with the
//! first attempt.

use std::time::Duration;

use qvd_rpc::SessionState;
use qvd_tests::fault::{Cut, Direction, Fault, FaultProxy};
use qvd_tests::process::Process;
use qvd_tests::{Outcome, play, play_for};
use rustix::process::Signal;

use super::carrier::{self, BACK, BEGINS, agent_says, moves};
use super::stage::{CONNECTED, LOST, Stage, WAIT, end_of, said, times};
use crate::agent::{process_with, session};

/// What the agent says of who has come.
const CAME: &str = "client on the NX port";

/// The session is back, was lost once, and never began anew.
async fn is_back(stage: &Stage, client: &Process) -> Outcome {
    carrier::is_back(stage, client).await?;
    let text = stage.agent.daemon_log()?.text();
    assert_eq!(text.matches(BEGINS).count(), 1);
    assert_eq!(times(client, LOST), 1);
    Ok(())
}

/// Waits until somebody is connected through a relay.
async fn comes_through(relay: &FaultProxy) -> Outcome {
    for _ in 0..600 {
        if relay.connections().iter().any(|one| !one.is_closed()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("nobody comes".into())
}

/// NX begins with some eighty round trips: 25 s here.
#[test]
fn a_link_of_300_ms_has_its_desktop_and_keeps_it() {
    play_for("carrier_far", 5 * WAIT, async |scene| {
        let stage = Stage::set(scene, true).await?;
        for way in [Direction::ToClient, Direction::ToServer] {
            let latency = Duration::from_millis(150);
            stage.front.change(way, |rules| rules.latency = latency);
        }
        let mut client = stage.connect(scene, &stage.login()).await?;
        moves(&stage).await?;
        client.signal(Signal::INT)?;
        assert_eq!(client.wait(WAIT).await?.code(), Some(0));
        stage.becomes(SessionState::Suspended).await?;
        // And resumed, without the carrier, too.
        let login = stage.login().with("client.carrier.enable", "0");
        let mut client = stage.connect(scene, &login).await?;
        moves(&stage).await?;
        let text = stage.agent.daemon_log()?.text();
        assert_eq!(text.matches(BEGINS).count(), 1);
        Ok(stage.leave(&mut client).await?)
    });
}

/// To the broker the VM looks as if it were stopped.
#[test]
fn a_vm_that_its_broker_cannot_reach_is_waited_for() {
    play_for("carrier_unreached", 3 * WAIT, async |scene| {
        let stage = Stage::set(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        for relay in [&stage.nx, &stage.calls] {
            relay.refuse(true);
            relay.cut(Cut::Reset);
        }
        said(&client, LOST, 1).await?;
        // Longer than what looks stopped is doubted without the carrier.
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(client.is_running());
        for relay in [&stage.nx, &stage.calls] {
            relay.refuse(false);
        }
        is_back(&stage, &client).await?;
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn a_vm_that_stays_stopped_is_told_of_and_not_started() {
    play_for("carrier_vm_stopped", 2 * WAIT, async |scene| {
        let stage = Stage::set(scene, true).await?;
        let login = stage.login().with("client.carrier.grace", "16");
        let login = login.with("client.reconnect.timeout", "16");
        let mut client = stage.connect(scene, &login).await?;
        stage.calls.refuse(true);
        for relay in [&stage.calls, &stage.front] {
            relay.cut(Cut::Reset);
        }
        let (status, text) = end_of(&mut client).await?;
        assert_eq!(status, 26, "{text}");
        assert!(text.contains("was stopped meanwhile"), "{text}");
        assert!(!text.contains("suspended"), "{text}");
        stage.calls.refuse(false);
        Ok(stage.strike().await?)
    });
}

/// An agent that is updated just then. NX begins with some eighty round trips:
/// longer than a client is waited for.
#[test]
fn a_daemon_that_comes_while_nx_begins_leaves_the_client_its_place() {
    play_for("carrier_adopted", 5 * WAIT, async |scene| {
        let mut stage = Stage::set(scene, true).await?;
        for way in [Direction::ToClient, Direction::ToServer] {
            let latency = Duration::from_millis(80);
            stage.front.change(way, |rules| rules.latency = latency);
        }
        for (carrier, cut) in [("1", false), ("1", true), ("0", false)] {
            let from = stage.agent.daemon_log()?.position();
            let login = stage.login().with("client.carrier.enable", carrier);
            let mut client = login.start_client(scene, &stage.display, &["-g", "800x600"])?;
            agent_says(stage.agent.daemon_log()?, from, CAME).await?;
            tokio::time::sleep(Duration::from_secs(2)).await;
            stage.agent.daemon()?.signal(Signal::KILL)?;
            stage.agent.daemon()?.wait(WAIT).await?;
            stage.agent.start_daemon(scene).await?;
            if cut {
                stage.becomes(SessionState::Listening).await?;
                stage.front.cut(Cut::Reset);
                agent_says(stage.agent.daemon_log()?, 0, CAME).await?;
            }
            stage.becomes(SessionState::Connected).await?;
            moves(&stage).await?;
            assert_eq!(times(&client, "could not go on"), 0);
            let text = stage.agent.daemon_log()?.text();
            assert!(!text.contains("session is s"), "{text}");
            client.signal(Signal::INT)?;
            assert_eq!(client.wait(WAIT).await?.code(), Some(0));
            stage.becomes(SessionState::Suspended).await?;
        }
        Ok(stage.strike().await?)
    });
}

/// The letter of a process's state.
fn state_of(process: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

#[test]
fn nxagent_stays_stopped_while_its_client_comes_and_is_lost_at_once() {
    play_for("carrier_almost", 3 * WAIT, async |scene| {
        let stage = Stage::set(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        let nxagent = process_with(&session(&stage.agent)?, "nxagent :")?;
        let log = stage.agent.daemon_log()?;
        stage.front.refuse(true);
        stage.front.cut(Cut::Reset);
        agent_says(log, 0, "nxagent is stopped until").await?;
        // Its hello arrives, and nothing after it.
        stage.nx.change(Direction::ToServer, |rules| {
            rules.at = Some((36, Fault::Cut(Cut::Reset)));
        });
        stage.front.refuse(false);
        agent_says(log, 0, BACK).await?;
        agent_says(log, 0, "stays away").await?;
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(state_of(nxagent), Some('T'));
        }
        stage
            .nx
            .change(Direction::ToServer, |rules| rules.at = None);
        said(&client, CONNECTED, 2).await?;
        moves(&stage).await?;
        assert_ne!(state_of(nxagent), Some('T'));
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn a_connection_that_breaks_before_the_agent_greets_is_one_more_attempt() {
    play("carrier_ungreeted", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        stage.nx.stall(Direction::ToClient);
        stage.nx.cut(Cut::Reset);
        for _ in 0..3 {
            comes_through(&stage.nx).await?;
            // The broker has answered by then, and the agent has not greeted.
            tokio::time::sleep(Duration::from_secs(1)).await;
            stage.front.cut(Cut::Reset);
        }
        stage.nx.resume(Direction::ToClient);
        is_back(&stage, &client).await?;
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn a_client_whose_hello_is_lost_says_that_it_waits() {
    play_for("carrier_unheard", 2 * WAIT, async |scene| {
        let stage = Stage::set(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        stage.nx.stall(Direction::ToServer);
        stage.nx.cut(Cut::Reset);
        // It has a connection, of which nothing comes.
        said(&client, LOST, 1).await?;
        tokio::time::sleep(Duration::from_secs(13)).await;
        assert_eq!(times(&client, CONNECTED), 1);
        stage.nx.resume(Direction::ToServer);
        is_back(&stage, &client).await?;
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn a_session_is_left_in_an_outage_and_found_again() {
    play_for("carrier_left", 4 * WAIT, async |scene| {
        let stage = Stage::set(scene, true).await?;
        let log = stage.agent.daemon_log()?;
        for engine in ["native", "nxproxy"] {
            let login = stage.login().with("client.nx.engine", engine);
            let mut client = stage.connect(scene, &login).await?;
            stage.front.refuse(true);
            stage.front.cut(Cut::Reset);
            said(&client, LOST, 1).await?;
            client.signal(Signal::INT)?;
            assert_eq!(client.wait(WAIT).await?.code(), Some(0));
            // It is kept for its client as long as for any.
            assert_eq!(stage.agent.state().await?, SessionState::Connected);
            stage.front.refuse(false);
        }
        let mut client = stage.connect(scene, &stage.login()).await?;
        moves(&stage).await?;
        assert_eq!(log.text().matches(BEGINS).count(), 1);
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn who_leaves_in_a_silence_hears_that_the_session_is_kept() {
    play("carrier_left_silent", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        let both = [Direction::ToClient, Direction::ToServer];
        both.iter().for_each(|way| stage.front.stall(*way));
        client.signal(Signal::INT)?;
        let (status, text) = end_of(&mut client).await?;
        assert_eq!(status, 0, "{text}");
        assert!(text.contains("it is kept, connect again"), "{text}");
        // Nobody wants it back.
        assert!(
            !text.contains(LOST) && !text.contains("Reconnecting"),
            "{text}"
        );
        assert_eq!(stage.agent.state().await?, SessionState::Connected);
        both.iter().for_each(|way| stage.front.resume(*way));
        let mut again = stage.connect(scene, &stage.login()).await?;
        Ok(stage.leave(&mut again).await?)
    });
}
