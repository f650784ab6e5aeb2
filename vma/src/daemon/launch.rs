//! Starting a session process.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use qvd_config::VmaConfig;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

use super::record::Record;
use super::service::{Service, session_program};
use super::shares::Shares;
use crate::control::{Carrier, Launch, User};
use crate::log::Log;
use crate::parameters::{AUDIO_PORTS, PRINTING_PORTS, SessionSpec};
use crate::procs::MARK;
use crate::provision::program::Program;
use crate::session::paths::nx_socket;
use crate::settings::SessionPaths;

/// Daemons that may be connecting to a session process at once: the one of
/// the moment and the next.
const BACKLOG: i32 = 4;

/// How long it may take to unmount what a user has left: it is lazy.
const UNMOUNT: Duration = Duration::from_secs(2);

/// What a session is started from.
pub struct Plan<'a> {
    /// The agent's configuration.
    pub config: &'a VmaConfig,
    /// Where the session's files are.
    pub paths: &'a SessionPaths,
    /// What the start asked for.
    pub spec: &'a SessionSpec,
    /// Whom it runs as.
    pub user: User,
    /// The log it writes to as well.
    pub log: &'a Log,
}

/// A session process that was started and has not been told anything yet.
pub struct Started {
    /// What the next daemon is to know.
    pub record: Record,
    /// What the process is to be told.
    pub launch: Launch,
    /// The connection to it.
    pub control: OwnedFd,
    /// The process.
    pub child: Child,
}

/// Starts a session process.
///
/// # Errors
/// One sentence; nothing is left behind.
pub fn start(plan: Plan<'_>) -> Result<Started, String> {
    let paths = plan.paths;
    try_start(plan).inspect_err(|_| clear(paths))
}

fn try_start(plan: Plan<'_>) -> Result<Started, String> {
    let Plan {
        config,
        paths,
        spec,
        user,
        log,
    } = plan;
    let display = config.nx.display.number();
    let options = spec.options_line(&nx_socket(&paths.dir), display)?;
    clear(paths);
    make_dir(&paths.dir, &user).map_err(|e| fault(&paths.dir, &e))?;
    make_x11_dir();
    let session = random_name()?;
    let service = Service::for_session(&session);
    let cgroup = match service {
        Some(_) => None,
        None => make_cgroup(&session),
    };
    let listener = listen_on(&paths.control).map_err(|e| fault(&paths.control, &e))?;
    let command = &config.command;
    let x_session = command.x_session.as_path().display().to_string();
    let launch = Launch {
        session: session.clone(),
        name: spec.session.clone(),
        display,
        dir: paths.dir.clone(),
        options,
        nxagent: command.nxagent.as_path().to_owned(),
        nxagent_args: command.nxagent_args.as_slice().to_vec(),
        x_session: std::iter::once(x_session)
            .chain(command.x_session_args.as_slice().iter().cloned())
            .collect(),
        environment: environment(config, spec),
        umask: config.user.umask.bits().into(),
        cgroup: cgroup.clone(),
        slave: super::slave::of(config, spec),
        pam: service.is_some(),
        seat: spec.seat.clone(),
        carrier: carrier(config),
        user,
    };
    let child = spawn(&launch, service.as_ref(), listener, log)
        .map_err(|e| format!("session process: {e}"))?;
    let pid = i32::try_from(child.id()).map_err(|_| "session process: odd number")?;
    let record = Record {
        session,
        name: launch.name.clone(),
        user: launch.user.name.clone(),
        pid,
        cgroup,
        unit: service.map(|service| service.unit),
        shares: Shares::of(config, launch.slave.as_ref(), &launch.user),
    };
    record
        .write(&paths.record)
        .map_err(|e| fault(&paths.record, &e))?;
    let control = connect_to(&paths.control).map_err(|e| fault(&paths.control, &e))?;
    Ok(Started {
        record,
        launch,
        control,
        child,
    })
}

/// How the session process speaks the carrier.
pub fn carrier(config: &VmaConfig) -> Carrier {
    Carrier {
        grace: Duration::from_secs(config.carrier.grace.number().into()),
        keepalive: Duration::from_secs(config.carrier.keepalive.number().into()),
    }
}

