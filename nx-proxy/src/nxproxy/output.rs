//! What nxproxy says, read line by line. No I/O.
//!
//! nxproxy 3.5.99.26 exits with 0 whatever happened, so that its words are the
//! only account of how a session went.

use std::collections::VecDeque;

/// Longest line kept, in bytes; the rest of a longer one is dropped.
const MAX_LINE: usize = 1024;

/// Lines kept while nobody asks for them.
const MAX_LINES: usize = 256;

/// Faults kept for the account of the end.
const MAX_FAULTS: usize = 8;

/// Cuts nxproxy's output into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    ready: VecDeque<String>,
}

impl Lines {
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.end_line();
            } else if self.line.len() < MAX_LINE {
                self.line.push(*byte);
            }
        }
    }

    /// The output has ended; a last line without its end counts.
    pub(crate) fn receive_end(&mut self) {
        self.end_line();
    }

    pub(crate) fn poll(&mut self) -> Option<String> {
        self.ready.pop_front()
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        let line: String = line
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let line = line.trim();
        if !line.is_empty() && self.ready.len() < MAX_LINES {
            self.ready.push_back(line.to_owned());
        }
        self.line.clear();
    }
}

/// What a line means for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The two proxies understand each other.
    Negotiated,
    /// The slave channel's socket takes connections.
    SlaveListening,
    /// The display has accepted the session.
    Started,
    /// The session is being closed.
    Ending,
    /// It is closed; the process still takes a second or two to go.
    Ended,
    /// The display refused the session. nxproxy would go on regardless.
    DisplayRefused,
}

/// What nxproxy has told of a session so far.
#[derive(Debug, Default)]
pub(crate) struct Account {
    started: bool,
    ended: bool,
    display_refused: bool,
    faults: Vec<String>,
}

/// What nxproxy's words say about the end of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Closed by the agent.
    Closed,
    /// Closed by the agent before it was up.
    ClosedEarly,
    /// The connection broke.
    Lost(String),
    /// The peer did not speak NX as expected.
    NotUnderstood(String),
    /// The display is not there.
    DisplayMissing(String),
    /// The display refused.
    DisplayRefused,
    /// Another fault.
    Failed(String),
    /// It broke off without a word.
    Silent,
}

