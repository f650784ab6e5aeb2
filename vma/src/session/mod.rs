//! The session process: `qvd-vma-session`, one a session, run as its user.
//!
//! It owns nxagent, the user's X session, the client's connection and every
//! byte of it, and outlives the daemon: a daemon that starts later connects to
//! its control socket and takes the session over. When it ends, everything it
//! started has ended.

mod asks;
mod bridge;
mod carried;
mod children;
mod client;
pub mod environment;
mod keymap;
mod nxagent;
mod privileges;
mod run;
mod seat;
mod vnc;
mod xauthority;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketFlags, accept_with};

use crate::control::{Command, Launch, Slave, receive_blocking};
use crate::log::Log;

/// How long a new session process waits for its daemon's first words.
const FIRST_WORDS: Duration = Duration::from_secs(10);

/// Runs a session. The listening control socket is standard input, so that no
/// path and no argument needs to be trusted.
///
/// # Errors
/// What kept the session from being run, in words for the daemon's log.
pub fn main(log: Log) -> anyhow::Result<()> {
    let listener = std::io::stdin().as_fd().try_clone_to_owned()?;
    let daemon = accept_within(&listener, FIRST_WORDS)?;
    let Command::Start(launch) = receive_within(&daemon, FIRST_WORDS)? else {
        anyhow::bail!("first message is not a start");
    };
    log.set_session(launch.name.as_deref().or(Some(&launch.session)));
    privileges::become_session(&launch)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(run::Session::run(*launch, listener, daemon, log)))
}

/// The port on which nxagent takes requests to the client. No Unix socket: a
/// process that nxagent forks at its start takes that away again (seen).
#[must_use]
pub fn nx_slave_port(display: u16) -> u16 {
    asks::FIRST_NX_PORT.saturating_add(display)
}

/// Where a session keeps its things, below [`Launch::dir`].
pub mod paths {
    use std::path::{Path, PathBuf};

    /// What the client's seat adds to the display's resources.
    #[must_use]
    pub fn resources(dir: &Path) -> PathBuf {
        dir.join("resources")
    }

    /// The socket on which nxagent awaits the client.
    #[must_use]
    pub fn nx_socket(dir: &Path) -> PathBuf {
        dir.join("nx.sock")
    }

    /// The socket on which programs are told whether the client's carrier has a
    /// connection.
    #[must_use]
    pub fn road(dir: &Path) -> PathBuf {
        dir.join("road.sock")
    }

    /// nxagent's options file, read again on resume.
    #[must_use]
    pub fn options(dir: &Path) -> PathBuf {
        dir.join("nxagent.conf")
    }

    /// The X authority file with the display's cookie.
    #[must_use]
    pub fn xauthority(dir: &Path) -> PathBuf {
        dir.join("Xauthority")
    }

    /// `XDG_RUNTIME_DIR`, where the system has none.
    #[must_use]
    pub fn runtime(dir: &Path) -> PathBuf {
        dir.join("runtime")
    }

    /// The key of the slave channel, without a line end.
    #[must_use]
    pub fn slave_key(dir: &Path) -> PathBuf {
        dir.join("slave.conf")
    }

    /// The configuration of the slave server.
    #[must_use]
    pub fn slave_config(dir: &Path) -> PathBuf {
        dir.join("slaveserver.conf")
    }

    /// The program nxagent runs for its dialogs: this one by another name.
    #[must_use]
    pub fn dialog(dir: &Path) -> PathBuf {
        dir.join(crate::dialog::NAME)
    }
}

/// Whether a peer may command this session: root, or the user the process
/// runs as (who could end it anyway).
fn may_command(socket: &OwnedFd) -> io::Result<bool> {
    let peer = rustix::net::sockopt::socket_peercred(socket)?.uid;
    Ok(peer.is_root() || peer == rustix::process::geteuid())
}

fn accept_within(listener: &OwnedFd, time: Duration) -> io::Result<OwnedFd> {
    readable_within(listener, time)?;
    let socket = accept_with(listener, SocketFlags::CLOEXEC)?;
    if may_command(&socket)? {
        Ok(socket)
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "control socket: peer refused",
        ))
    }
}

fn receive_within(socket: &OwnedFd, time: Duration) -> io::Result<Command> {
    readable_within(socket, time)?;
    receive_blocking(socket.as_fd())
}

fn readable_within(fd: &OwnedFd, time: Duration) -> io::Result<()> {
    let timeout = Timespec::try_from(time).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout))? {
        0 => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the daemon says nothing",
        )),
        _ => Ok(()),
    }
}

/// What the user sees of a session that could not be started.
pub(crate) fn cannot_start(program: &std::path::Path, error: &io::Error, hint: &str) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("{} is not installed: {hint}", program.display()),
        _ => format!("{} cannot be started: {error}", program.display()),
    }
}

/// Writes down what the slave server reads: a resume has another key.
pub(crate) fn prepare_slave(dir: &Path, slave: &Slave) -> io::Result<()> {
    let config = slave.config.expose();
    crate::files::write_private(&paths::slave_config(dir), config.as_bytes())?;
    crate::files::write_private(&paths::slave_key(dir), slave.key.expose().as_bytes())
}

/// The launch's session folder is the user's own before anything is put there.
pub(crate) fn prepare_dir(launch: &Launch) -> anyhow::Result<()> {
    use anyhow::Context as _;
    let dir = &launch.dir;
    let files = || format!("session folder {}", dir.display());
    xauthority::write(&paths::xauthority(dir), launch.display).with_context(files)?;
    crate::files::write_private(&paths::options(dir), launch.options.as_bytes())
        .with_context(files)?;
    if let Some(slave) = &launch.slave {
        prepare_slave(dir, slave).with_context(files)?;
    }
    let program = std::env::current_exe()?;
    let dialog = paths::dialog(dir);
    let _ = std::fs::remove_file(&dialog);
    std::os::unix::fs::symlink(program, dialog).with_context(files)?;
    let _ = std::fs::remove_file(paths::nx_socket(dir));
    Ok(())
}
