use std::io;
use std::path::PathBuf;

/// Why the server cannot run, or cannot do what it was told on its command
/// line. Refusals of clients are [`qvd_broker::Refusal`]s.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The inventory file is not as it should be.
    #[error("inventory {}:{line}: {reason}", file.display())]
    Inventory {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A certificate or key cannot be used.
    #[error("{}: {reason}", file.display())]
    Tls {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read, written or watched.
    #[error("cannot {doing} {}: {source}", file.display())]
    File {
        /// `read`, `write`, `watch`.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Host and port as configured.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// A password cannot be hashed.
    #[error("cannot hash the password: {0}")]
    Hash(String),
    /// The system gave no random bytes, threads or signals.
    #[error("{doing}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// A word for scripts and logs that stays the same between versions.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Inventory { .. } => "inventory",
            Self::Tls { .. } => "tls",
            Self::File { .. } => "file",
            Self::Listen { .. } => "listen",
            Self::Hash(_) => "hash",
            Self::System { .. } => "system",
        }
    }

    /// The exit status of the program: 78 (as in sysexits.h) where a file the
    /// administrator wrote has to be changed, otherwise 1.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Inventory { .. } | Self::Tls { .. } => 78,
            _ => 1,
        }
    }

    pub(crate) fn file(doing: &'static str, file: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File {
            doing,
            file: file.into(),
            source,
        }
    }
}
