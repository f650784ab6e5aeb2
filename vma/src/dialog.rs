//! The program nxagent runs when it has a question for the user.
//!
//! nxagent calls `$NX_CLIENT --dialog TYPE …`, for instance when the user
//! closes the session's window. There is nobody to draw the question on the
//! user's machine, so it is answered as the reference does: the session is
//! suspended, and nothing of the user's work is lost.

use std::process::ExitCode;

use rustix::process::{Signal, getppid, kill_process};

/// The name under which this program is nxagent's dialog.
pub const NAME: &str = "nxdiag";

/// Answers a dialog: suspends the session, except for a menu that only drops
/// down.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    let mut dialog = arguments.iter().skip_while(|a| *a != "--dialog");
    let kind = dialog.nth(1).map_or("", String::as_str);
    if kind == "pulldown" {
        return ExitCode::SUCCESS;
    }
    match getppid() {
        Some(nxagent) if kill_process(nxagent, Signal::HUP).is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
