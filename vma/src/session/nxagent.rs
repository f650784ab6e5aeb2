//! nxagent as the session process sees it: lines of output and timers in,
//! states and signals out. No process and no clock in here.

use std::time::Duration;

use crate::control::NxState;

/// How long nxagent may take to show that it has woken before it is poked.
/// A signal that reaches it right after it was suspended can stay unnoticed
/// until some X client is active (seen): a connection to its display is.
pub const POKE_AFTER: Duration = Duration::from_millis(250);

/// How often it is poked to notice that its client is gone. It reads that from
/// the connection at once, but suspends only when its own loop comes by, which
/// without any busy program can take minutes (seen). One that has not noticed
/// by then never will: on each resume nxagent asks for its window's attributes,
/// and when the client is lost before the answer it spins for ever in the
/// library's wait for it (seen), deaf to signals and to the user's programs.
const NOTICE_POKES: u32 = 120;

/// After so many pokes in vain the signal is sent again: one that comes just as
/// nxagent begins to wait, or as its client is lost, can have no effect at all
/// (seen).
const SIGNAL_AGAIN: u32 = 6;

/// How many times it is poked, after it was asked to suspend, before its client
/// is dropped: one that is still being drawn to, or does not read, can hold a
/// suspend up for 5 s and longer (seen), a lost client does not.
const PATIENCE: u32 = 8;

/// Longest complaint of nxagent kept, in characters.
const MAX_COMPLAINT: usize = 160;

/// What is to be done about nxagent.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell the daemon.
    Report(NxState),
    /// Send the signal that suspends a started nxagent, wakes a suspended one
    /// and makes a waiting one give up.
    Hangup,
    /// Send the signal that terminates; a resuming nxagent only returns to
    /// suspended on it (seen).
    Terminate,
    /// Connect to its display and close again.
    Poke,
    /// Call [`NxAgent::poke`] after [`POKE_AFTER`].
    ArmPoke,
    /// Close the client's connection.
    DropClient,
    /// It is lost, end the session.
    GiveUp,
    /// The display is up for the first time: start the user's X session.
    StartXSession,
}

/// The state of one nxagent.
#[derive(Debug)]
pub struct NxAgent {
    state: NxState,
    /// Whether it has shown a desktop: there is something to suspend.
    has_desktop: bool,
    /// Woken, and no sign of it yet.
    waking: bool,
    /// Pokes that are left for it to notice that its client is gone.
    noticing: u32,
    /// Asked to suspend, and poked so many times since.
    leaving: Option<u32>,
    terminating: bool,
    /// The first line since the last state that looked like a cause, for when
    /// it dies: the later ones tell what came of it.
    complaint: Option<String>,
}

impl Default for NxAgent {
    fn default() -> Self {
        Self {
            state: NxState::Starting,
            has_desktop: false,
            waking: false,
            noticing: 0,
            leaving: None,
            terminating: false,
            complaint: None,
        }
    }
}

impl NxAgent {
    /// The state for the daemon.
    #[must_use]
    pub fn state(&self) -> NxState {
        self.state
    }

