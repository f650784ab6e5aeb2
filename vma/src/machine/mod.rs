//! The session's state machine: `step(state, event) -> (state, effects)`.
//!
//! Pure: no clock, no process, no socket. The daemon turns RPC calls, messages
//! of the session process and expired timers into [`Event`]s, and carries the
//! [`Effect`]s out. Nothing waits in here, so a hook or a slow nxagent can
//! never keep `ping` or `x_state` from being answered.

mod asked;
mod rejoin;
#[cfg(test)]
mod tests;
mod timers;
mod words;

use qvd_rpc::SessionState;

use crate::control::NxState;
use crate::parameters::SessionSpec;
use rejoin::{Again, Came, listening};
pub use timers::Timeouts;
pub use words::{Effect, Event, Stage};

/// Where the session is.
#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Stopped,
    Preparing {
        stage: Stage,
        resume: bool,
        spec: Box<SessionSpec>,
    },
    Launching,
    Waking,
    Listening {
        resumed: bool,
        again: Again,
        came: Came,
    },
    Connected,
    /// Connected as far as nxagent knows; its client, which has lost its
    /// connection, is awaited on the port once that is `open`.
    Rejoining {
        open: bool,
    },
    Suspending,
    Suspended,
    /// `process`: whether there is a session process that will report its end.
    Stopping {
        process: bool,
    },
}

/// The machine. One a VM.
#[derive(Debug)]
pub struct Machine {
    state: State,
    /// Login name of the session's user, while there is a session.
    user: Option<String>,
    /// Why the last start or resume failed.
    reason: Option<String>,
    /// Number of the last stage.
    prepared: u64,
    timeouts: Timeouts,
}

impl Machine {
    /// A machine without a session.
    #[must_use]
    pub fn new(timeouts: Timeouts) -> Self {
        Self {
            state: State::Stopped,
            user: None,
            reason: None,
            prepared: 0,
            timeouts,
        }
    }

