//! Whom a session runs as, and what it may do.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use qvd_rpc::SessionState;
use qvd_tests::rig::{Agent, Desktop, user_name};
use qvd_tests::{Scene, play};

use super::{Seat, WAIT, processes, session, waited};

/// A user made for a test, gone after it.
pub struct MadeUser {
    pub name: String,
    pub uid: String,
}

impl MadeUser {
    pub fn new() -> Result<Self, Box<dyn std::error::Error>> {
        // Two tests of one process have users of their own.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("qvdtest{}x{number}", std::process::id());
        let made = Command::new("useradd")
            .args(["-m", "-G", "users", &name])
            .status()?;
        assert!(made.success(), "useradd {name}");
        let id = Command::new("id").args(["-u", &name]).output()?;
        Ok(Self {
            uid: String::from_utf8(id.stdout)?.trim().to_owned(),
            name,
        })
    }
}

impl Drop for MadeUser {
    fn drop(&mut self) {
        let _ = Command::new("userdel").args(["-r", &self.name]).output();
    }
}

/// Lets another user pass through the test's folder, as through `/run/qvd`, and
/// run the session's script.
pub fn open_to_others(scene: &Scene) -> std::io::Result<()> {
    let set = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    set(scene.directory().to_owned(), 0o711)?;
    set(scene.path("vm-session"), 0o755)
}

/// What a process of a user is to have.
struct Rights {
    uid: String,
    gid: String,
    groups: BTreeSet<String>,
    home: PathBuf,
}

impl Rights {
    fn of(name: &str, uid: &str) -> std::io::Result<Self> {
        let ask = |program: &str, arguments: &[&str]| -> std::io::Result<String> {
            let output = Command::new(program).args(arguments).output()?;
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let entry = ask("getent", &["passwd", name])?;
        let groups = ask("id", &["-G", name])?;
        Ok(Self {
            uid: uid.to_owned(),
            gid: ask("id", &["-g", name])?,
            groups: groups.split(' ').map(str::to_owned).collect(),
            home: entry.split(':').nth(5).unwrap_or_default().into(),
        })
    }

    fn check(&self, pid: u32, command: &str) {
        let four = |id: &str| [id; 4].join(" ");
        assert_eq!(status_line(pid, "Uid:"), four(&self.uid), "{command}");
        assert_eq!(status_line(pid, "Gid:"), four(&self.gid), "{command}");
        let groups = status_line(pid, "Groups:");
        let mut groups: BTreeSet<String> = groups.split(' ').map(str::to_owned).collect();
        // Whether the primary one is listed too is the system's choice.
        groups.insert(self.gid.clone());
        assert_eq!(groups, self.groups, "{command}");
        // What is left of the bounding set is for programs like sudo.
        let root = self.uid == "0";
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            let none = status_line(pid, set) == "0000000000000000";
            assert!(none || root, "{command}: {set}");
        }
        assert_eq!(status_line(pid, "Umask:"), "0022", "{command}");
        let folder = fs::read_link(format!("/proc/{pid}/cwd"));
        assert_eq!(folder.ok().as_ref(), Some(&self.home), "{command}");
    }
}

