//! How a hook fails.

use std::path::PathBuf;
use std::time::Duration;

use super::Hook;

/// A hook failed. Its text is for the user's screen, and for the log.
#[derive(Debug, thiserror::Error)]
#[error("hook {}: {}: {why}", .hook.name(), .program.display())]
pub struct Failure {
    /// Which.
    pub hook: Hook,
    /// What was run, or was to be.
    pub program: PathBuf,
    /// Why.
    pub why: Why,
}

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It may not be run, and was not.
    #[error("{0}")]
    Refused(String),
    /// It could not be started.
    #[error("cannot be run: {0}")]
    Start(#[source] std::io::Error),
    /// It ended with this status, and this was the last line it printed.
    #[error("exited with status {status}{}", last(.words))]
    Exit {
        /// The status.
        status: i32,
        /// The last line.
        words: Option<String>,
    },
    /// A signal ended it.
    #[error("was ended by signal {signal}{}", last(.words))]
    Signal {
        /// The signal's number.
        signal: i32,
        /// The last line.
        words: Option<String>,
    },
    /// It did not end in time and was killed.
    #[error("did not end within {} s", .0.as_secs_f32())]
    Time(Duration),
    /// What it was run for was given up, and it was killed.
    #[error("was ended, since the session is stopped")]
    CutShort,
}

fn last(words: &Option<String>) -> String {
    let after = |words: &String| format!(": {words}");
    words.as_ref().map(after).unwrap_or_default()
}