    /// Keeps these times from now on; a timer that runs goes on.
    pub fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.timeouts = timeouts;
    }

    /// The state as `x_state` says it.
    #[must_use]
    pub fn state(&self) -> SessionState {
        match &self.state {
            State::Stopped => SessionState::Stopped,
            // Hooks too are the administrator's own programs, and take the time
            // that they take: only in this state does a broker of the reference
            // wait for more than ten seconds.
            State::Preparing { .. } => SessionState::Provisioning,
            State::Launching
            | State::Waking
            | State::Rejoining { open: false }
            | State::Listening {
                again: Again::Opening,
                ..
            } => SessionState::Starting,
            State::Listening { .. } | State::Rejoining { open: true } => SessionState::Listening,
            State::Connected => SessionState::Connected,
            State::Suspending => SessionState::Suspending,
            State::Suspended => SessionState::Suspended,
            State::Stopping { .. } => SessionState::Stopping,
        }
    }

    /// Why the last start or resume failed, until the next one.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The session's user, while there is a session.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Whether nxagent has a client, be it that its connection is lost.
    #[must_use]
    pub fn has_client(&self) -> bool {
        matches!(self.state, State::Connected | State::Rejoining { .. })
    }

    /// Takes an event and says what is to be done, in this order.
    pub fn step(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::StartAsked(spec) => self.start_asked(spec),
            Event::RejoinAsked => self.rejoin_asked(),
            Event::Rejoined => self.rejoined(),
            Event::SuspendAsked => self.suspend_asked(),
            Event::StopAsked => self.stop_asked(),
            Event::Prepared(number, outcome) => self.prepared(number, outcome),
            Event::PortOpened(outcome) => self.port_opened(outcome),
            Event::ClientCame { carrier } => self.client_came(carrier),
            Event::ClientGone => self.client_gone(),
            Event::ClientLost => self.client_lost(),
            Event::Nx(state) => self.nx(state),
            Event::Gone { reason } => self.gone(reason),
            Event::TimedOut => self.timed_out(),
            Event::Adopted {
                user,
                state,
                served,
            } => self.adopted(user, state, served),
        }
    }

    fn prepared(&mut self, number: u64, outcome: Result<(), String>) -> Vec<Effect> {
        if number != self.prepared {
            return vec![];
        }
        let (stage, resume, spec) = match std::mem::take(&mut self.state) {
            State::Preparing {
                stage,
                resume,
                spec,
            } => (stage, resume, spec),
            State::Stopping { process: false } => return self.stopped(None),
            // A stop came during the stages of a resume: they are void.
            other => {
                self.state = other;
                return vec![];
            }
        };
        if let Err(reason) = outcome {
            if !resume {
                return self.stopped(Some(reason));
            }
            self.reason = Some(reason);
            self.state = State::Suspended;
            return vec![];
        }
        let next = match stage {
            // The user exists since the session was started.
            Stage::PreConnect if resume => Some(Stage::Connect),
            Stage::PreConnect => Some(Stage::Provision),
            Stage::Provision => Some(Stage::Connect),
            Stage::Connect => None,
        };
        let arm = Effect::Arm(self.timeouts.initiating);
        match next {
            Some(stage) => vec![self.prepare(stage, resume, spec)],
            None if resume => {
                self.state = State::Waking;
                vec![Effect::Wake(spec), arm]
            }
            None => {
                self.state = State::Launching;
                vec![Effect::Launch(spec), arm]
            }
        }
    }

    fn port_opened(&mut self, outcome: Result<(), String>) -> Vec<Effect> {
        let resumed = match self.state {
            State::Launching => false,
            State::Waking => true,
            State::Rejoining { .. }
            | State::Listening {
                again: Again::Opening,
                ..
            } => return self.port_reopened(outcome),
            // Nobody waits for the port any more.
            _ => return vec![Effect::ClosePort],
        };
        match outcome {
            Ok(()) => {
                self.state = listening(resumed, Again::No);
                vec![Effect::Arm(self.timeouts.listening)]
            }
            Err(reason) if resumed => {
                self.reason = Some(reason);
                self.suspend()
            }
            Err(reason) => self.terminate(Some(reason)),
        }
    }

    fn nx(&mut self, nx: NxState) -> Vec<Effect> {
        match (nx, &self.state) {
            (
                _,
                State::Stopped | State::Preparing { resume: false, .. } | State::Stopping { .. },
            ) => {
                vec![]
            }
            (NxState::Waiting { .. }, State::Launching | State::Waking) => vec![Effect::OpenPort],
            // It was about to connect, and so the signal was lost on it (seen).
            (NxState::Connected, State::Suspending) => vec![Effect::Suspend],
            // It woke after it had been given up.
            (NxState::Waiting { .. }, State::Suspended | State::Suspending) => {
                vec![Effect::Suspend]
            }
            // What it had sent last was enough.
            (
                NxState::Connected,
                State::Listening {
                    again: again @ (Again::Opening | Again::Open),
                    ..
                },
            ) => {
                let open = *again == Again::Open;
                self.state = State::Rejoining { open };
                vec![Effect::Entered(SessionState::Connected)]
            }
            (NxState::Connected, State::Listening { .. } | State::Launching | State::Waking) => {
                self.state = State::Connected;
                vec![
                    Effect::ClosePort,
                    Effect::Disarm,
                    Effect::Entered(SessionState::Connected),
                ]
            }
            (
                NxState::Suspending,
                State::Connected
                | State::Rejoining { .. }
                | State::Listening { .. }
                | State::Waking,
            ) => {
                self.note_failed_resume();
                let mut effects = self.client_left();
                self.state = State::Suspending;
                effects.extend([Effect::ClosePort, Effect::Arm(self.timeouts.suspending)]);
                effects
            }
            (NxState::Suspended, State::Preparing { .. } | State::Suspended) => vec![],
            (NxState::Suspended, _) => {
                self.note_failed_resume();
                let mut effects = self.client_left();
                self.state = State::Suspended;
                effects.extend([
                    Effect::ClosePort,
                    Effect::Disarm,
                    Effect::Entered(SessionState::Suspended),
                ]);
                effects
            }
            (NxState::Terminating, _) => {
                self.state = State::Stopping { process: true };
                vec![Effect::ClosePort, Effect::Arm(self.timeouts.stopping)]
            }
            _ => vec![],
        }
    }

    /// nxagent suspends by itself while a resume awaits its client: the one
    /// that came was none.
    fn note_failed_resume(&mut self) {
        if matches!(self.state, State::Listening { resumed: true, .. }) {
            let reason = "the client's connection failed before the session was resumed";
            self.reason = Some(reason.into());
        }
    }

    /// What a suspension that nobody asked for means.
    fn client_left(&self) -> Vec<Effect> {
        match self.state {
            State::Connected | State::Rejoining { .. } => vec![Effect::ClientLeft],
            _ => vec![],
        }
    }

    fn gone(&mut self, reason: Option<String>) -> Vec<Effect> {
        match self.state {
            State::Stopped | State::Preparing { resume: false, .. } => vec![],
            _ => self.stopped(reason),
        }
    }

    fn timed_out(&mut self) -> Vec<Effect> {
        let within = |what: &str, time: std::time::Duration| {
            Some(format!("{what} within {} s", time.as_secs()))
        };
        match self.state {
            State::Launching => {
                self.terminate(within("nxagent did not listen", self.timeouts.initiating))
            }
            // The desktop is worth more than the resume: it stays suspended,
            // and should nxagent wake late it is sent back.
            State::Waking => {
                self.reason = within("nxagent did not wake up", self.timeouts.initiating);
                self.state = State::Suspended;
                vec![]
            }
            // It may come again; how long it may stay away is not for here.
            State::Rejoining { .. } => {
                self.state = State::Connected;
                vec![Effect::ClosePort]
            }
            State::Listening { resumed, came, .. } => {
                let reason = match came {
                    // Its hello has another time than NX.
                    Came::Yes | Came::Lost => {
                        Some("the client's session did not begin in time".to_owned())
                    }
                    Came::Gone => Some("the client left before its session began".to_owned()),
                    Came::No => within("no client connected", self.timeouts.listening),
                };
                match resumed {
                    true => {
                        self.reason = reason;
                        self.suspend()
                    }
                    false => self.terminate(reason),
                }
            }
            State::Suspending => {
                self.terminate(within("nxagent did not suspend", self.timeouts.suspending))
            }
            State::Stopping { process: true } => {
                let time = self.timeouts.stopping.as_secs();
                let late = format!("the session did not end within {time} s and was killed");
                self.reason.get_or_insert(late);
                vec![Effect::Kill, Effect::Arm(self.timeouts.stopping)]
            }
            _ => vec![],
        }
    }

    fn adopted(&mut self, user: String, nx: NxState, served: bool) -> Vec<Effect> {
        self.user = Some(user);
        let (state, effects) = match nx {
            // NX is to begin.
            NxState::Waiting { resumed } if served => (
                State::Listening {
                    resumed,
                    again: Again::No,
                    came: Came::Yes,
                },
                vec![Effect::Arm(self.timeouts.beginning)],
            ),
            NxState::Starting => (
                State::Launching,
                vec![Effect::Arm(self.timeouts.initiating)],
            ),
            NxState::Waiting { resumed: false } => (State::Launching, vec![Effect::OpenPort]),
            NxState::Waiting { resumed: true } => (State::Waking, vec![Effect::OpenPort]),
            NxState::Connected => (State::Connected, vec![]),
            NxState::Suspending => (
                State::Suspending,
                vec![Effect::Arm(self.timeouts.suspending)],
            ),
            NxState::Suspended => (State::Suspended, vec![]),
            NxState::Terminating => (
                State::Stopping { process: true },
                vec![Effect::Arm(self.timeouts.stopping)],
            ),
        };
        self.state = state;
        effects
    }

    fn suspend(&mut self) -> Vec<Effect> {
        self.state = State::Suspending;
        vec![
            Effect::ClosePort,
            Effect::Suspend,
            Effect::Arm(self.timeouts.suspending),
        ]
    }

    fn terminate(&mut self, reason: Option<String>) -> Vec<Effect> {
        if reason.is_some() {
            self.reason = reason;
        }
        self.state = State::Stopping { process: true };
        vec![
            Effect::ClosePort,
            Effect::Terminate,
            Effect::Arm(self.timeouts.stopping),
        ]
    }

    fn stopped(&mut self, reason: Option<String>) -> Vec<Effect> {
        // What was found out first is nearer to the cause.
        self.reason = self.reason.take().or(reason);
        self.user = None;
        self.state = State::Stopped;
        vec![
            Effect::ClosePort,
            Effect::Disarm,
            Effect::Entered(SessionState::Stopped),
        ]
    }
}
