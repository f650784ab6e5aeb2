//! The session process as a transient service of systemd.
//!
//! Where systemd runs, it opens a PAM session for the user: he gets logind's
//! session, `XDG_RUNTIME_DIR`, his own systemd with its D-Bus, the limits and
//! whatever else the PAM service has. The service is not the daemon's: it goes
//! on when that is started anew, and when its main process ends, so does all
//! of it.
//!
//! `systemd-run` asks for it, rather than the daemon itself over D-Bus: it is
//! a part of systemd, hands three descriptors over (`--pipe`), and is gone as
//! soon as the session process has said hello. A D-Bus library would stay in
//! the daemon's memory for one call in each session.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Pid;

use crate::control::Launch;
use crate::procs::MARK;
use crate::session::environment;

/// Is there exactly where systemd is the init.
const SYSTEMD: &str = "/run/systemd/system";

/// The program that asks systemd for a service.
const ASKER: &str = "/usr/bin/systemd-run";

/// Where PAM looks for its services.
const PAM: [&str; 2] = ["/etc/pam.d", "/usr/lib/pam.d"];

/// The PAM service of sessions.
const OWN: &str = "qvd-vma";

/// What is taken in its place: every system has it.
const COMMON: &str = "login";

/// systemd's exit status for a service whose PAM session was refused.
const REFUSED_BY_PAM: i32 = 224;

/// What a session's service is like. It is ended by its main process, whatever
/// else dies; and what is usual for services is not for a desktop.
const PROPERTIES: [&str; 7] = [
    "KillMode=control-group",
    "SendSIGKILL=yes",
    "TimeoutStopSec=20",
    "OOMPolicy=continue",
    "IgnoreSIGPIPE=no",
    "TasksMax=infinity",
    "After=systemd-logind.service systemd-user-sessions.service dbus.service",
];

/// How a session process is started by systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Name of the unit.
    pub unit: String,
    /// PAM service.
    pam: &'static str,
}

impl Service {
    /// The service to be made for a session; `None` where systemd does not run
    /// or cannot be asked.
    pub fn for_session(session: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new(SYSTEMD).is_dir() {
            return None;
        }
        if !Path::new(ASKER).is_file() {
            tracing::warn!("{ASKER} is not installed: the user gets no session of logind");
            return None;
        }
        let installed = |name: &str| PAM.iter().any(|dir| Path::new(dir).join(name).is_file());
        let pam = if installed(OWN) {
            OWN
        } else {
            tracing::warn!("the PAM service {OWN} is not installed, {COMMON} is taken");
            COMMON
        };
        Some(Self {
            unit: format!("qvd-session-{session}.service"),
            pam,
        })
    }

    /// The command that has systemd start the session process, with this
    /// process's variables and standard streams.
    pub fn command(&self, launch: &Launch, log: &str) -> Command {
        let (program, arguments) = session_program();
        let mut command = Command::new(ASKER);
        command
            .env_clear()
            // So that the daemon that comes next knows it for what it is.
            .env(MARK, &launch.session)
            .args(["--quiet", "--collect", "--pipe", "--service-type=exec"])
            .arg(format!("--unit={}", self.unit))
            .arg(format!("--description=QVD session of {}", launch.user.name))
            .arg(format!("--uid={}", launch.user.name))
            .arg(format!("--property=PAMName={}", self.pam));
        for property in PROPERTIES {
            command.arg(format!("--property={property}"));
        }
        if !launch.user.groups.is_empty() {
            let groups: Vec<String> = launch.user.groups.iter().map(u32::to_string).collect();
            command.arg(format!(
                "--property=SupplementaryGroups={}",
                groups.join(" ")
            ));
        }
        let variables = environment::own(launch).into_iter().chain([
            (MARK.to_owned(), launch.session.clone()),
            (crate::log::VARIABLE.to_owned(), log.to_owned()),
            ("XDG_SESSION_TYPE".to_owned(), "x11".to_owned()),
            ("XDG_SESSION_CLASS".to_owned(), "user".to_owned()),
        ]);
        for (name, value) in variables {
            command.arg(format!("--setenv={name}={value}"));
        }
        command.arg("--").arg(program).args(arguments);
        command
    }
}

/// The control group of a session process, which is the scope that logind has
/// made for the session; `None` when it cannot be killed as a whole.
pub fn cgroup(process: Pid) -> Option<PathBuf> {
    let path = format!("/proc/{}/cgroup", process.as_raw_nonzero());
    let own = fs::read_to_string(path).ok()?;
    let group = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mine = group.ends_with(".scope") || group.contains("qvd-session-");
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .map(|root| Path::new(root).join(group))
        .find(|group| mine && group.join("cgroup.kill").exists())
}

/// Why a session that ended before its process said hello did so.
pub fn failure(unit: &str, user: &str, code: i32) -> Option<String> {
    match code {
        0 => None,
        REFUSED_BY_PAM => Some(format!("PAM refuses a session to user {user}")),
        code => Some(format!(
            "systemd could not start {unit}: exit status {code}"
        )),
    }
}

/// The program of a session process and its arguments: the small one beside
/// our own, or our own where that is installed alone.
pub fn session_program() -> (PathBuf, &'static [&'static str]) {
    let own = own_program();
    let small = own.with_file_name("qvd-vma-session");
    if small.is_file() {
        (small, &[])
    } else {
        (own, &["session"])
    }
}

/// The program of this process, by a path that another process can follow.
/// After an upgrade it is the new one.
fn own_program() -> PathBuf {
    let Ok(own) = std::env::current_exe() else {
        return PathBuf::from("/proc/self/exe");
    };
    if own.exists() {
        return own;
    }
    let text = own.to_string_lossy();
    let replaced = text.strip_suffix(" (deleted)").map(PathBuf::from);
    replaced
        .filter(|path| path.exists())
        .unwrap_or_else(|| PathBuf::from("/proc/self/exe"))
}
