//! A session that is lost comes back, or the client says why not; without the
//! carrier.

use qvd_rpc::SessionState;
use qvd_tests::fault::{Cut, Direction};
use qvd_tests::process::Process;
use qvd_tests::rig::Desktop;
use qvd_tests::{Outcome, Result, Scene, play, play_for};

use super::stage::{CONNECTED, LOST, Stage, WAIT, display, drawn, end_of, said, times};

/// With an agent that does not speak the carrier: a connection that is lost is
/// a session that is suspended.
async fn plain(scene: &Scene, tls: bool) -> Result<Stage> {
    let keys = [("vma.carrier.enable", "0")];
    Stage::set_with(scene, tls, &Desktop::Small, &keys).await
}

/// Breaks a session, and has it come back by itself.
fn comes_back<F>(name: &str, tls: bool, fault: F)
where
    F: FnOnce(&Stage),
{
    play(name, async |scene| {
        let stage = plain(scene, tls).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        fault(&stage);
        is_back(&stage, &client).await?;
        Ok(stage.leave(&mut client).await?)
    });
}

async fn is_back(stage: &Stage, client: &Process) -> Outcome {
    said(client, LOST, 1).await?;
    said(client, CONNECTED, 2).await?;
    stage.becomes(SessionState::Connected).await?;
    stage.drawn().await?;
    Ok(())
}

#[test]
fn after_a_reset_between_client_and_broker() {
    comes_back("client_reset_in_front", true, |stage| {
        stage.front.cut(Cut::Reset);
    });
}

#[test]
fn after_an_end_between_client_and_broker() {
    comes_back("client_end_in_front", false, |stage| {
        stage.front.cut(Cut::Fin);
    });
}

#[test]
fn after_half_an_end_from_the_broker() {
    comes_back("client_half_end_in_front", true, |stage| {
        stage.front.half_close(Direction::ToClient);
    });
}

#[test]
fn after_a_reset_between_broker_and_vm() {
    comes_back("client_reset_behind", true, |stage| {
        stage.nx.cut(Cut::Reset);
    });
}

#[test]
fn after_half_an_end_from_the_vm() {
    comes_back("client_half_end_behind", true, |stage| {
        stage.nx.half_close(Direction::ToClient);
    });
}