    /// Whether it was told to terminate.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.terminating
    }

    /// Whether it was asked to let its client go, and has not yet.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Its own last words about a failure.
    #[must_use]
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// A line of its output. The words are the ones seen on nxagent 3.5.99.26.
    pub fn line(&mut self, line: &str) -> Vec<Action> {
        if let Some(error) = line.strip_prefix("Error: ") {
            self.complain(error);
        } else if line.contains("already active for display") {
            self.complain(line);
        }
        if line.starts_with("Info: Waiting for connection from") {
            self.waking = false;
            return self.enter(NxState::Waiting {
                resumed: self.has_desktop,
            });
        }
        let Some(session) = line.strip_prefix("Session: ") else {
            return vec![];
        };
        let Some((event, _)) = session.split_once(" at '") else {
            return vec![];
        };
        match event {
            "Starting session" => self.enter(NxState::Starting),
            "Resuming session" => {
                self.waking = false;
                self.enter(NxState::Starting)
            }
            "Session started" | "Session resumed" => {
                let mut actions = self.enter(NxState::Connected);
                if !std::mem::replace(&mut self.has_desktop, true) {
                    actions.push(Action::StartXSession);
                }
                actions
            }
            "Suspending session" => self.enter(NxState::Suspending),
            "Session suspended" => self.enter(NxState::Suspended),
            "Terminating session" | "Aborting session" => self.enter(NxState::Terminating),
            _ => vec![],
        }
    }

    fn complain(&mut self, text: &str) {
        let text = text.trim().trim_end_matches('.');
        // The last words of every start that fails; they quote the options.
        let vague = text.starts_with("Aborting session with 'Unable to open display");
        let text = if vague {
            "it could not connect to the client"
        } else {
            text
        };
        // It may quote what the client sent.
        self.complaint
            .get_or_insert_with(|| text.chars().take(MAX_COMPLAINT).collect());
    }

    fn enter(&mut self, state: NxState) -> Vec<Action> {
        let changed = std::mem::replace(&mut self.state, state) != state;
        self.noticing = 0;
        if changed && state != NxState::Terminating {
            self.complaint = None;
        }
        if matches!(state, NxState::Suspended | NxState::Terminating) {
            self.leaving = None;
        }
        let mut actions = if changed {
            vec![Action::Report(state)]
        } else {
            vec![]
        };
        // The signal to terminate was lost on a resume: once more.
        if self.terminating && state == NxState::Suspended {
            actions.push(Action::Terminate);
        }
        actions
    }

    /// The daemon wants a suspended nxagent to wait for a client again.
    pub fn wake(&mut self) -> Vec<Action> {
        if self.state != NxState::Suspended || self.terminating {
            return vec![];
        }
        self.waking = true;
        self.state = NxState::Starting;
        vec![Action::Hangup, Action::ArmPoke]
    }

    /// The client's connection is over.
    pub fn client_gone(&mut self) -> Vec<Action> {
        if self.state != NxState::Connected {
            return vec![];
        }
        self.noticing = NOTICE_POKES;
        vec![Action::Poke, Action::ArmPoke]
    }

    /// The time of [`Action::ArmPoke`] is over.
    pub fn poke(&mut self) -> Vec<Action> {
        if self.waking {
            return vec![Action::Poke, Action::ArmPoke];
        }
        if let Some(pokes) = &mut self.leaving {
            if *pokes < PATIENCE {
                *pokes += 1;
                let waits = matches!(self.state, NxState::Waiting { .. });
                return Self::point_out(waits && *pokes == SIGNAL_AGAIN);
            }
            self.leaving = None;
            self.noticing = NOTICE_POKES;
            return vec![Action::DropClient, Action::Poke, Action::ArmPoke];
        }
        if self.noticing == 0 {
            return vec![];
        }
        self.noticing -= 1;
        if self.noticing == 0 {
            return vec![Action::GiveUp];
        }
        // Should it have suspended this very moment, it wakes, and the daemon,
        // which awaits no client, sends it back.
        Self::point_out(self.noticing.is_multiple_of(SIGNAL_AGAIN))
    }

    fn point_out(signal: bool) -> Vec<Action> {
        if signal {
            vec![Action::Hangup, Action::Poke, Action::ArmPoke]
        } else {
            vec![Action::Poke, Action::ArmPoke]
        }
    }

    /// The daemon wants the client let go, or the wait for one given up.
    /// While nxagent is on its way the signal would mean something else; the
    /// daemon asks again when it hears where it has arrived.
    pub fn suspend(&mut self) -> Vec<Action> {
        match self.state {
            NxState::Connected | NxState::Waiting { .. } => {
                self.leaving = Some(0);
                vec![Action::Hangup, Action::ArmPoke]
            }
            _ => vec![],
        }
    }

    /// The session is to end.
    pub fn terminate(&mut self) -> Vec<Action> {
        self.terminating = true;
        self.waking = false;
        let mut actions = self.enter(NxState::Terminating);
        actions.push(Action::Terminate);
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output of nxagent through start, suspend, resume and loss of the client.
    const RECORDED: &str = include_str!("../../tests/data/nxagent.log");

    fn states(lines: &str) -> Vec<NxState> {
        let mut agent = NxAgent::default();
        lines
            .lines()
            .flat_map(|line| agent.line(line))
            .filter_map(|action| match action {
                Action::Report(state) => Some(state),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn the_recorded_output_gives_the_states() {
        use NxState::{Connected, Starting, Suspended, Suspending, Terminating, Waiting};
        let cycle = [
            Starting,
            Waiting { resumed: true },
            Connected,
            Suspending,
            Suspended,
        ];
        let mut expected = vec![Waiting { resumed: false }, Connected, Suspending, Suspended];
        expected.extend(cycle);
        expected.push(Terminating);
        assert_eq!(states(RECORDED), expected);
    }

    #[test]
    fn the_x_session_is_started_once() {
        let mut agent = NxAgent::default();
        let starts = RECORDED
            .lines()
            .flat_map(|line| agent.line(line))
            .filter(|action| *action == Action::StartXSession)
            .count();
        assert_eq!(starts, 1);
    }

    #[test]
    fn other_programs_words_in_its_output_change_nothing() {
        let mut agent = NxAgent::default();
        for line in [
            "Session: ",
            "Session: Session started",
            "my Session: Session started at 'now'.",
            " Session: Session started at 'now'.",
            "Info: Waiting",
            "Session: Unknown session at 'x'",
            "",
            "\u{fffd}",
        ] {
            assert_eq!(agent.line(line), [], "{line}");
        }
    }

    fn suspended() -> NxAgent {
        let mut agent = NxAgent::default();
        for line in [
            "Session: Session started at ''.",
            "Session: Session suspended at ''.",
        ] {
            agent.line(line);
        }
        agent
    }

    #[test]
    fn a_lost_wake_up_is_noticed() {
        let mut agent = suspended();
        assert_eq!(agent.wake(), [Action::Hangup, Action::ArmPoke]);
        assert_eq!(agent.poke(), [Action::Poke, Action::ArmPoke]);
        agent.line("Session: Resuming session at ''.");
        assert_eq!(agent.poke(), [], "it is awake");
    }

    #[test]
    fn a_signal_without_effect_is_sent_again() {
        let hangups = |agent: &mut NxAgent, times: u32| {
            let actions = (0..times).flat_map(|_| agent.poke());
            actions.filter(|a| *a == Action::Hangup).count()
        };
        let mut waiting = NxAgent::default();
        waiting.line("Session: Session started at 'x'.");
        waiting.line("Session: Session suspended at 'x'.");
        waiting.wake();
        waiting.line("Info: Waiting for connection from this host on socket 'x'.");
        waiting.suspend();
        assert_eq!(hangups(&mut waiting, SIGNAL_AGAIN), 1);
        waiting.line("Session: Session suspended at 'x'.");
        assert_eq!(hangups(&mut waiting, 50), 0);

        let mut lost = NxAgent::default();
        lost.line("Session: Session started at 'x'.");
        lost.client_gone();
        assert_eq!(hangups(&mut lost, SIGNAL_AGAIN), 1);
    }

    #[test]
    fn a_lost_client_is_pointed_out_until_it_is_noticed() {
        let mut agent = NxAgent::default();
        assert_eq!(agent.client_gone(), [], "it was not connected yet");
        agent.line("Session: Session started at ''.");
        assert_eq!(agent.client_gone(), [Action::Poke, Action::ArmPoke]);
        assert_eq!(agent.poke(), [Action::Poke, Action::ArmPoke]);
        agent.line("Session: Suspending session at ''.");
        assert_eq!(agent.poke(), []);

        agent.line("Session: Session resumed at ''.");
        agent.client_gone();
        assert_eq!(agent.poke(), [Action::Poke, Action::ArmPoke]);
        let pokes = std::iter::repeat_with(|| agent.poke())
            .take_while(|actions| actions.contains(&Action::ArmPoke))
            .count();
        assert_eq!(pokes, 118, "not for ever, and the last was to give it up");
        assert_eq!(agent.poke(), [], "once");
    }

    #[test]
    fn a_signal_is_sent_only_where_it_means_what_is_wanted() {
        let mut agent = suspended();
        assert_eq!(agent.suspend(), [], "it would wake");
        agent.wake();
        assert_eq!(agent.suspend(), [], "it would be lost or cancel nothing");
        assert_eq!(agent.wake(), [], "it would cancel the wake");
        agent.line("Info: Waiting for connection from this host on socket 'unix:/x'.");
        assert_eq!(agent.suspend(), [Action::Hangup, Action::ArmPoke]);
    }

    #[test]
    fn a_client_that_holds_a_suspend_up_is_dropped() {
        let mut agent = NxAgent::default();
        agent.line("Session: Session started at ''.");
        agent.suspend();
        agent.line("Session: Suspending session at ''.");
        for _ in 0..PATIENCE {
            assert_eq!(agent.poke(), [Action::Poke, Action::ArmPoke]);
        }
        assert_eq!(
            agent.poke(),
            [Action::DropClient, Action::Poke, Action::ArmPoke]
        );
        assert_eq!(
            agent.poke(),
            [Action::Poke, Action::ArmPoke],
            "dropped once"
        );
        agent.line("Session: Session suspended at ''.");
        // And none is dropped that has come since.
        agent.wake();
        agent.line("Session: Resuming session at ''.");
        assert_eq!(agent.poke(), []);
    }

    #[test]
    fn a_termination_that_only_suspends_is_repeated() {
        let mut agent = suspended();
        agent.wake();
        agent.line("Session: Resuming session at ''.");
        agent.terminate();
        let actions = agent.line("Session: Session suspended at ''.");
        assert!(actions.contains(&Action::Terminate));
    }

    #[test]
    fn the_cause_of_a_death_is_kept() {
        let last = "Error: Aborting session with 'Unable to open display 'nx/nx,options=/x:1''.";
        for (line, complaint) in [
            (last, "it could not connect to the client"),
            (
                "Error: Failure negotiating the session in stage '7'.",
                "Failure negotiating the session in stage '7'",
            ),
        ] {
            let mut agent = NxAgent::default();
            for line in [line, last, "Session: Aborting session at ''."] {
                agent.line(line);
            }
            assert_eq!(agent.complaint(), Some(complaint));
        }
    }

    #[test]
    fn what_was_complained_about_an_earlier_client_is_no_cause_of_death() {
        let mut agent = suspended();
        agent.wake();
        agent.line("Error: Connection with remote peer broken.");
        agent.line("Session: Session resumed at ''.");
        assert_eq!(agent.complaint(), None);
    }
}
