//! Hooks that do what they are told, with a real session.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qvd_rpc::{Call, Reply, SessionState};
use qvd_tests::rig::{Agent, Desktop};
use qvd_tests::{Error, Result, Scene, play};

use super::{Seat, WAIT, kill, waited};

/// Writes an executable hook.
pub(crate) fn hook(scene: &Scene, name: &str, script: &str) -> Result<String> {
    Ok(scene.script(name, script)?.display().to_string())
}

/// The keys of all hooks that every session meets.
const KEYS: [&str; 9] = [
    "vma.on_action.pre-connect",
    "vma.on_action.connect",
    "vma.on_action.stop",
    "vma.on_action.suspend",
    "vma.on_action.poweroff",
    "vma.on_action.expire",
    "vma.on_state.connected",
    "vma.on_state.suspended",
    "vma.on_state.disconnected",
];

/// What a hook wrote of its runs: a line each, its first arguments.
struct Runs(PathBuf);

impl Runs {
    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until these lines were added, in any order, and forgets them:
    /// state hooks run beside what comes next.
    async fn are(&self, expected: &[&str]) -> Result<()> {
        let complete = async {
            while self.lines().len() < expected.len() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(WAIT, complete).await;
        let (mut lines, mut wanted) = (self.lines(), expected.to_vec());
        lines.sort();
        wanted.sort_unstable();
        if lines != wanted {
            return Err(Error::Invalid(format!("ran {lines:?}, not {wanted:?}")));
        }
        fs::remove_file(&self.0).map_err(|e| Error::Invalid(e.to_string()))
    }
}

async fn until_there(path: &Path) -> Result<()> {
    let there = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT, there)
        .await
        .map_err(|_| Error::Invalid(format!("{} is not there", path.display())))
}

#[test]
fn every_hook_runs_when_it_should_with_what_it_should_know() {
    play("agent_hooks_all", async |scene| {
        let runs = Runs(scene.path("runs"));
        let off = scene.path("switched-off");
        let recorder = hook(
            scene,
            "recorder",
            &format!("echo \"$1 $2 $3 $4\" >> {}", runs.0.display()),
        )?;
        let poweroff = hook(scene, "off", &format!("touch {}", off.display()))?;
        let mut keys: Vec<(&str, &str)> = KEYS.map(|key| (key, recorder.as_str())).into();
        keys.push(("command.poweroff", &poweroff));
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;

        let client = seat.connect(scene, &[]).await?;
        runs.are(&[
            "qvd.vm.session.state stopped qvd.hook.on_action pre-connect",
            "qvd.vm.session.state starting qvd.hook.on_action connect",
            "qvd.hook.on_state connected  ",
        ])
        .await?;
        // The user closes the client.
        kill(client.proxy.pid())?;
        seat.becomes(SessionState::Suspended).await?;
        runs.are(&[
            "qvd.vm.session.state suspending qvd.hook.on_action suspend",
            "qvd.hook.on_state suspended  ",
        ])
        .await?;
        let client = seat.connect(scene, &[]).await?;
        runs.are(&[
            "qvd.vm.session.state suspended qvd.hook.on_action pre-connect",
            "qvd.vm.session.state starting qvd.hook.on_action connect",
            "qvd.hook.on_state connected  ",
        ])
        .await?;
        // The administrator suspends it.
        seat.agent.call(Call::XSuspend).await?;
        seat.becomes(SessionState::Suspended).await?;
        drop(client);
        runs.are(&[
            "qvd.vm.session.state connected qvd.hook.on_action suspend",
            "qvd.hook.on_state suspended  ",
        ])
        .await?;
        seat.leave().await?;
        runs.are(&[
            "qvd.vm.session.state suspended qvd.hook.on_action stop",
            "qvd.hook.on_state stopped  ",
        ])
        .await?;
        assert_eq!(seat.agent.call(Call::Expire).await?, Reply::Nothing);
        runs.are(&["qvd.vm.session.state stopped qvd.hook.on_action expire"])
            .await?;
        assert_eq!(seat.agent.call(Call::Poweroff).await?, Reply::Nothing);
        until_there(&off).await?;
        runs.are(&["qvd.vm.session.state stopped qvd.hook.on_action poweroff"])
            .await?;
        Ok(())
    });
}

