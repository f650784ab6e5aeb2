//! The same again and again.

use std::time::Instant;

use qvd_rpc::{Call, SessionState};
use qvd_tests::play;
use qvd_tests::rig::{Agent, Desktop};

use super::{Seat, WAIT, kill};

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
