//! Other users of the machine, and clients that are none.

use std::os::unix::fs::PermissionsExt as _;

use qvd_rpc::{Call, Reply, SessionState};
use qvd_tests::process::Process;
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{Result, Scene, play};
use rustix::process::Signal;

use super::{Seat, WAIT, attach};

/// A shell script run by a user who is neither root nor the agent's.
fn as_nobody(scene: &Scene, script: &str) -> Result<Process> {
    let program = scene.installed("setpriv", "util-linux")?.named("stranger");
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    scene.start(program.args(nobody).args(["--", "bash", "-c", script]))
}

/// Only root can become another user. Without it there is nobody to be
/// refused, and every other test shows that the own user is served.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn other_users_of_the_machine_may_not_call_the_agent() {
    play("agent_strangers_call", async |scene| {
        if !is_root() {
            return Ok(());
        }
        let flag = scene.path("switched-off");
        let script = format!("#!/bin/sh\necho off > {}\n", flag.display());
        let command = scene.write("poweroff", script)?;
        std::fs::set_permissions(&command, std::fs::Permissions::from_mode(0o700))?;
        let command = command.display().to_string();
        let keys = [("command.poweroff", command.as_str())];
        let mut agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let port = agent.rpc().port();
        let asks = |method: &str| {
            format!(
                "exec 3<>/dev/tcp/127.0.0.1/{port}; \
                 printf 'GET /vma/{method} HTTP/1.1\\r\\n\\r\\n' >&3"
            )
        };
        let mut curious = as_nobody(scene, &format!("{}; cat <&3", asks("ping")))?;
        curious.wait(WAIT).await?;
        assert!(!curious.log().text().contains("HTTP/1.1"), "was answered");

        // One who has closed again before he is accepted belongs to nobody.
        let daemon = agent.daemon()?;
        daemon.signal(Signal::STOP)?;
        let mut fleeting = as_nobody(scene, &asks("poweroff"))?;
        fleeting.wait(WAIT).await?;
        let before = daemon.log().position();
        daemon.signal(Signal::CONT)?;
        daemon
            .expect_after(before, "refused on the RPC port", WAIT)
            .await?;
        assert_eq!(agent.call(Call::Ping).await?, Reply::Alive);
        assert!(!flag.exists(), "a stranger switched the machine off");
        Ok(())
    });
}

#[test]
fn other_users_of_the_machine_may_not_take_the_nx_port() {
    play("agent_strangers_nx", async |scene| {
        if !is_root() {
            return Ok(());
        }
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        seat.agent.start_session(&[]).await?;
        seat.becomes(SessionState::Listening).await?;
        let port = seat.agent.x_port();
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; echo NXPROXY- >&3; cat <&3");
        let mut thief = as_nobody(scene, &script)?;
        thief.wait(WAIT).await?;
        assert_eq!(seat.agent.state().await?, SessionState::Listening);
        let _client = attach(scene, &seat.agent, &seat.display)?;
        seat.becomes(SessionState::Connected).await?;
        seat.drawn().await?;
        seat.leave().await?;
        Ok(())
    });
}
