use std::io;
use std::path::PathBuf;

use qvd_http1::Status;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No client is connected.
    #[error("no session is running: {0}")]
    NoSession(String),
    /// Several clients are connected.
    #[error("several sessions are running, choose one with --session: {}", .0.join(", "))]
    SeveralSessions(Vec<String>),
    /// The session's port cannot be reached, or broke off.
    #[error("the session's slave channel: {0}")]
    Channel(#[source] io::Error),
    /// The other end did not answer in time.
    #[error("the virtual machine does not answer: are shared folders enabled there?")]
    Silent,
    /// The other end spoke no HTTP.
    #[error("the virtual machine's answer: {0}")]
    Answer(#[from] qvd_http1::Error),
    /// It has another key.
    #[error("the virtual machine refuses the session's key: {0}")]
    Key(String),
    /// The mount point there is in use.
    #[error("a folder of this name is shared already, choose another with --name")]
    Conflict,
    /// There is no such folder or file there.
    #[error("the virtual machine: {0}")]
    NotFound(String),
    /// Another refusal.
    #[error("the virtual machine refused, {status}: {text}")]
    Refused {
        /// The status.
        status: Status,
        /// What it said.
        text: String,
    },
    /// The folder cannot be shared.
    #[error("{0}")]
    Folder(#[from] qvd_share::serve::Error),
    /// It cannot be mounted here.
    #[error("{0}")]
    Mount(#[from] qvd_share::mount::Error),
    /// A file of ours.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no place to mount on.
    #[error("{}: {why}", path.display())]
    Point {
        /// Which.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// The session ended while a folder of its was mounted here.
    #[error("the session's slave channel is gone")]
    Lost,
    /// What was named is not shared.
    #[error("{0} is not shared")]
    NotShared(String),
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// The exit status that tells it, of [`STATUSES`].
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::NoSession(_) | Self::SeveralSessions(_) => 3,
            Self::Key(_) | Self::Refused { .. } => 4,
            Self::Conflict => 5,
            Self::Folder(qvd_share::serve::Error::Open { .. })
            | Self::NotFound(_)
            | Self::File { .. }
            | Self::Point { .. }
            | Self::NotShared(_) => 6,
            Self::Channel(_) | Self::Silent | Self::Answer(_) | Self::Lost => 7,
            _ => 1,
        }
    }
}

/// The exit statuses of `qvd-slaveclient` and what they mean. They do not
/// change.
pub const STATUSES: &[(u8, &str)] = &[
    (0, "done, or ended as asked"),
    (1, "failed otherwise"),
    (2, "the command line cannot be understood"),
    (
        3,
        "no session is running, or it is not clear which is meant",
    ),
    (4, "the virtual machine refuses"),
    (5, "the name is in use in the session"),
    (6, "there is no such folder, file or share"),
    (7, "the slave channel failed"),
];
