//! What can go wrong while a test is being set up or watched.

use std::time::Duration;

/// Result of the harness's own operations.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of the harness, or of a program it watches.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program of the system is not installed.
    #[error("{program} is not installed: run `cargo xtask install` (Debian package {package})")]
    NotInstalled {
        /// The program's name.
        program: String,
        /// The Debian package which has it.
        package: String,
    },

    /// A program of this workspace has not been built.
    #[error("{program} is not built: run `cargo xtask test`, which builds the programs first")]
    NotBuilt {
        /// The program's name.
        program: String,
    },

    /// An operation of the operating system failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the file or peer it was done to.
        what: String,
        /// The reason.
        source: std::io::Error,
    },

    /// The X server refused something, or the connection to it broke.
    #[error("X display {display}: {what}")]
    X {
        /// The display's name.
        display: String,
        /// What was refused, and why.
        what: String,
    },

    /// An awaited event did not come.
    #[error("{what} did not happen within {} s{context}", limit.as_secs_f32())]
    Deadline {
        /// The awaited event.
        what: String,
        /// How long was waited.
        limit: Duration,
        /// What was seen instead, beginning with a line break, or nothing.
        context: String,
    },

    /// A program ended before the awaited event.
    #[error("{program} ended before {what}{context}")]
    Ended {
        /// The program's name.
        program: String,
        /// The awaited event.
        what: String,
        /// What the program wrote, beginning with a line break, or nothing.
        context: String,
    },

    /// Processes of a test outlived it.
    #[error("processes left running: {}", .0.join("; "))]
    LeftRunning(
        /// Process id and command line of each.
        Vec<String>,
    ),

    /// All ports or display numbers of a range are taken.
    #[error("no free {what} between {first} and {last}")]
    Exhausted {
        /// What was looked for.
        what: &'static str,
        /// First number of the range.
        first: u16,
        /// Last number of the range.
        last: u16,
    },

    /// A value handed to the harness has no meaning.
    #[error("{0}")]
    Invalid(
        /// What is wrong with it.
        String,
    ),
}

/// Puts what was being done in front of an [`std::io::Error`].
pub(crate) trait Doing<T> {
    /// `what` names the operation and the file or peer.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io {
            what: what(),
            source: source.into(),
        })
    }
}
