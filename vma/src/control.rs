//! The Unix socket between the daemon and a session process.
//!
//! One JSON message a packet (`SOCK_SEQPACKET`), so that there is no framing
//! to get wrong, and a descriptor can travel with the message it belongs to.
//! A daemon may meet a session process of an older or newer version: unknown
//! fields are ignored, unknown messages are skipped with a warning, and
//! [`Hello`] says the version.

mod channel;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use channel::{Channel, receive_blocking, send_blocking};

/// Version of the messages; told in [`Hello`].
pub const VERSION: u32 = 1;

/// What the daemon tells a session process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Command {
    /// First message to a new process: the session it is to run.
    Start(Box<Launch>),
    /// Serve the client's connection that comes along as a descriptor.
    Serve {
        /// Whether the carrier's greeting was said on it.
        #[serde(default)]
        greeted: bool,
        /// The number of the port it came to; goes into [`Event::Carrier`]. 0
        /// of an older daemon.
        #[serde(default)]
        port: u64,
    },
    /// Say what is not said yet; answered by [`Event::Told`].
    Tell {
        /// Goes into the answer.
        number: u64,
    },
    /// Wake the suspended nxagent with this option string.
    Wake {
        /// The whole line for the options file.
        options: String,
        /// What logs name the session from now on.
        #[serde(default)]
        name: Option<String>,
        /// The slave channel from now on.
        #[serde(default)]
        slave: Option<Slave>,
        /// The client's seat.
        #[serde(default)]
        seat: Seat,
        /// How the carrier is spoken from now on.
        #[serde(default)]
        carrier: Carrier,
    },
    /// Let the client go, or cancel a resume.
    Suspend,
    /// End the session: politely, then with force.
    Terminate,
    /// Log so from now on; to the log file that comes along as a descriptor,
    /// if there is one.
    Log {
        /// Where to and how much.
        settings: crate::log::Settings,
    },
    /// Ask whether the session may be seen; answered by [`Event::Vnc`].
    VncAsk {
        /// Goes into the answer.
        number: u64,
        /// x11vnc, which must be there.
        program: PathBuf,
        /// Whether the user is asked.
        confirm: bool,
        /// What asks him, if it is not to be found.
        command: Option<PathBuf>,
    },
    /// Show the session on the connection that comes along as a descriptor.
    VncShow {
        /// Of the question to which the answer was yes.
        number: u64,
        /// x11vnc.
        program: PathBuf,
        /// More arguments for it, by the administrator.
        arguments: Vec<String>,
    },
    /// Of a newer daemon.
    #[serde(other)]
    Unknown,
}

/// The session a process is to run. The X cookie is made by the process itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Marks the session's processes; 32 hex digits.
    pub session: String,
    /// Names the session in logs, from the client to the hooks. Of an older
    /// daemon: none, and the mark names it.
    #[serde(default)]
    pub name: Option<String>,
    /// Whom it runs as.
    pub user: User,
    /// The X display's number.
    pub display: u16,
    /// The session's own folder: sockets, options file, X authority.
    pub dir: PathBuf,
    /// The line for nxagent's options file.
    pub options: String,
    /// Path of nxagent.
    pub nxagent: PathBuf,
    /// More arguments for nxagent, by the administrator.
    pub nxagent_args: Vec<String>,
    /// The program that is the user's X session, and its arguments.
    pub x_session: Vec<String>,
    /// Environment of the X session beside what the process sets itself.
    pub environment: Vec<(String, String)>,
    /// File mode creation mask.
    pub umask: u32,
    /// The session's control group, entered before privileges are dropped.
    pub cgroup: Option<PathBuf>,
    /// The slave channel, if the session has one.
    #[serde(default)]
    pub slave: Option<Slave>,
    /// Whether systemd and PAM have made the process what it is: the user's,
    /// with an environment of its own.
    #[serde(default)]
    pub pam: bool,
    /// The client's seat.
    #[serde(default)]
    pub seat: Seat,
    /// How the carrier is spoken.
    #[serde(default)]
    pub carrier: Carrier,
}

/// How the carrier is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carrier {
    /// How long a session whose client is away stays as it is.
    pub grace: Duration,
    /// Silence after which the client is asked whether it is there.
    pub keepalive: Duration,
}