impl Account {
    /// Takes a line, and says what it means if it means something.
    pub(crate) fn take(&mut self, line: &str) -> Option<Step> {
        if let Some(fault) = line.strip_prefix("Error: ") {
            if self.faults.len() < MAX_FAULTS {
                self.faults.push(fault.to_owned());
            }
            return None;
        }
        if line == "Info: Connection with remote proxy completed." {
            Some(Step::Negotiated)
        } else if line.starts_with("Info: Listening to slave connections on port ") {
            Some(Step::SlaveListening)
        } else if line == "Info: Established X server connection." {
            self.started = true;
            Some(Step::Started)
        } else if line.starts_with("Session: Terminating session at ") {
            Some(Step::Ending)
        } else if line.starts_with("Session: Session terminated at ") {
            self.ended = true;
            Some(Step::Ended)
        } else if line.starts_with("Warning: X connection failed with error ") {
            self.display_refused = true;
            Some(Step::DisplayRefused)
        } else {
            None
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let fault = |part: &str| self.faults.iter().find(|fault| fault.contains(part));
        if self.display_refused && !self.started {
            return Verdict::DisplayRefused;
        }
        if let Some(fault) = fault("Invalid display").or_else(|| fault("Can't open display")) {
            return Verdict::DisplayMissing(fault.clone());
        }
        if !self.started && fault("The remote NX proxy closed the connection").is_some() {
            return Verdict::ClosedEarly;
        }
        if let Some(broken) = fault("Failure reading from the peer proxy")
            .or_else(|| fault("Failure writing to the peer proxy"))
            .or_else(|| fault("Connection with remote peer broken"))
        {
            return Verdict::Lost(plain(broken));
        }
        if fault("Failure negotiating the session").is_some() {
            // The first fault says what did not fit, the later ones guess.
            let reason = self.faults.first().map(|fault| plain(fault));
            return Verdict::NotUnderstood(reason.unwrap_or_default());
        }
        match self.faults.first() {
            Some(fault) => Verdict::Failed(plain(fault)),
            None if self.ended && self.started => Verdict::Closed,
            None if self.ended => Verdict::ClosedEarly,
            None => Verdict::Silent,
        }
    }
}

/// nxproxy's sentence as part of one of ours.
fn plain(fault: &str) -> String {
    fault.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SESSION: &[u8] = include_bytes!("../../tests/data/session.log");

    fn read(chunks: &[&[u8]]) -> (Vec<Step>, Account) {
        let (mut lines, mut account, mut steps) = (Lines::default(), Account::default(), vec![]);
        for chunk in chunks {
            lines.receive(chunk);
            while let Some(line) = lines.poll() {
                steps.extend(account.take(&line));
            }
        }
        lines.receive_end();
        while let Some(line) = lines.poll() {
            steps.extend(account.take(&line));
        }
        (steps, account)
    }

    fn verdict(text: &str) -> Verdict {
        read(&[text.as_bytes()]).1.verdict()
    }

    #[test]
    fn the_recorded_session_is_read_at_every_split() {
        for at in 0..=SESSION.len() {
            let (head, tail) = SESSION.split_at(at);
            let (steps, account) = read(&[head, tail]);
            assert_eq!(
                steps,
                [
                    Step::Negotiated,
                    Step::SlaveListening,
                    Step::Started,
                    Step::Ending,
                    Step::Ended
                ],
                "split at {at}"
            );
            assert_eq!(account.verdict(), Verdict::Closed);
        }
    }

    #[test]
    fn a_broken_connection_is_told_from_a_closed_session() {
        let up = "Info: Established X server connection.\n";
        let end = "Session: Session terminated at 'now'.\n";
        assert_eq!(verdict(&format!("{up}{end}")), Verdict::Closed);
        assert_eq!(
            verdict(&format!(
                "{up}Error: Failure reading from the peer proxy.\nError: Connection with remote peer broken.\n{end}"
            )),
            Verdict::Lost("Failure reading from the peer proxy".to_owned())
        );
        assert_eq!(verdict(up), Verdict::Silent);
        assert_eq!(verdict(""), Verdict::Silent);
    }

    #[test]
    fn faults_before_the_window_are_told_apart() {
        assert_eq!(
            verdict(
                "Error: Parse error in remote options string 'HTTP/1.1 '.\nError: Failure negotiating the session in stage '7'.\n"
            ),
            Verdict::NotUnderstood("Parse error in remote options string 'HTTP/1.1 '".to_owned())
        );
        assert_eq!(
            verdict(
                "Error: The remote NX proxy closed the connection.\nError: Failure negotiating the session in stage '7'.\n"
            ),
            Verdict::ClosedEarly
        );
        assert_eq!(
            verdict("Error: Invalid display 'nonsense'.\nSession: Session terminated at 'now'.\n"),
            Verdict::DisplayMissing("Invalid display 'nonsense'.".to_owned())
        );
        assert_eq!(
            verdict(
                "Warning: X connection failed with error 'Unknown'.\nSession: Session terminated at 'now'.\n"
            ),
            Verdict::DisplayRefused
        );
    }

    #[test]
    fn endless_output_is_bounded() {
        let mut lines = Lines::default();
        lines.receive(&vec![b'x'; 10 * MAX_LINE]);
        lines.receive(b"\n");
        assert_eq!(lines.poll().unwrap().len(), MAX_LINE);
        for _ in 0..10 * MAX_LINES {
            lines.receive(b"line\n");
        }
        assert_eq!(std::iter::from_fn(|| lines.poll()).count(), MAX_LINES);
        let mut account = Account::default();
        for _ in 0..10 * MAX_FAULTS {
            account.take("Error: again");
        }
        assert_eq!(account.faults.len(), MAX_FAULTS);
    }

    proptest! {
        #[test]
        fn any_output_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let whole = read(&[&bytes]);
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            let split = read(&single);
            prop_assert_eq!(whole.0, split.0);
            prop_assert_eq!(whole.1.verdict(), split.1.verdict());
        }
    }
}