fn status_line(pid: u32, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap_or_default();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// As root: a session of a user without privileges. Otherwise of the user who
/// runs the test, whose agent may not start one for anybody else.
#[test]
fn a_session_has_its_users_rights_and_no_more() {
    play("agent_user", async |scene| {
        let root = rustix::process::geteuid().is_root();
        let seat = Seat::take(scene, &Desktop::Small, &[]).await?;
        open_to_others(scene)?;
        let (name, uid, _made) = if root {
            let made = MadeUser::new()?;
            (made.name.clone(), made.uid.clone(), Some(made))
        } else {
            seat.agent
                .start_session(&[("qvd.vm.user.name", "root")])
                .await?;
            seat.becomes(SessionState::Stopped).await?;
            let reason = waited(&seat.agent).await?.reason.unwrap_or_default();
            assert!(reason.contains("runs without privileges"), "{reason}");
            (
                user_name()?,
                rustix::process::geteuid().as_raw().to_string(),
                None,
            )
        };
        let client = seat.connect(scene, &[("qvd.vm.user.name", &name)]).await?;
        seat.drawn().await?;
        let all = processes(&session(&seat.agent)?);
        assert!(all.len() >= 4, "{all:?}");
        let expected = Rights::of(&name, &uid)?;
        for (pid, command) in &all {
            expected.check(*pid, command);
        }

        // No door but the socket in the user's own folder, and the cookie.
        let x_port = 6000 + seat.agent.display();
        assert!(std::net::TcpStream::connect(("127.0.0.1", x_port)).is_err());
        assert!(std::net::TcpStream::connect(("127.0.0.1", seat.agent.x_port())).is_err());
        let stranger = scene.installed("xdpyinfo", "x11-utils")?;
        let display = format!(":{}", seat.agent.display());
        let mut stranger = scene.start(
            stranger
                .env("DISPLAY", display)
                .env("XAUTHORITY", "/nonexistent"),
        )?;
        assert!(
            !stranger.wait(WAIT).await?.success(),
            "drew without the cookie"
        );
        seat.leave().await?;
        drop(client);
        Ok(())
    });
}

/// As root, the agent itself runs as a user without privileges.
#[test]
fn an_agent_without_privileges_serves_the_user_it_runs_as() {
    play("agent_unprivileged", async |scene| {
        if !rustix::process::geteuid().is_root() {
            // Every other test of this module shows it.
            return Ok(());
        }
        let user = MadeUser::new()?;
        let mut agent = Agent::configure(scene, "vm", &Desktop::Small, &[])?;
        let given = Command::new("chown")
            .args(["-R", &user.name])
            .arg(scene.directory())
            .status()?;
        assert!(given.success());
        agent.start_daemon_as(scene, &user.name).await?;
        agent.start_session(&[("qvd.vm.user.name", "root")]).await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        let reason = waited(&agent).await?.reason.unwrap_or_default();
        assert!(reason.contains("runs without privileges"), "{reason}");
        agent
            .start_session(&[("qvd.vm.user.name", &user.name)])
            .await?;
        agent.wait_for_state(SessionState::Listening, WAIT).await?;
        let display = super::user_display(scene).await?;
        let _client = super::attach(scene, &agent, &display)?;
        agent.wait_for_state(SessionState::Connected, WAIT).await?;
        let seat = Seat { display, agent };
        seat.drawn().await?;
        let expected = Rights::of(&user.name, &user.uid)?;
        let all = processes(&session(&seat.agent)?);
        assert!(all.len() >= 4, "{all:?}");
        for (pid, command) in &all {
            expected.check(*pid, command);
        }
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn the_agents_log_is_out_of_the_reach_of_a_sessions_programs() {
    play("agent_descriptors", async |scene| {
        let script = format!(
            "sleep 4324 &\n{}",
            qvd_tests::rig::under_openbox("xclock &")
        );
        let mut seat = Seat::take(scene, &Desktop::Script(script), &[]).await?;
        let client = seat.connect(scene, &[]).await?;
        seat.drawn().await?;
        let name = session(&seat.agent)?;
        let log = fs::read_link(format!("/proc/{}/fd/2", seat.agent.daemon()?.pid()))?;
        let program = super::process_with(&name, "sleep 4324")?;
        let mut open = Vec::new();
        for entry in fs::read_dir(format!("/proc/{program}/fd"))? {
            let entry = entry?;
            open.push((entry.file_name(), fs::read_link(entry.path())?));
        }
        assert_eq!(open.len(), 3, "nothing but the standard streams: {open:?}");
        assert!(
            open.iter().all(|(_, to)| *to != log),
            "{open:?} has {log:?}"
        );
        drop(client);
        seat.leave().await?;
        Ok(())
    });
}

#[test]
fn a_run_folder_that_the_user_cannot_reach_is_named() {
    play("agent_unreachable", async |scene| {
        if !rustix::process::geteuid().is_root() {
            // An agent's own user reaches his own folders.
            return Ok(());
        }
        let user = MadeUser::new()?;
        let agent = Agent::start(scene, "vm", &Desktop::Small, &[]).await?;
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(scene.directory(), private)?;
        agent
            .start_session(&[("qvd.vm.user.name", &user.name)])
            .await?;
        agent.wait_for_state(SessionState::Stopped, WAIT).await?;
        let reason = waited(&agent).await?.reason.unwrap_or_default();
        assert!(reason.starts_with("session folder /"), "{reason}");
        assert!(reason.contains("ermission denied"), "{reason}");
        Ok(())
    });
}
