//! What the broker asks for.

use qvd_rpc::{Reply, SessionState};

use super::rejoin::Came;
use super::{Effect, Machine, Stage, State};
use crate::parameters::SessionSpec;

impl Machine {
    pub(super) fn start_asked(&mut self, spec: Box<SessionSpec>) -> Vec<Effect> {
        let resume = match self.state {
            State::Stopped => false,
            State::Suspended => true,
            // A contending client: the one there is let go, and the caller
            // comes back once the session is suspended.
            State::Connected | State::Rejoining { .. } => {
                let mut effects = self.suspend();
                let message = "session is connected and is being suspended, retry later";
                effects.insert(0, Effect::Reply(Reply::Failure(message.into())));
                return effects;
            }
            // The same for one that may not come back at all.
            State::Listening {
                resumed,
                came: Came::Lost | Came::Gone,
                ..
            } => {
                let message = "session has lost its client and is being ended, retry later";
                let mut effects = match resumed {
                    true => self.suspend(),
                    false => self.terminate(Some("another client came".into())),
                };
                effects.insert(0, Effect::Reply(Reply::Failure(message.into())));
                return effects;
            }
            _ => {
                let message = format!("session is {}, retry later", self.state());
                return vec![Effect::Reply(Reply::Failure(message))];
            }
        };
        if let Some(user) = self.user.as_deref().filter(|user| *user != spec.user) {
            let message = format!("a session of user {user} is suspended in this VM");
            return vec![Effect::Reply(Reply::Failure(message))];
        }
        self.reason = None;
        self.user = Some(spec.user.clone());
        let prepare = self.prepare(Stage::PreConnect, resume, spec);
        vec![Effect::Reply(Reply::State(SessionState::Starting)), prepare]
    }

    pub(super) fn prepare(&mut self, stage: Stage, resume: bool, spec: Box<SessionSpec>) -> Effect {
        self.prepared += 1;
        let effect = Effect::Prepare(self.prepared, stage, spec.clone());
        self.state = State::Preparing {
            stage,
            resume,
            spec,
        };
        effect
    }

    pub(super) fn suspend_asked(&mut self) -> Vec<Effect> {
        // The reference answers "starting" to a suspend that it carries out.
        let done = Effect::Reply(Reply::State(SessionState::Starting));
        match self.state {
            State::Connected
            | State::Rejoining { .. }
            | State::Listening { resumed: true, .. }
            | State::Waking => {
                let mut effects = self.suspend();
                effects.insert(0, done);
                effects
            }
            // No client was there yet: nothing that could be kept.
            State::Listening { resumed: false, .. } | State::Launching => {
                let mut effects = self.terminate(Some("suspended before a client came".into()));
                effects.insert(0, done);
                effects
            }
            _ => vec![Effect::Reply(Reply::State(self.state()))],
        }
    }

    pub(super) fn stop_asked(&mut self) -> Vec<Effect> {
        let mut effects = match &self.state {
            State::Stopped | State::Stopping { .. } => {
                return vec![Effect::Reply(Reply::State(self.state()))];
            }
            // The stage that runs reports its end; nothing was started yet.
            State::Preparing { resume: false, .. } => {
                self.state = State::Stopping { process: false };
                vec![Effect::CutShort]
            }
            State::Preparing { resume: true, .. } => {
                let mut effects = self.terminate(None);
                effects.push(Effect::CutShort);
                effects
            }
            _ => self.terminate(None),
        };
        effects.insert(0, Effect::Reply(Reply::State(SessionState::Stopping)));
        effects
    }
}
