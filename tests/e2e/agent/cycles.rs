//! The same again and again.

use std::time::{Duration, Instant};

use qvd_rpc::{Call, SessionState};
use qvd_tests::play;
use qvd_tests::rig::{Agent, Desktop};

use super::{Seat, WAIT, attach, kill};

const TIMES: usize = 50;

#[test]
fn a_start_right_after_a_stop_works_every_time() {
    play("agent_start_after_stop", async |scene| {
        let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        let begin = Instant::now();
        for _ in 0..TIMES {
            agent.start_session(&[]).await?;
            agent.wait_for_state(SessionState::Listening, WAIT).await?;
            agent.call(Call::XStop).await?;
            agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        }
        println!("{TIMES} starts and stops in {:?}", begin.elapsed());
        Ok(())
    });
}

#[test]
fn a_resume_right_after_a_suspend_works_every_time() {
    play("agent_resume_after_suspend", async |scene| {
        // Without programs nxagent has nothing that has it look at signals.
        let idle = Desktop::Script("exec sleep 100000".into());
        let seat = Seat::take(scene, &idle, &[]).await?;
        let begin = Instant::now();
        for _ in 0..TIMES {
            let client = seat.connect(scene, &[]).await?;
            kill(client.proxy.pid())?;
            seat.becomes(SessionState::Suspended).await?;
        }
        println!("{TIMES} resumes and suspends in {:?}", begin.elapsed());
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn a_start_right_after_a_suspend_that_was_asked_for_works_every_time() {
    play("agent_resume_after_asked_suspend", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let begin = Instant::now();
        for _ in 0..TIMES / 5 {
            let _client = seat.connect(scene, &[]).await?;
            seat.agent.call(Call::XSuspend).await?;
            seat.becomes(SessionState::Suspended).await?;
        }
        println!("{} in {:?}", TIMES / 5, begin.elapsed());
        seat.leave().await?;
        Ok(())
    });
}

/// A stop is one from everywhere, whatever was on its way.
#[test]
fn a_stop_is_obeyed_in_every_state() {
    play("agent_stop_everywhere", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let agent = &seat.agent;
        // Starting.
        for delay in [0, 5, 10, 20] {
            agent.start_session(&[]).await?;
            tokio::time::sleep(Duration::from_millis(delay)).await;
            agent.call(Call::XStop).await?;
            seat.becomes(SessionState::Stopped).await?;
            assert_eq!(super::waited(agent).await?.reason, None, "after {delay} ms");
        }
        // The client is being taken.
        for delay in [0, 20, 60] {
            agent.start_session(&[]).await?;
            seat.becomes(SessionState::Listening).await?;
            let _client = attach(scene, agent, &seat.display)?;
            tokio::time::sleep(Duration::from_millis(delay)).await;
            seat.leave().await?;
        }
        // Suspending, and suspended.
        for suspended in [false, true] {
            let _client = seat.connect(scene, &[]).await?;
            agent.call(Call::XSuspend).await?;
            if suspended {
                seat.becomes(SessionState::Suspended).await?;
            }
            seat.leave().await?;
        }
        // Waking, and waiting for the client to come back.
        for listening in [false, true] {
            let client = seat.connect(scene, &[]).await?;
            kill(client.proxy.pid())?;
            seat.becomes(SessionState::Suspended).await?;
            agent.start_session(&[]).await?;
            if listening {
                seat.becomes(SessionState::Listening).await?;
            }
            seat.leave().await?;
        }
        Ok(())
    });
}

/// The same for a suspend: whatever there is of a desktop is kept.
#[test]
fn a_suspend_is_obeyed_in_every_state_of_a_resume() {
    play("agent_suspend_everywhere", async |scene| {
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let client = seat.connect(scene, &[]).await?;
        kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        for delay in [0, 2, 5, 20] {
            seat.agent.start_session(&[]).await?;
            tokio::time::sleep(Duration::from_millis(delay)).await;
            seat.agent.call(Call::XSuspend).await?;
            seat.becomes(SessionState::Suspended).await?;
        }
        for delay in [0, 5, 20, 60] {
            seat.agent.start_session(&[]).await?;
            seat.becomes(SessionState::Listening).await?;
            let _client = attach(scene, &seat.agent, &seat.display)?;
            tokio::time::sleep(Duration::from_millis(delay)).await;
            seat.agent.call(Call::XSuspend).await?;
            seat.becomes(SessionState::Suspended).await?;
        }
        // Where its window comes back is nxagent's matter: of one that was
        // suspended in the first moments of a resume it can be off the screen
        // (seen).
        let _client = seat.connect(scene, &[]).await?;
        seat.leave().await?;
        Ok(())
    });
}
