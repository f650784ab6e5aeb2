//! The agent's commands.

use qvd_rpc::{Call, Reply};
use qvd_tests::play;
use qvd_tests::process::Stream;
use qvd_tests::rig::{Agent, Desktop, unknown_user};

use super::WAIT;

#[test]
fn status_and_check_config_say_what_is() {
    play("agent_commands", async |scene| {
        let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        let run = |arguments: &[&str]| -> qvd_tests::Result<_> {
            scene.start(scene.built("qvd-vma")?.args(arguments))
        };
        let config = agent.config().display().to_string();
        let mut status = run(&["status", "--config", &config])?;
        status.expect("stopped", WAIT).await?;
        assert!(status.wait(WAIT).await?.success());
        agent
            .start_session(&[("qvd.vm.user.name", "no-such-user")])
            .await?;
        let stopped = qvd_rpc::SessionState::Stopped;
        agent.wait_for_state(stopped, WAIT).await?;
        let mut status = run(&["status", "--config", &config])?;
        status
            .expect(&format!("stopped: {}", unknown_user("no-such-user")), WAIT)
            .await?;
        assert!(status.wait(WAIT).await?.success());
        let mut check = run(&["check-config", &config])?;
        check.expect(&format!("{config}: good"), WAIT).await?;
        assert!(check.wait(WAIT).await?.success());

        let bad = scene.write("bad.conf", "log.level = LOUD\nvma.rpc.port = many\n")?;
        let bad = bad.display().to_string();
        let mut check = run(&["check-config", &bad])?;
        assert_eq!(check.wait(WAIT).await?.code(), Some(78));
        for (place, key) in [
            ("bad.conf:1: ", "log.level"),
            ("bad.conf:2: ", "vma.rpc.port"),
        ] {
            let line = check.expect(place, WAIT).await?;
            assert_eq!(line.stream, Stream::Err);
            assert!(line.text.contains(key), "{}", line.text);
        }
        let mut daemon = run(&["daemon", "--config", &bad])?;
        assert_eq!(daemon.wait(WAIT).await?.code(), Some(78));
        let mut missing = run(&["check-config", "/nonexistent.conf"])?;
        assert_eq!(missing.wait(WAIT).await?.code(), Some(78));
        missing.expect("/nonexistent.conf: ", WAIT).await?;

        // Nobody there to ask.
        drop(agent);
        let mut status = run(&["status", "--config", &config])?;
        assert_eq!(status.wait(WAIT).await?.code(), Some(1));
        status
            .expect("no agent answers on 127.0.0.1:", WAIT)
            .await?;
        Ok(())
    });
}

#[test]
fn poweroff_runs_the_command_of_the_configuration() {
    play("agent_poweroff", async |scene| {
        let flag = scene.path("switched-off");
        let script = format!("echo off > {}", flag.display());
        let command = scene.script("poweroff", &script)?;
        let command = command.display().to_string();
        let keys = [("command.poweroff", command.as_str())];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        assert_eq!(agent.call(Call::Poweroff).await?, Reply::Nothing);
        let written = async {
            while !flag.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(WAIT, written).await?;
        assert_eq!(agent.call(Call::Expire).await?, Reply::Nothing);
        Ok(())
    });
}
