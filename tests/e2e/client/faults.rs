//! Networks that break at every step of the dialogue: the client ends within
//! its limits, and with the status of the step.

use std::time::Duration;

use qvd_rpc::SessionState;
use qvd_tests::fault::{Cut, Direction, Fault, FaultProxy};
use qvd_tests::rig::Login;
use qvd_tests::{Outcome, Result, Scene, play};
use rustix::process::Signal;

use super::stage::{CONNECTED, LOST, Stage, WAIT, end_of, said};

/// Where in the broker's answers a plain connection is broken: before the
/// first byte, in the list's head and body, in the first 102, in a later one,
/// in the 101.
async fn places(scene: &Scene, stage: &Stage) -> Result<Vec<u64>> {
    let mut client = stage.connect(scene, &stage.login()).await?;
    let passed = stage.front.last_connection();
    let bytes = passed
        .map(|connection| connection.passed(Direction::ToClient).beginning)
        .unwrap_or_default();
    client.signal(Signal::INT)?;
    end_of(&mut client).await?;
    stage.becomes(SessionState::Suspended).await?;
    let find = |from: usize, text: &[u8]| {
        let rest = bytes.get(from..).unwrap_or_default();
        let at = rest.windows(text.len()).position(|window| window == text);
        at.map(|at| at + from)
            .ok_or_else(|| qvd_tests::Error::Invalid(format!("no {}", text.escape_ascii())))
    };
    let body = find(0, b"[{")?;
    let first = find(body, b"HTTP/1.1 102")?;
    let second = find(first + 1, b"HTTP/1.1 102")?;
    let joined = find(second, b"HTTP/1.1 101")?;
    let all = [0, 10, body + 5, first + 5, second + 5, joined + 5];
    Ok(all.map(|at| u64::try_from(at).unwrap_or(u64::MAX)).to_vec())
}

/// A client's status when the broker's answers are broken at a byte.
async fn broken(scene: &Scene, stage: &Stage, at: u64, fault: Fault) -> Result<(i32, String)> {
    stage.front.change(Direction::ToClient, |rules| {
        rules.at = Some((at, fault));
    });
    let login = stage.login();
    let mut client = login.start_client(scene, &stage.display, &["-g", "800x600"])?;
    let ended = end_of(&mut client).await;
    stage
        .front
        .change(Direction::ToClient, |rules| rules.at = None);
    let (status, text) = ended?;
    assert!(!text.contains(CONNECTED), "{at}: {text}");
    stage.front.wait_until_closed(WAIT).await?;
    Ok((status, text))
}

async fn every_place(scene: &Scene, faults: &[Fault]) -> Outcome {
    let stage = Stage::set(scene, false).await?;
    for at in places(scene, &stage).await? {
        for fault in faults {
            let (status, text) = broken(scene, &stage, at, *fault).await?;
            assert_eq!(status, 11, "{fault:?} at {at}: {text}");
            // Before the first byte, the connection may be no sooner there
            // than it is gone.
            let known = ["the broker", "cannot connect"];
            let is_told = known.iter().any(|words| text.contains(words));
            assert!(is_told, "{fault:?} at {at}: {text}");
        }
    }
    // None of that did any harm.
    let mut client = stage.connect(scene, &stage.login()).await?;
    Ok(stage.leave(&mut client).await?)
}

#[test]
fn an_end_anywhere_before_the_session() {
    play("client_ends_anywhere", async |scene| {
        every_place(scene, &[Fault::Cut(Cut::Fin), Fault::HalfClose]).await
    });
}

#[test]
fn a_reset_anywhere_before_the_session() {
    play("client_reset_anywhere", async |scene| {
        every_place(scene, &[Fault::Cut(Cut::Reset)]).await
    });
}

#[test]
fn a_break_in_the_tls_handshake() {
    play("client_handshake_broken", async |scene| {
        let stage = Stage::set(scene, true).await?;
        for at in [0, 3, 60, 300] {
            for fault in [
                Fault::Cut(Cut::Fin),
                Fault::Cut(Cut::Reset),
                Fault::HalfClose,
            ] {
                let (status, text) = broken(scene, &stage, at, fault).await?;
                assert_eq!(status, 11, "{fault:?} at {at}: {text}");
            }
        }
        let (status, text) = broken(scene, &stage, 60, Fault::Stall).await?;
        assert_eq!(status, 11, "{text}");
        assert!(text.contains("does not finish the TLS handshake"), "{text}");
        Ok(())
    });
}

#[test]
fn a_broker_that_says_nothing_can_be_left_at_every_step() {
    play("client_stall_anywhere", async |scene| {
        let stage = Stage::set(scene, false).await?;
        for at in places(scene, &stage).await? {
            stage.front.change(Direction::ToClient, |rules| {
                rules.at = Some((at, Fault::Stall));
            });
            let login = stage.login();
            let mut client = login.start_client(scene, &stage.display, &["-g", "800x600"])?;
            said(&client, "Logging in", 1).await?;
            stalled(&stage.front, at).await?;
            client.signal(Signal::INT)?;
            let (status, text) = end_of(&mut client).await?;
            assert_eq!(status, 130, "at {at}: {text}");
            stage.front.change(Direction::ToClient, |rules| {
                rules.at = None;
                rules.stalled = false;
            });
            stage.front.cut(Cut::Reset);
            stage.front.wait_until_closed(WAIT).await?;
        }
        let mut client = stage.connect(scene, &stage.login()).await?;
        Ok(stage.leave(&mut client).await?)
    });
}

/// Waits until so many bytes have reached the client.
async fn stalled(relay: &FaultProxy, at: u64) -> Outcome {
    let reached = async {
        loop {
            let passed = relay
                .last_connection()
                .map_or(0, |connection| connection.passed(Direction::ToClient).bytes);
            if passed >= at {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, reached)
        .await
        .map_err(|_| qvd_tests::Error::Invalid(format!("no {at} bytes came")))?;
    Ok(())
}

#[test]
fn a_session_that_comes_back_is_broken_at_every_step_of_that() {
    play("client_reconnect_broken", async |scene| {
        let stage = Stage::set(scene, false).await?;
        let places = places(scene, &stage).await?;
        for at in places {
            let mut client = stage.connect(scene, &stage.login()).await?;
            // The session that runs is cut, and the first attempts on new
            // connections at that byte.
            stage.front.change(Direction::ToClient, |rules| {
                rules.at = Some((at, Fault::Cut(Cut::Reset)));
            });
            stage.front.cut(Cut::Reset);
            said(&client, LOST, 1).await?;
            stage
                .front
                .change(Direction::ToClient, |rules| rules.at = None);
            said(&client, CONNECTED, 2).await?;
            stage.becomes(SessionState::Connected).await?;
            stage.drawn().await?;
            client.signal(Signal::INT)?;
            let (status, text) = end_of(&mut client).await?;
            assert_eq!(status, 0, "at {at}: {text}");
            stage.becomes(SessionState::Suspended).await?;
        }
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_login_that_nobody_knows_is_told_at_once() {
    play("client_unknown_user", async |scene| {
        let stage = Stage::set(scene, true).await?;
        let mut login: Login = stage.login();
        login.user.login = "nobody-here".to_owned();
        let mut client = login.start_client(scene, &stage.display, &[])?;
        let (status, text) = end_of(&mut client).await?;
        assert_eq!(status, 13, "{text}");
        assert_eq!(text.matches("Logging in").count(), 1, "{text}");
        Ok(())
    });
}