/// What the agent itself says of the session's environment.
fn environment(config: &VmaConfig, spec: &SessionSpec) -> Vec<(String, String)> {
    let mut environment = vec![("LANG".to_owned(), config.default.lang.to_string())];
    let zones = Path::new("/usr/share/zoneinfo");
    // Of a zone that the image does not know, programs would make UTC.
    if let Some(zone) = spec.timezone.as_ref().filter(|z| zones.join(z).is_file()) {
        environment.push(("TZ".to_owned(), zone.clone()));
    }
    let display = config.nx.display.number();
    if config.channel.audio {
        let port = display.saturating_add(AUDIO_PORTS);
        environment.push(("PULSE_SERVER".to_owned(), format!("tcp:localhost:{port}")));
    }
    if config.channel.printing {
        let port = display.saturating_add(PRINTING_PORTS);
        environment.push(("CUPS_SERVER".to_owned(), format!("localhost:{port}")));
    }
    environment
}

/// Connects to the control socket of a session process.
///
/// # Errors
/// When there is none, or nobody listens on it.
pub fn connect_to(path: &Path) -> io::Result<OwnedFd> {
    let socket = unix_socket()?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Removes the files of a session.
pub fn clear(paths: &SessionPaths) {
    let _ = fs::remove_file(&paths.control);
    let _ = fs::remove_file(&paths.record);
    unmount_below(&paths.dir);
    let _ = fs::remove_dir_all(&paths.dir);
}

/// Takes away what the user's programs have mounted in his runtime folder
/// (FUSE), and nobody serves any more. By a program, since the daemon itself
/// has not the capability; nearly always there is nothing to do.
fn unmount_below(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let places: Vec<PathBuf> = places
        .map(|place| place.replace("\\040", " ").into())
        .filter(|place: &PathBuf| place.starts_with(dir))
        .collect();
    // What was mounted last may be on what was mounted before.
    for place in places.iter().rev() {
        let umount = Program::new("umount").args(["--lazy", "--no-canonicalize"]);
        if let Err(error) = umount.arg(place).limit(UNMOUNT).run() {
            tracing::warn!("{error}");
        }
    }
}

/// Removes what an nxagent that was killed leaves of its display. Only for a
/// display whose session is known to be gone.
pub fn clear_display(display: u16) {
    let _ = fs::remove_file(format!("/tmp/.X11-unix/X{display}"));
    let _ = fs::remove_file(format!("/tmp/.X{display}-lock"));
}

fn fault(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// A name that nobody can guess; 32 hex digits.
pub(super) fn random_name() -> Result<String, String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| format!("no randomness: {e}"))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// The session's folder is its user's alone.
fn make_dir(dir: &Path, user: &User) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(dir)?;
    if rustix::process::geteuid().is_root() {
        chown(dir, Some(user.uid), Some(user.gid))?;
    }
    Ok(())
}

/// nxagent does not make the folder of X sockets (seen), and in a container
/// without systemd nobody else does.
fn make_x11_dir() {
    let dir = Path::new("/tmp/.X11-unix");
    if rustix::process::geteuid().is_root() && fs::DirBuilder::new().mode(0o700).create(dir).is_ok()
    {
        let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o1777));
    }
}

fn listen_on(path: &Path) -> io::Result<OwnedFd> {
    let socket = unix_socket()?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn unix_socket() -> io::Result<OwnedFd> {
    let kind = SocketType::SEQPACKET;
    Ok(socket_with(
        AddressFamily::UNIX,
        kind,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

fn spawn(
    launch: &Launch,
    service: Option<&Service>,
    listener: OwnedFd,
    log: &Log,
) -> io::Result<Child> {
    let log_settings = serde_json::to_string(&log.settings())?;
    let mut command = match service {
        Some(service) => service.command(launch, &log_settings),
        None => {
            let (program, arguments) = session_program();
            let mut command = Command::new(program);
            command
                .args(arguments)
                .env_clear()
                .env(MARK, &launch.session)
                .env(crate::log::VARIABLE, log_settings);
            command
        }
    };
    command
        .stdin(Stdio::from(listener))
        .stdout(Stdio::null())
        .spawn()
}

/// A control group for the session below the daemon's own, where the system
/// lets us make one.
fn make_cgroup(session: &str) -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .find_map(|root| {
            let root = Path::new(root);
            // Only the unified hierarchy can kill a group.
            if !root.join("cgroup.controllers").exists() {
                return None;
            }
            let group = root.join(path).join(format!("qvd-session-{session}"));
            fs::create_dir(&group).ok()?;
            Some(group)
        })
}