#[test]
fn a_later_client_has_the_suspend_hook_asked() {
    play("agent_hooks_contention", async |scene| {
        let refuse = scene.path("refuse");
        let script = format!("test ! -e {} || {{ echo busy; exit 1; }}", refuse.display());
        let suspend = hook(scene, "suspend", &script)?;
        let keys = [("vma.on_action.suspend", suspend.as_str())];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let _client = seat.connect(scene, &[]).await?;
        fs::write(&refuse, "")?;
        let refused = seat.agent.start_session(&[]).await.unwrap_err().to_string();
        assert!(
            refused.contains("hook suspend: ") && refused.ends_with("exited with status 1: busy")
        );
        assert_eq!(seat.agent.state().await?, SessionState::Connected);
        fs::remove_file(&refuse)?;
        let refused = seat.agent.start_session(&[]).await.unwrap_err().to_string();
        assert!(refused.contains("retry later"), "{refused}");
        seat.becomes(SessionState::Suspended).await?;
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn a_hook_is_told_the_sessions_properties_and_the_log_keeps_what_it_prints() {
    play("agent_hooks_properties", async |scene| {
        let told = scene.path("told");
        let script = format!(
            "for word; do echo \"$word\"; done > {0}\nenv | sort > {0}.env\necho all is well",
            told.display()
        );
        let connect = hook(scene, "connect", &script)?;
        let keys = [("vma.on_action.connect", connect.as_str())];
        let seat = Seat::take(scene, &Desktop::Small, &keys).await?;
        let properties = [
            ("qvd.client.session-id", "0123-abcd"),
            ("qvd.client.os.name", "A system; with $(signs)"),
            ("qvd.slave.key", "0123456789secret"),
            ("custom.department", "research & more"),
            ("qvd.vm.user.groups", ""),
        ];
        seat.agent.start_session(&properties).await?;
        seat.becomes(SessionState::Listening).await?;
        let text = fs::read_to_string(&told)?;
        let words: Vec<&str> = text.lines().collect();
        let value = |key: &str| {
            let at = words.iter().position(|word| *word == key);
            at.and_then(|at| words.get(at + 1).copied())
        };
        assert_eq!(value("custom.department"), Some("research & more"));
        assert_eq!(value("qvd.client.os.name"), Some("A system; with $(signs)"));
        let user = qvd_tests::rig::user_name()?;
        assert_eq!(value("qvd.vm.user.name"), Some(user.as_str()));
        let home = std::process::Command::new("sh")
            .args(["-c", "getent passwd \"$0\" | cut -d: -f6", &user])
            .output()?;
        let home = String::from_utf8(home.stdout)?;
        assert_eq!(value("qvd.vm.user.home"), Some(home.trim()));
        assert!(words.contains(&"qvd.vm.user.groups"));
        assert!(!text.contains("secret"), "everybody can read arguments");
        let environment = fs::read_to_string(scene.path("told.env"))?;
        for variable in [
            "QVD_CUSTOM_DEPARTMENT=research & more\n",
            "QVD_SESSION_ID=0123-abcd\n",
            "QVD_SLAVE_KEY=0123456789secret\n",
            "QVD_HOOK_ON_ACTION=connect\n",
        ] {
            assert!(environment.contains(variable), "{environment}");
        }
        let log = fs::read_to_string(scene.path("qvd-hooks.log"))?;
        assert!(
            log.contains("hook=connect session=0123-abcd: all is well\n"),
            "{log}"
        );
        assert!(log.contains("hook=connect session=0123-abcd: succeeded after "));
        assert!(!log.contains("secret") && !seat.agent.daemon_log()?.text().contains("secret"));
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn provisioning_hooks_make_the_home_and_the_user() {
    play("agent_hooks_provisioning", async |scene| {
        let name = format!("qvdhook{}", std::process::id());
        let homes = scene.path("homes");
        let runs = Runs(scene.path("runs"));
        let record = format!("echo \"$6\" >> {}", runs.0.display());
        let mount = hook(
            scene,
            "mount",
            &format!("{record}\nmkdir -p {}", homes.display()),
        )?;
        let add = hook(
            scene,
            "add",
            &format!("{record}\nuseradd -m -d \"$QVD_VM_USER_HOME\" \"$QVD_VM_USER_NAME\""),
        )?;
        let after = hook(
            scene,
            "after",
            &format!("{record}\ntouch \"$QVD_VM_USER_HOME/ready\""),
        )?;
        let homes = homes.display().to_string();
        let keys = [
            ("vma.on_provisioning.mount_home", mount.as_str()),
            ("vma.on_provisioning.add_user", &add),
            ("vma.on_provisioning.after_add_user", &after),
            ("vma.user.home.path", &homes),
        ];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let user = [("qvd.vm.user.name", name.as_str())];
        let _gone_after = Gone(name.clone());
        agent.start_session(&user).await?;
        agent.wait_for_state(SessionState::Listening, WAIT).await?;
        assert_eq!(runs.lines(), ["mount_home", "add_user", "after_add_user"]);
        assert!(Path::new(&homes).join(&name).join("ready").exists());
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        // The second time there is nothing to do.
        fs::remove_file(&runs.0)?;
        agent.start_session(&user).await?;
        agent.wait_for_state(SessionState::Listening, WAIT).await?;
        assert!(runs.lines().is_empty(), "{:?}", runs.lines());
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        Ok(())
    });
}

/// A user that is gone after the test.
struct Gone(String);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = std::process::Command::new("userdel")
            .args(["-r", &self.0])
            .output();
    }
}

#[test]
fn a_stop_does_not_wait_for_the_hook_of_a_start() {
    play("agent_hooks_stop", async |scene| {
        let flag = scene.path("flag");
        let script = format!("touch {}; sleep 1000", flag.display());
        let connect = hook(scene, "connect", &script)?;
        let keys = [("vma.on_action.connect", connect.as_str())];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        agent.start_session(&[]).await?;
        until_there(&flag).await?;
        assert_eq!(agent.state().await?, SessionState::Provisioning);
        assert_eq!(agent.call(Call::Ping).await?, Reply::Alive);
        agent.call(Call::XStop).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        assert_eq!(waited(&agent).await?.reason, None);
        Ok(())
    });
}

#[test]
fn a_hook_is_run_by_hand() {
    play("agent_hooks_by_hand", async |scene| {
        let script = "echo one; echo two >&2; (sleep 1000 &); exit 7";
        let path = hook(scene, "connect", script)?;
        let keys = [
            ("vma.on_action.connect", path.as_str()),
            ("vma.hook.timeout", "3"),
        ];
        let agent = Agent::start(scene, "vm", &Desktop::Small, &keys).await?;
        let config = agent.config().display().to_string();
        let run = |name: &str| -> Result<_> {
            let program = scene.built("qvd-vma")?;
            scene.start(program.args(["ctl", "--config", &config, "hook", name]))
        };
        let mut by_hand = run("connect")?;
        by_hand.expect("one", WAIT).await?;
        by_hand.expect("two", WAIT).await?;
        assert_eq!(by_hand.wait(WAIT).await?.code(), Some(7));
        let mut unset = run("expire")?;
        unset.expect("hook expire is not set", WAIT).await?;
        assert_eq!(unset.wait(WAIT).await?.code(), Some(1));
        let mut unknown = run("conect")?;
        unknown
            .expect("there is no hook conect, only pre-connect, connect", WAIT)
            .await?;
        assert_eq!(unknown.wait(WAIT).await?.code(), Some(1));
        Ok(())
    });
}