impl Default for Carrier {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(180),
            keepalive: Duration::from_secs(2),
        }
    }
}

/// What a client says of its keyboard and screen beyond nxagent's options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    /// Arguments for setxkbmap; none where nxagent's option says all.
    #[serde(default)]
    pub keyboard: Vec<String>,
    /// Dots per inch.
    #[serde(default)]
    pub dpi: Option<u16>,
}

/// The slave channel of a session, on which folders are shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slave {
    /// The program that serves a connection of it.
    pub program: PathBuf,
    /// The configuration of that program.
    pub config: Hidden,
    /// What a client must show.
    pub key: Hidden,
}

/// Text that is not shown: a secret, or what may hold one. The control socket
/// is for root and the session's user alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl Hidden {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Whom a session runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Ids of the groups that the system knows the user in; none when nobody
    /// has asked it, and the session process is to.
    #[serde(default)]
    pub known: Vec<u32>,
    /// Ids of groups beside those.
    #[serde(default)]
    pub groups: Vec<u32>,
    /// Home folder.
    pub home: PathBuf,
    /// Login shell.
    pub shell: PathBuf,
}

/// What a session process tells the daemon.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// First message on each connection.
    Hello(Hello),
    /// The state of nxagent has changed.
    Nx {
        /// The new state.
        state: NxState,
    },
    /// The answer to [`Command::VncAsk`].
    Vnc {
        /// Of the question.
        number: u64,
        /// What the user says.
        answer: Vnc,
    },
    /// The client's carrier.
    Carrier {
        /// Whether there is a connection.
        up: bool,
        /// The tokens with which it goes on, as parameters; none when there is
        /// no carrier.
        tokens: Vec<Hidden>,
        /// The number of the port to which the last connection came. 0 of an
        /// older session process.
        #[serde(default)]
        port: u64,
        /// Whether the client is there; nothing of one that has not come yet,
        /// and of an older session process.
        #[serde(default)]
        client: Option<Client>,
    },
    /// All that was to be told has been, before the answer to
    /// [`Command::Tell`].
    Told {
        /// Of the question.
        number: u64,
    },
    /// nxagent runs.
    Started {
        /// Its process id.
        nxagent: i32,
    },
    /// The session is over; the process ends after this message.
    Ended {
        /// Why, when it did not end by itself or on demand.
        reason: Option<String>,
    },
    /// Of a newer session process.
    #[serde(other)]
    Unknown,
}

/// How long the user may think about whether the session may be seen.
pub const VNC_CONFIRM: Duration = Duration::from_secs(60);

/// Whether the session may be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vnc {
    /// It may.
    Allowed,
    /// The user does not want it.
    Denied {
        /// In a sentence.
        reason: String,
    },
    /// It cannot be shown, or nobody be asked.
    Unable {
        /// In a sentence.
        reason: String,
    },
}

/// What a daemon must know to take a running session over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the process.
    pub version: u32,
    /// The session's name.
    pub session: String,
    /// Login name of its user.
    pub user: String,
    /// Its display.
    pub display: u16,
    /// The state of nxagent.
    pub state: NxState,
    /// The session process.
    #[serde(default)]
    pub pid: i32,
    /// Its process id, once it runs.
    #[serde(default)]
    pub nxagent: Option<i32>,
    /// Whether the process speaks the carrier.
    #[serde(default)]
    pub carrier: bool,
    /// Whether a client is connected that does not.
    #[serde(default)]
    pub served: bool,
}

/// Whether a session's client is there, and for how long it has been or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// It is there, and else away.
    pub there: bool,
    /// Since it came or went.
    pub seconds: u64,
}

/// The state of nxagent, as its output tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NxState {
    /// Started, or woken; does not yet listen for the client.
    Starting,
    /// Waits for the client, of a new session or of a resumed one.
    Waiting {
        /// Whether there is a desktop to lose.
        resumed: bool,
    },
    /// The client's display is in use.
    Connected,
    /// Letting the client go.
    Suspending,
    /// Without a client.
    Suspended,
    /// Ending.
    Terminating,
}