#[test]
fn after_a_network_that_swallows_everything() {
    play_for("client_swallowed", 3 * WAIT, async |scene| {
        let stage = plain(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        for direction in [Direction::ToClient, Direction::ToServer] {
            stage.front.stall(direction);
        }
        // Nothing is closed: only the silence tells.
        said(&client, "nothing was heard for 30 s", 1).await?;
        // What the network held back comes late, beside the new connection.
        for direction in [Direction::ToClient, Direction::ToServer] {
            stage.front.resume(direction);
        }
        is_back(&stage, &client).await?;
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn after_an_outage_in_which_nobody_answers() {
    play("client_outage", async |scene| {
        let stage = plain(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        stage.front.refuse(true);
        stage.front.cut(Cut::Reset);
        said(&client, "(attempt 3)", 1).await?;
        stage.front.refuse(false);
        is_back(&stage, &client).await?;
        assert_eq!(times(&client, LOST), 1);
        Ok(stage.leave(&mut client).await?)
    });
}

#[test]
fn after_a_broker_was_killed_and_started_again() {
    play("client_broker_restart", async |scene| {
        let mut stage = plain(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        stage
            .server
            .process()
            .signal(rustix::process::Signal::KILL)?;
        said(&client, "(attempt 2)", 1).await?;
        stage.server.restart(scene).await?;
        is_back(&stage, &client).await?;
        Ok(stage.leave(&mut client).await?)
    });
}

/// A client whose session is lost, and cannot come back because of `change`.
async fn ends_with(
    scene: &Scene,
    status: i32,
    change: impl AsyncFnOnce(&Stage) -> Outcome,
) -> Outcome {
    let stage = plain(scene, true).await?;
    let mut client = stage.connect(scene, &stage.login()).await?;
    change(&stage).await?;
    stage.front.cut(Cut::Reset);
    let (ended, text) = end_of(&mut client).await?;
    assert_eq!(ended, status, "{text}");
    assert!(text.contains(LOST), "{text}");
    assert_eq!(times(&client, CONNECTED), 1, "{text}");
    stage.becomes(SessionState::Suspended).await?;
    Ok(stage.strike().await?)
}

#[test]
fn a_refused_login_is_not_tried_again() {
    play("client_login_changed", async |scene| {
        ends_with(scene, 13, async |stage| {
            let mut changed = stage.user.clone();
            changed.password = "plums".to_owned();
            Ok(stage.replace_user(scene, &changed).await?)
        })
        .await
    });
}

#[test]
fn a_vm_that_was_blocked_meanwhile_is_not_tried_again() {
    play("client_vm_blocked", async |scene| {
        ends_with(scene, 14, async |stage| {
            let block = |vm: &mut qvd_tests::rig::Vm| vm.more = "blocked = true".to_owned();
            Ok(stage.replace(scene, block).await?)
        })
        .await
    });
}

#[test]
fn a_vm_that_was_stopped_meanwhile_is_not_started() {
    play("client_vm_stopped", async |scene| {
        let stage = plain(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        // To the broker, a VM whose agent does not answer is stopped.
        stage.calls.refuse(true);
        stage.calls.cut(Cut::Reset);
        stage.front.cut(Cut::Reset);
        let (status, text) = end_of(&mut client).await?;
        assert_eq!(status, 26, "{text}");
        assert!(text.contains("was stopped meanwhile"), "{text}");
        stage.calls.refuse(false);
        stage.becomes(SessionState::Suspended).await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_limit_ends_the_attempts() {
    play("client_reconnect_limit", async |scene| {
        let stage = plain(scene, true).await?;
        let login = stage.login().with("client.reconnect.timeout", "3");
        let mut client = stage.connect(scene, &login).await?;
        stage.front.refuse(true);
        stage.front.cut(Cut::Reset);
        let (status, text) = end_of(&mut client).await?;
        assert_eq!(status, 22, "{text}");
        assert!(text.contains("did not come back within 3 s"), "{text}");
        stage.becomes(SessionState::Suspended).await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_user_gives_up_during_an_outage() {
    play("client_outage_left", async |scene| {
        let stage = plain(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        stage.front.refuse(true);
        stage.front.cut(Cut::Reset);
        said(&client, "(attempt 3)", 1).await?;
        client.signal(rustix::process::Signal::INT)?;
        let (status, text) = end_of(&mut client).await?;
        assert_eq!(status, 22, "{text}");
        stage.becomes(SessionState::Suspended).await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_session_that_another_client_took_is_left_to_it() {
    play("client_taken_over", async |scene| {
        let stage = plain(scene, true).await?;
        let mut first = stage.connect(scene, &stage.login()).await?;
        let other = display(scene).await?;
        let mut second = stage
            .login()
            .start_client(scene, &other, &["-g", "800x600"])?;
        let (status, text) = end_of(&mut first).await?;
        assert_eq!(status, 27, "{text}");
        assert!(text.contains("another client has taken"), "{text}");
        second.expect(CONNECTED, WAIT).await?;
        drawn(&other).await?;
        assert_eq!(times(&second, LOST), 0);
        Ok(stage.leave(&mut second).await?)
    });
}

#[test]
fn a_session_that_was_logged_out_of_ends_the_client() {
    play("client_logout", async |scene| {
        let stage = plain(scene, true).await?;
        let mut client = stage.connect(scene, &stage.login()).await?;
        stage.agent.call(qvd_rpc::Call::XStop).await?;
        let (status, text) = end_of(&mut client).await?;
        assert_eq!(status, 0, "{text}");
        assert!(text.contains("Session closed"), "{text}");
        Ok(stage.becomes(SessionState::Stopped).await?)
    });
}
