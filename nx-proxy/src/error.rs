use std::io;
use std::path::PathBuf;

use crate::codec::CodecError;

/// Why a session could not be drawn, or ended otherwise than in order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program is not there.
    #[error(
        "{} is not installed: install the package nxproxy, or set command.nxproxy",
        program.display()
    )]
    NotInstalled {
        /// What was looked for.
        program: PathBuf,
    },
    /// There is a program, but it does not start.
    #[error("{} cannot be started: {source}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No private place for the socket to the program.
    #[error("no private directory for nxproxy's socket in {}: {source}", dir.display())]
    PrivateDir {
        /// Where it was tried.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The path of the private directory does not fit into NX options.
    #[error("directory {} cannot be used in NX options: set XDG_RUNTIME_DIR or TMPDIR", dir.display())]
    PrivateDirName {
        /// The directory.
        dir: PathBuf,
    },
    /// No display was named.
    #[error("no display: DISPLAY is not set")]
    NoDisplay,
    /// The display is not there.
    #[error("display {display} cannot be opened: {reason}")]
    DisplayMissing {
        /// Its name.
        display: String,
        /// Why.
        reason: String,
    },
    /// The display was there, and is not any more.
    #[error("display {display} closed the connection")]
    DisplayClosed {
        /// Its name.
        display: String,
    },
    /// The display is there, but nxproxy may not draw on it.
    #[error("display {display} refuses nxproxy: allow this user with `xhost +si:localuser:$USER`")]
    DisplayRefused {
        /// Its name.
        display: String,
    },
    /// The program runs but does not do its part.
    #[error("nxproxy did not connect within {seconds} seconds")]
    Silent {
        /// How long it had.
        seconds: u64,
    },
    /// The other end is no NX agent, or one of another make.
    #[error("NX proxy and agent do not understand each other: {reason}")]
    Negotiation {
        /// In the proxy's words.
        reason: String,
    },
    /// The agent sent what is no NX, or more than it may. The session on it is
    /// suspended.
    #[error("session cannot go on: {source}")]
    Damaged {
        /// What was met.
        source: CodecError,
    },
    /// The agent fell silent, or never said anything, before there was a session.
    #[error("session could not be negotiated: nothing was heard of the agent for {seconds} s")]
    Unheard {
        /// How long it had.
        seconds: u64,
    },
    /// The agent closed the connection before there was a window.
    #[error("agent closed the connection before the session was up")]
    ClosedEarly,
    /// The agent's end of what carries NX did not take it.
    #[error("VM's agent did not let the client in: {reason}")]
    NotLetIn {
        /// In its words.
        reason: String,
    },
    /// Nothing was drawn in time.
    #[error("session did not come up within {seconds} seconds")]
    NotUp {
        /// How long it had.
        seconds: u64,
    },
    /// The connection broke while the session was running.
    #[error("connection to the session was lost: {reason}")]
    Lost {
        /// What was seen.
        reason: String,
    },
    /// Somebody ended the program.
    #[error("nxproxy was killed by signal {signal}")]
    Killed {
        /// The signal.
        signal: i32,
    },
    /// The program ended by itself and out of order.
    #[error("nxproxy failed: {reason}")]
    Failed {
        /// Its last words, or its exit status.
        reason: String,
    },
    /// The operating system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
