//! Another configuration for an agent that runs, and what it says of itself.

use std::fs;
use std::path::Path;
use std::process::ExitStatus;

use qvd_rpc::{Call, Reply, SessionState};
use qvd_tests::process::Process;
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{Outcome, Result, Scene, play};
use rustix::process::Signal;

use super::{Seat, WAIT, log_name, nothing_left, process_with, session};

/// Runs `qvd-vma` beside the agent; its end and what it printed.
pub async fn run(scene: &Scene, agent: &Agent, words: &[&str]) -> Result<(ExitStatus, String)> {
    let program = scene.built("qvd-vma")?.named(words.join(" "));
    let program = program.args(words).arg("--config").arg(agent.config());
    finish(scene.start(program)?).await
}

async fn finish(mut program: Process) -> Result<(ExitStatus, String)> {
    let status = program.wait(WAIT).await?;
    // It fails with the end of the output, which is what is waited for.
    let _ = program.log().wait_for(0, "the end", WAIT, |_| false).await;
    let lines = program.log().lines().into_iter().map(|line| line.text);
    Ok((status, lines.collect::<Vec<_>>().join("\n")))
}

/// Adds lines to a configuration, as careful editors do.
fn replace(config: &Path, more: &str) -> Outcome {
    let text = fs::read_to_string(config)?;
    let new = config.with_extension("new");
    fs::write(&new, format!("{text}{more}"))?;
    fs::rename(&new, config)?;
    Ok(())
}

#[test]
fn a_changed_configuration_is_taken_and_the_session_stays() {
    play("agent_reload", async |scene| {
        let mut seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        let _client = seat.connect(scene, &[]).await?;
        seat.drawn().await?;
        let name = session(&seat.agent)?;
        let terminal = process_with(&name, "xterm")?;
        let config = seat.agent.config().to_owned();
        let good = fs::read_to_string(&config)?;

        // A file that is replaced.
        let position = seat.agent.daemon()?.log().position();
        replace(&config, "vma.rpc.methods = ping, x_state, x_wait, x_stop\n")?;
        let daemon = seat.agent.daemon()?;
        daemon
            .expect_after(position, "vma.rpc.methods has changed", WAIT)
            .await?;
        assert!(seat.agent.call(Call::Expire).await.is_err());
        assert_eq!(seat.agent.state().await?, SessionState::Connected);

        // A bad one is named by line and key, and the one before counts.
        let position = seat.agent.daemon()?.log().position();
        let line = fs::read_to_string(&config)?.lines().count() + 1;
        replace(&config, "log.level = LOUD\nvma.rpc.methods = fly\n")?;
        let place = format!("{}:{line}: log.level: expected", config.display());
        let daemon = seat.agent.daemon()?;
        daemon.expect_after(position, &place, WAIT).await?;
        daemon
            .expect_after(position, "the one before stays in force", WAIT)
            .await?;
        assert!(seat.agent.call(Call::Expire).await.is_err());
        let (status, text) = run(scene, &seat.agent, &["ctl", "reload"]).await?;
        assert!(!status.success() && text.contains(":"), "{text}");

        // What the agent cannot change is said; SIGHUP does it too.
        let position = seat.agent.daemon()?.log().position();
        fs::write(&config, format!("{good}vma.rpc.port = 1\n"))?;
        let daemon = seat.agent.daemon()?;
        daemon.signal(Signal::HUP)?;
        let said = "vma.rpc.port has changed, which the agent's next start takes up";
        daemon.expect_after(position, said, WAIT).await?;
        assert_eq!(seat.agent.call(Call::Expire).await?, Reply::Nothing);

        assert_eq!(process_with(&name, "xterm")?, terminal);
        seat.ticks().await?;
        fs::write(&config, good)?;
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn the_agent_tells_its_state_and_obeys_on_the_machine_itself() {
    play("agent_ctl", async |scene| {
        let pid_file = scene.path("vma.pid");
        let file = pid_file.display().to_string();
        let keys = [
            ("vma.pid_file", file.as_str()),
            // Where calls need a key, the control socket does not.
            ("vma.rpc.methods", "x_start,x_wait,x_state"),
        ];
        let mut seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let daemon = seat.agent.daemon()?.pid();
        assert_eq!(fs::read_to_string(&pid_file)?.trim(), daemon.to_string());
        let _client = seat.connect(scene, &[]).await?;
        let name = session(&seat.agent)?;

        let (status, text) = run(scene, &seat.agent, &["status", "--json"]).await?;
        assert!(status.success(), "{text}");
        let told: serde_json::Value = serde_json::from_str(&text)?;
        assert_eq!(told["state"], "connected");
        assert_eq!(told["session"], log_name(&seat.agent)?);
        assert_eq!(told["display"], seat.agent.display());
        assert_eq!(told["daemon_pid"], daemon);
        assert_eq!(told["nxagent_pid"], process_with(&name, "nxagent :")?);
        assert_eq!(told["reason"], serde_json::Value::Null);

        let (status, text) = run(scene, &seat.agent, &["ctl", "suspend"]).await?;
        assert!(status.success(), "{text}");
        assert_eq!(seat.agent.state().await?, SessionState::Suspended);
        let (_, text) = run(scene, &seat.agent, &["status"]).await?;
        assert_eq!(text.trim(), "suspended");

        // A daemon that takes the session over knows as much.
        seat.agent.daemon()?.signal(Signal::KILL)?;
        seat.agent.daemon()?.wait(WAIT).await?;
        seat.agent.start_daemon(scene).await?;
        let (_, text) = run(scene, &seat.agent, &["status", "--json"]).await?;
        let told: serde_json::Value = serde_json::from_str(&text)?;
        assert_eq!(told["state"], "suspended");
        assert_eq!(told["nxagent_pid"], process_with(&name, "nxagent :")?);

        let (status, text) = run(scene, &seat.agent, &["ctl", "stop"]).await?;
        assert!(status.success(), "{text}");
        assert_eq!(seat.agent.state().await?, SessionState::Stopped);
        nothing_left(&seat.agent, &name)?;
        Ok(())
    });
}

#[test]
fn check_config_lists_every_key_and_names_every_fault() {
    play("agent_check_config", async |scene| {
        let check = async |text: &str, more: &[&str]| {
            let file = scene.write("check.conf", text)?;
            let program = scene.built("qvd-vma")?.arg("check-config").args(more);
            finish(scene.start(program.arg(&file))?).await
        };
        let (status, text) = check("log.level = LOUD\nvma.rpc.port = x\n", &[]).await?;
        assert_eq!(status.code(), Some(78));
        for fault in ["check.conf:1: log.level: ", "check.conf:2: vma.rpc.port: "] {
            assert!(text.contains(fault), "{text}");
        }
        let (status, text) = check("vma.rpc.tls.cert_file = /nowhere\n", &[]).await?;
        assert_eq!(status.code(), Some(78), "{text}");
        let (status, text) = check("vma.rpc.port = 3031\n", &["--all"]).await?;
        assert!(status.success(), "{text}");
        assert!(text.contains("vma.rpc.port = 3031"), "{text}");
        assert!(text.contains("log.level = INFO  (default)"), "{text}");
        Ok(())
    });
}
