//! However a session ends, nothing of its shares is left.

use std::fs;

use qvd_rpc::SessionState;
use qvd_tests::process::{self, Process};
use qvd_tests::{Result, Scene, play};
use rustix::process::Signal;

use super::stage::{Stage, WAIT, until};

/// The processes of the test whose command lines have this text.
fn processes_with(scene: &Scene, text: &str) -> Vec<u32> {
    let all = process::marked(scene.mark());
    let found = all.iter().filter(|one| one.command.contains(text));
    found.map(|one| one.pid).collect()
}

fn kill(pid: u32) -> Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| qvd_tests::Error::Invalid("a pid".into()))?;
    rustix::process::kill_process(pid, Signal::KILL)
        .map_err(|error| qvd_tests::Error::Invalid(error.to_string()))
}

/// The session process is nxagent's parent.
fn parent(pid: u32) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.map_err(|error| qvd_tests::Error::Invalid(error.to_string()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.and_then(|number| number.trim().parse().ok())
        .ok_or_else(|| qvd_tests::Error::Invalid("no parent".into()))
}

async fn shared(scene: &Scene, stage: &Stage) -> Result<Process> {
    let client = stage.connect(scene, &stage.login(), &[]).await?;
    stage.mounted("home").await?;
    Ok(client)
}

#[test]
fn a_client_that_is_killed_leaves_nothing_that_misleads() {
    play("shares_client_killed", async |scene| {
        // Only then it is known that it does not come back.
        let stage = Stage::set(scene, &[("vma.carrier.grace", "1")]).await?;
        let mut client = shared(scene, &stage).await?;
        client.signal(Signal::KILL)?;
        client.wait(WAIT).await?;
        stage.becomes(SessionState::Suspended).await?;
        stage.bare().await?;
        // What it left is seen for what it is.
        let qvd = scene.home().join(".qvd");
        assert!(qvd.join("slave-port").exists());
        let program = scene.built("qvd-slaveclient")?.args(["share", "/tmp"]);
        let mut refused = scene.start(program)?;
        assert_eq!(refused.wait(WAIT).await?.code(), Some(3));
        // The next client takes it away.
        let mut client = shared(scene, &stage).await?;
        assert_eq!(fs::read_dir(qvd.join("sessions"))?.count(), 1);
        stage.leave(&mut client).await?;
        assert!(!qvd.join("slave-port").exists());
        stage.bare().await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_slave_server_that_is_killed_leaves_no_mount() {
    play("shares_server_killed", async |scene| {
        let stage = Stage::set(scene, &[]).await?;
        let mut client = shared(scene, &stage).await?;
        let place = stage.shares.join("home");
        let guards = processes_with(scene, "qvd-vma-slaveserver guard");
        assert_eq!(guards.len(), 1);
        for pid in processes_with(scene, "qvd-vma-slaveserver") {
            if !guards.contains(&pid) {
                kill(pid)?;
            }
        }
        until("the end of the mount", || {
            fs::symlink_metadata(&place).is_err()
        })
        .await?;
        stage.leave(&mut client).await?;
        stage.bare().await?;
        Ok(stage.strike().await?)
    });
}

#[test]
fn a_session_that_is_killed_leaves_no_mount() {
    play("shares_session_killed", async |scene| {
        let stage = Stage::set(scene, &[]).await?;
        let login = stage.login().with("client.reconnect.timeout", "0");
        let mut client = stage.connect(scene, &login, &[]).await?;
        stage.mounted("home").await?;
        for nxagent in processes_with(scene, "/usr/bin/nxagent") {
            kill(parent(nxagent)?)?;
        }
        stage.becomes(SessionState::Stopped).await?;
        client.wait(WAIT).await?;
        stage.bare().await?;
        Ok(())
    });
}

#[test]
fn a_stop_ends_the_shares() {
    play("shares_stopped", async |scene| {
        let stage = Stage::set(scene, &[]).await?;
        let mut client = shared(scene, &stage).await?;
        stage.strike().await?;
        client.wait(WAIT).await?;
        stage.bare().await?;
        Ok(())
    });
}
