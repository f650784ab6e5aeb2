//! Reading from the user's terminal without holding up the rest: Ctrl-C has
//! to be heard while a question is open.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::oneshot;

/// Longest line read, in bytes.
const MAX_LINE: u64 = 4096;

/// Whether there is somebody to ask: questions go to standard error, answers
/// come from standard input.
pub(super) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A line of standard input without its end; `None` at the end of input.
///
/// The thread that reads stays behind when nobody waits any more. It ends with
/// the process, which is about to end then.
pub(super) async fn line() -> io::Result<Option<String>> {
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new()
        .name("terminal".into())
        .spawn(move || {
            let mut text = String::new();
            let read = io::stdin().lock().take(MAX_LINE).read_line(&mut text);
            // Nobody may be waiting any more.
            let _ = answer.send(read.map(|length| (length > 0).then_some(text)));
        })?;
    let text = answered.await.map_err(|_| io::ErrorKind::BrokenPipe)??;
    Ok(text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// The terminal does not show what is typed, as long as this lives.
pub(super) struct Hidden(Termios);

impl Hidden {
    pub(super) fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // The end of the line is shown, so that what follows has a line of its own.
        hidden.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing put back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
