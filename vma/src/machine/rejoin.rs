//! The client that comes to the port, is lost, and comes again.

use std::time::Duration;

use qvd_rpc::{Reply, SessionState};

use super::{Effect, Machine, State};

/// Whether the client, which came and lost its connection before NX had begun,
/// is awaited once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    No,
    /// Once the port is open.
    Opening,
    Open,
}

/// Whether the client that is awaited has come, and NX is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    No,
    Yes,
    /// It has lost its connection, and may be back.
    Lost,
    /// It has ended its carrier, or broken its rules.
    Gone,
}

/// How long nxagent has to say itself that its client is gone: it does within
/// 0.3 s where NX had begun (seen), and not at all where it had not.
pub(super) const LAST_WORD: Duration = Duration::from_secs(2);

impl Machine {
    /// Whether a client that has lost its connection may go on.
    #[must_use]
    pub fn may_rejoin(&self) -> bool {
        self.has_client() || matches!(self.state, State::Listening { .. })
    }

    /// Whether the start of another client has this session's let go.
    #[must_use]
    pub fn gives_way(&self) -> bool {
        let is_left = matches!(
            self.state,
            State::Listening {
                came: Came::Lost | Came::Gone,
                ..
            }
        );
        self.has_client() || is_left
    }

    /// Whether one is awaited that was there before.
    #[must_use]
    pub fn is_rejoined(&self) -> bool {
        match self.state {
            State::Listening { again, .. } => again != Again::No,
            State::Rejoining { .. } => true,
            _ => false,
        }
    }

    /// The client has shown the token of its carrier: nothing of the session
    /// changes, and so no hook is run.
    pub(super) fn rejoin_asked(&mut self) -> Vec<Effect> {
        self.state = match self.state {
            State::Connected | State::Rejoining { .. } => State::Rejoining { open: false },
            // The time that runs goes on until the port is open.
            State::Listening { resumed, .. } => listening(resumed, Again::Opening),
            _ => {
                let message = format!("session is {}, retry later", self.state());
                return vec![Effect::Reply(Reply::Failure(message))];
            }
        };
        self.reason = None;
        vec![
            Effect::Reply(Reply::State(SessionState::Starting)),
            Effect::OpenPort,
        ]
    }

    pub(super) fn rejoined(&mut self) -> Vec<Effect> {
        match self.state {
            State::Rejoining { .. } => {
                self.state = State::Connected;
                vec![Effect::ClosePort, Effect::Disarm]
            }
            State::Listening {
                resumed,
                again: Again::Opening | Again::Open,
                ..
            } => {
                self.state = State::Listening {
                    resumed,
                    again: Again::No,
                    came: Came::Yes,
                };
                vec![Effect::ClosePort, Effect::Arm(self.timeouts.carried)]
            }
            // Of a session that was taken over, nobody else is awaited.
            State::Listening { ref mut came, .. } => {
                *came = Came::Yes;
                vec![Effect::ClosePort, Effect::Arm(self.timeouts.carried)]
            }
            _ => vec![],
        }
    }

    /// What is awaited is not the client any more, but its hello, or NX.
    pub(super) fn client_came(&mut self, carrier: bool) -> Vec<Effect> {
        match &mut self.state {
            State::Listening { came, .. } => {
                *came = Came::Yes;
                vec![Effect::Arm(match carrier {
                    true => self.timeouts.listening,
                    false => self.timeouts.beginning,
                })]
            }
            _ => vec![],
        }
    }

    /// Nobody is awaited any more.
    pub(super) fn client_gone(&mut self) -> Vec<Effect> {
        match &mut self.state {
            State::Listening { came, .. } if *came != Came::No => {
                *came = Came::Gone;
                vec![Effect::Arm(LAST_WORD)]
            }
            _ => vec![],
        }
    }

    pub(super) fn client_lost(&mut self) -> Vec<Effect> {
        match &mut self.state {
            State::Listening {
                came: came @ Came::Yes,
                ..
            } => {
                *came = Came::Lost;
                vec![]
            }
            // Of a session that was taken over: who comes without having asked
            // for it is not this one.
            State::Listening {
                came: came @ Came::No,
                again: Again::No,
                ..
            } => {
                *came = Came::Lost;
                vec![Effect::ClosePort, Effect::Arm(self.timeouts.carried)]
            }
            _ => vec![],
        }
    }

    pub(super) fn port_reopened(&mut self, outcome: Result<(), String>) -> Vec<Effect> {
        let before = match self.state {
            State::Listening { resumed, .. } => Some(resumed),
            _ => None,
        };
        match (outcome, before) {
            (Ok(()), Some(resumed)) => {
                self.state = listening(resumed, Again::Open);
                vec![Effect::Arm(self.timeouts.listening)]
            }
            (Ok(()), None) => {
                self.state = State::Rejoining { open: true };
                vec![Effect::Arm(self.timeouts.listening)]
            }
            (Err(reason), Some(resumed)) => {
                self.reason = Some(reason);
                // It may ask again; NX waits for it as long as it would have.
                self.state = State::Listening {
                    resumed,
                    again: Again::No,
                    came: Came::Lost,
                };
                vec![Effect::ClosePort]
            }
            (Err(reason), None) => {
                self.reason = Some(reason);
                self.state = State::Connected;
                vec![Effect::ClosePort, Effect::Disarm]
            }
        }
    }
}

/// A session that awaits a client on its port.
pub(super) const fn listening(resumed: bool, again: Again) -> State {
    State::Listening {
        resumed,
        again,
        came: Came::No,
    }
}
