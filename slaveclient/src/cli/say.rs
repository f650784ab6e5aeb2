//! What the user is told.

use std::io::{self, Write as _};

/// Tells the user what happens, unless he wants to hear nothing.
#[derive(Clone, Copy)]
pub(super) struct Say {
    pub(super) quiet: bool,
}

impl Say {
    /// Something is the case from now on.
    pub(super) fn line(self, line: &str) {
        if !self.quiet {
            print(line);
        }
    }

    /// Something is under way, and takes a moment.
    pub(super) fn step(self, line: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

/// What was asked for.
pub(super) fn print(text: &str) {
    // Where nobody reads, nobody is told.
    let mut out = io::stdout();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
