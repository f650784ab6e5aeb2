//! What root, or the agent's own user, may ask the daemon on the machine
//! itself: a Unix socket in `path.run`, and the command line's end of it.
//!
//! One JSON message a packet, as on the [session's](crate::control) socket. It
//! is not the RPC port: nobody from outside gets here, and it works whatever
//! key or certificate that port asks for.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::{Deserialize, Serialize};

use crate::control::{Client, receive_blocking, send_blocking};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Ask {
    /// How things are.
    Status,
    /// Suspend the session, and wait until it is.
    Suspend,
    /// Stop the session, and wait until it is.
    Stop,
    /// Read the configuration again.
    Reload,
    /// Run a hook with the arguments it would get now.
    Hook {
        /// Its name: `connect`, `expire`, `mount_home` and so on.
        name: String,
    },
    /// Of a newer program.
    #[serde(other)]
    Unknown,
}

/// What is answered: any number of lines, then one of the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// How things are.
    Status(Box<Status>),
    /// To be shown.
    Line {
        /// Without its end.
        text: String,
    },
    /// It is done.
    Done,
    /// It is not.
    Failed {
        /// Why, in a sentence.
        reason: String,
    },
    /// A program was run, and ended so.
    Exit {
        /// Its status, if it ended by itself.
        code: Option<u8>,
    },
    /// Of a newer daemon.
    #[serde(other)]
    Unknown,
}

/// How things are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The session's state, in the words of `x_state`.
    pub state: String,
    /// Why the last start or resume failed.
    pub reason: Option<String>,
    /// Since when it is in that state, as RFC 3339 has it.
    pub since: String,
    /// Login name of the session's user.
    pub user: Option<String>,
    /// The session's name, as in the log.
    pub session: Option<String>,
    /// Process id of nxagent.
    pub nxagent_pid: Option<i32>,
    /// Number of the session's X display.
    pub display: u16,
    /// The session's client, where it is known whether it is there: on the
    /// carrier it may be away for a while. Nothing of an older daemon or
    /// session process.
    #[serde(default)]
    pub client: Option<Client>,
    /// Process id of the daemon.
    pub daemon_pid: u32,
    /// Whom the daemon runs as.
    pub daemon_uid: u32,
    /// The daemon's version.
    pub version: String,
    /// How long it has run, in seconds.
    pub uptime: u64,
    /// The configuration file it reads.
    pub config: PathBuf,
    /// Where it takes calls.
    pub rpc: String,
}

/// Asks the daemon; its lines are given to `show` as they come.
///
/// # Errors
/// When no daemon listens, one does not answer in time, or it refuses.
pub fn ask(
    socket: &Path,
    ask: &Ask,
    within: Duration,
    mut show: impl FnMut(&str),
) -> io::Result<Answer> {
    let deadline = Instant::now() + within;
    let way = connect_to(socket)?;
    send_blocking(way.as_fd(), ask)?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if !readable(&way, left)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match receive_blocking(way.as_fd())? {
            Answer::Line { text } => show(&text),
            answer => return Ok(answer),
        }
    }
}

fn connect_to(path: &Path) -> io::Result<OwnedFd> {
    let kind = SocketType::SEQPACKET;
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn readable(fd: &OwnedFd, within: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(within).map_err(io::Error::other)?;
    Ok(poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout))? > 0)
}
