//! Hooks that fail in every way.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use qvd_rpc::{Call, Reply, SessionState};
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{Error, Result, Scene, play};

use super::hooks::hook;
use super::{Seat, WAIT, waited};

/// Processes that were started by a hook and still run.
fn of_hooks(flag: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let mut variables = environment.split(|b| *b == 0);
            let ours = format!("QVD_CUSTOM_FLAG={flag}");
            variables.any(|v| v == ours.as_bytes()).then(|| {
                let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&command).replace('\0', " ")
            })
        })
        .collect()
}

async fn none_left(flag: &str) -> Result<()> {
    let gone = async {
        while !of_hooks(flag).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, gone)
        .await
        .map_err(|_| Error::Invalid(format!("left of hooks: {:?}", of_hooks(flag))))
}

/// Starts a session that its hook refuses; gives the reason.
async fn refusal(agent: &Agent, flag: &str) -> Result<String> {
    agent.start_session(&[("custom.flag", flag)]).await?;
    agent.wait_for_state(SessionState::Stopped, WAIT).await?;
    Ok(waited(agent).await?.reason.unwrap_or_default())
}

#[test]
fn a_failing_hook_of_a_start_aborts_it_with_its_last_words() {
    play("agent_hook_fails_start", async |scene| {
        for key in ["vma.on_action.pre-connect", "vma.on_action.connect"] {
            let script = "echo looking for a licence; echo no licence is left >&2; exit 3";
            let path = hook(scene, "refuse", script)?;
            let name = key.rsplit('.').next().unwrap_or_default();
            let after = hook(
                scene,
                "after",
                &format!("echo \"$@\" > {}/told", scene.directory().display()),
            )?;
            let on_fail = format!("vma.on_fail.{name}");
            let keys = [(key, path.as_str()), (on_fail.as_str(), after.as_str())];
            let agent = Agent::start(scene, name, &Desktop::Small, &keys).await?;
            let reason = refusal(&agent, "x").await?;
            let expected = format!("hook {name}: {path}: exited with status 3: no licence is left");
            assert_eq!(reason, expected);
            let told = scene.path("told");
            let written = async {
                while !fs::read_to_string(&told).is_ok_and(|text| text.ends_with('\n')) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(WAIT, written).await?;
            let text = fs::read_to_string(&told)?;
            let end = format!(
                "qvd.hook.on_fail {name} qvd.hook.reason exited with status 3: no licence is left\n"
            );
            assert!(text.ends_with(&end), "{text}");
            fs::remove_file(&told)?;
        }
        Ok(())
    });
}

#[test]
fn a_failing_hook_of_a_resume_leaves_the_desktop_suspended() {
    play("agent_hook_fails_resume", async |scene| {
        let refuse = scene.path("refuse");
        let script = format!("test ! -e {} || exit 5", refuse.display());
        let path = hook(scene, "connect", &script)?;
        let keys = [("vma.on_action.connect", path.as_str())];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let client = seat.connect(scene, &[]).await?;
        // nxagent can bring a window back off the screen that was never drawn.
        seat.drawn().await?;
        super::kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        fs::write(&refuse, "")?;
        seat.agent.start_session(&[]).await?;
        seat.becomes(SessionState::Suspended).await?;
        let reason = waited(&seat.agent).await?.reason.unwrap_or_default();
        assert!(reason.ends_with("exited with status 5"), "{reason}");
        fs::remove_file(&refuse)?;
        let _client = seat.connect(scene, &[]).await?;
        seat.drawn().await?;
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn hooks_of_suspend_stop_and_poweroff_can_refuse() {
    play("agent_hook_refuses", async |scene| {
        let refuse = scene.path("refuse");
        let script = format!(
            "test ! -e {} || {{ echo not now; exit 1; }}",
            refuse.display()
        );
        let path = hook(scene, "refuse-it", &script)?;
        let off = scene.path("off");
        let poweroff = hook(scene, "poweroff", &format!("touch {}", off.display()))?;
        let keys = [
            ("vma.on_action.suspend", path.as_str()),
            ("vma.on_action.stop", &path),
            ("vma.on_action.poweroff", &path),
            ("command.poweroff", &poweroff),
        ];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let _client = seat.connect(scene, &[]).await?;
        fs::write(&refuse, "")?;
        for (call, name) in [
            (Call::XSuspend, "suspend"),
            (Call::XStop, "stop"),
            (Call::Poweroff, "poweroff"),
        ] {
            let expected = format!("hook {name}: {path}: exited with status 1: not now");
            assert_eq!(seat.agent.call(call).await?, Reply::Failure(expected));
            assert_eq!(seat.agent.state().await?, SessionState::Connected);
        }
        assert!(!off.exists());
        fs::remove_file(&refuse)?;
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn a_hook_that_hangs_with_all_its_children_is_ended_and_nobody_waits_for_it() {
    play("agent_hook_hangs", async |scene| {
        let script = "trap '' TERM\nsetsid sleep 1000 &\n(trap '' TERM; sleep 1000; true) &\n\
                      while :; do sleep 1; done";
        let path = hook(scene, "hang", script)?;
        let keys = [
            ("vma.on_action.pre-connect", path.as_str()),
            ("vma.hook.timeout.pre-connect", "1.5"),
        ];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        agent
            .start_session(&[("custom.flag", scene.mark())])
            .await?;
        // Calls are answered while it hangs.
        for _ in 0..20 {
            assert_eq!(agent.call(Call::Ping).await?, Reply::Alive);
            assert_eq!(agent.state().await?, SessionState::Provisioning);
        }
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        let reason = waited(&agent).await?.reason.unwrap_or_default();
        assert_eq!(
            reason,
            format!("hook pre-connect: {path}: did not end within 1.5 s")
        );
        none_left(scene.mark()).await?;
        Ok(())
    });
}

#[test]
fn hooks_that_may_not_be_run_are_refused_and_named() {
    play("agent_hook_untrusted", async |scene| {
        let path = hook(scene, "pre-connect", "kill -KILL $$")?;
        let keys = [("vma.on_action.pre-connect", path.as_str())];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode));
        let reason = |what: &str| format!("hook pre-connect: {path}: {what}");
        assert_eq!(refusal(&agent, "x").await?, reason("was ended by signal 9"));
        set(0o600)?;
        assert_eq!(refusal(&agent, "x").await?, reason("is not executable"));
        set(0o702)?;
        assert_eq!(refusal(&agent, "x").await?, reason("is writable by others"));
        fs::remove_file(&path)?;
        assert_eq!(refusal(&agent, "x").await?, reason("does not exist"));
        fs::create_dir(&path)?;
        let expected = "is a folder; a folder of hooks has a name that ends in .d";
        assert_eq!(refusal(&agent, "x").await?, reason(expected));
        Ok(())
    });
}

#[test]
fn a_hook_that_prints_much_costs_neither_the_disk_nor_the_session() {
    play("agent_hook_prints", async |scene| {
        let path = hook(scene, "print", "yes 'many words' | head -c 100000000")?;
        let keys = [("vma.on_action.connect", path.as_str())];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        agent.start_session(&[]).await?;
        agent.wait_for_state(SessionState::Listening, WAIT).await?;
        let log = scene.path("qvd-hooks.log");
        let counted = async {
            while !fs::read_to_string(&log).is_ok_and(|t| t.contains("more lines were not kept")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(WAIT, counted).await?;
        assert!(fs::metadata(&log)?.len() < 16 * 1024 * 1024);
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        Ok(())
    });
}

/// Kills the daemon while this hook of a start runs, and starts another.
async fn killed_during(scene: &Scene, key: &str, home: Option<&str>) -> Result<()> {
    let name = key.rsplit('.').next().unwrap_or_default();
    let flag = scene.path(format!("{name}-runs"));
    let again = scene.path(format!("{name}-again"));
    let script = format!(
        "test ! -e {1} || exit 0\n(trap '' TERM; sleep 1000) &\ntouch {0}\nsleep 1000",
        flag.display(),
        again.display()
    );
    let path = hook(scene, name, &script)?;
    let mut keys = vec![(key, path.as_str())];
    keys.extend(home.map(|home| ("vma.user.home.path", home)));
    let mut agent = Agent::start(scene, &format!("vm-{name}"), &Desktop::Small, &keys).await?;
    let custom = format!("{}-{name}", scene.mark());
    let mut properties = vec![("custom.flag", custom.as_str())];
    properties.extend(home.map(|_| ("qvd.vm.user.name", "qvd-no-such-user")));
    agent.start_session(&properties).await?;
    let runs = async {
        while !flag.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let ran = tokio::time::timeout(WAIT, runs).await;
    ran.map_err(|_| Error::Invalid(format!("hook {name} did not run")))?;
    super::kill(agent.daemon()?.pid())?;
    agent.daemon()?.wait(WAIT).await?;
    agent.start_daemon(scene).await?;
    assert_eq!(agent.state().await?, SessionState::Stopped, "{name}");
    none_left(&custom).await?;
    fs::write(&again, "").map_err(|e| Error::Invalid(e.to_string()))?;
    if home.is_none() {
        agent.start_session(&properties).await?;
        agent.wait_for_state(SessionState::Listening, WAIT).await?;
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
    }
    let left: Vec<_> = fs::read_dir(agent.run_directory())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        // That the user is to be set up is remembered until he is there.
        .filter(|file| !file.starts_with("agent-") && !file.starts_with("provision-"))
        .collect();
    assert!(left.is_empty(), "{name}: {left:?}");
    Ok(())
}

#[test]
fn an_agent_killed_during_a_hook_is_followed_by_one_that_starts_anew() {
    play("agent_hook_daemon_killed", async |scene| {
        killed_during(scene, "vma.on_action.pre-connect", None).await?;
        killed_during(scene, "vma.on_action.connect", None).await?;
        let homes = scene.path("homes").display().to_string();
        killed_during(scene, "vma.on_provisioning.mount_home", Some(&homes)).await?;
        killed_during(scene, "vma.on_provisioning.add_user", Some(&homes)).await?;
        Ok(())
    });
}

#[test]
fn an_agent_killed_during_the_hook_of_a_running_session_keeps_the_session() {
    play("agent_hook_daemon_killed_late", async |scene| {
        let flag = scene.path("runs");
        let script = format!(
            "touch {}\n(trap '' TERM; sleep 1000) &\nsleep 1000",
            flag.display()
        );
        let path = hook(scene, "stop", &script)?;
        let keys = [
            ("vma.on_action.stop", path.as_str()),
            ("vma.on_action.suspend", &path),
            ("vma.on_state.connected", &path),
        ];
        let mut seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let _client = seat.connect(scene, &[]).await?;
        let mut streams = Vec::new();
        for call in [None, Some("GET /vma/x_stop?"), Some("GET /vma/x_suspend?")] {
            if let Some(call) = call {
                // Its answer will not come.
                let mut stream = std::net::TcpStream::connect(seat.agent.rpc())?;
                std::io::Write::write_all(
                    &mut stream,
                    format!("{call} HTTP/1.1\r\n\r\n").as_bytes(),
                )?;
                streams.push(stream);
            }
            let runs = async {
                while !flag.exists() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(WAIT, runs).await?;
            let daemon = seat.agent.daemon()?.pid();
            super::kill(daemon)?;
            seat.agent.daemon()?.wait(WAIT).await?;
            seat.agent.start_daemon(scene).await?;
            seat.becomes(SessionState::Connected).await?;
            let hooks = fs::read_dir(seat.agent.run_directory())?.flatten();
            let hooks = hooks.filter(|e| e.file_name().to_string_lossy().starts_with("hook-"));
            assert_eq!(hooks.count(), 0);
            fs::remove_file(&flag)?;
        }
        seat.ticks().await?;
        hook(scene, "stop", "exit 0")?;
        seat.leave().await?;
        Ok(())
    });
}
