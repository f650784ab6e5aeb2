//! Hooks of actions that are asked for: the call waits for the hook and is
//! refused when that fails. Everything else goes on meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use qvd_rpc::{Reply, SessionState};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::core::{Ask, Core, Input};
use crate::control::Command;
use crate::hooks::{Failure, Hook, Order, Situation};

/// How long the session process may take to tell what it has to.
const TELLING: Duration = Duration::from_secs(1);

/// Calls that wait for a hook, by the hook that runs for them.
pub(super) type Waiting = BTreeMap<Hook, Vec<(Ask, oneshot::Sender<Reply>)>>;

/// Who runs a hook by hand, and what of it they are told.
pub(super) struct ByHand {
    /// What it prints.
    pub lines: mpsc::UnboundedSender<String>,
    /// How it ended; `None` when nothing is configured.
    pub ended: oneshot::Sender<Option<Result<(), Failure>>>,
}

impl Core {
    /// A call: carried out at once, or when all is known that it depends on.
    pub(super) fn asked(&mut self, ask: Ask, reply: oneshot::Sender<Reply>) {
        if !self.is_unsure(&ask) {
            self.asked_surely(ask, reply);
            return;
        }
        self.questions_asked += 1;
        let number = self.questions_asked;
        self.unsure.push((number, ask, reply));
        self.tell(Command::Tell { number }, None);
        let input = self.sender.clone();
        tokio::task::spawn_local(async move {
            // One of an older agent does not know the question.
            sleep(TELLING).await;
            let _ = input.send(Input::Unsaid(number));
        });
    }

    /// Whether a client asks for its session with a token that the session
    /// process may have given it, and has not told of yet: the client may be
    /// back before that is read.
    fn is_unsure(&self, ask: &Ask) -> bool {
        let Ask::Start(parameters) = ask else {
            return false;
        };
        parameters.value(qvd_carrier::RESUME).is_some()
            && self.link.is_some()
            && self.machine.may_rejoin()
            && !self.rejoins(parameters)
    }

    /// All that the session process had to tell was told, for calls up to this
    /// number.
    pub(super) fn decide(&mut self, until: u64) {
        let waiting = std::mem::take(&mut self.unsure);
        let (sure, unsure) = waiting
            .into_iter()
            .partition(|(number, ..)| *number <= until);
        self.unsure = unsure;
        let sure: Vec<_> = sure;
        for (_, ask, reply) in sure {
            self.asked_surely(ask, reply);
        }
    }

    /// A call: carried out at once, or when its hook has ended. A call for
    /// which the hook runs already waits for that one.
    fn asked_surely(&mut self, ask: Ask, reply: oneshot::Sender<Reply>) {
        let hook = self.hook_of(&ask);
        if let Some(waiting) = hook.and_then(|hook| self.waiting.get_mut(&hook)) {
            waiting.push((ask, reply));
            return;
        }
        let order = hook.and_then(|hook| Order::of(hook, &self.config, &self.situation()));
        let Some(order) = order else {
            // A caller that has gone needs no answer.
            let _ = reply.send(self.call(ask));
            return;
        };
        let hook = order.hook;
        self.waiting.insert(hook, vec![(ask, reply)]);
        let (hooks, done) = (self.hooks.clone(), self.sender.clone());
        tokio::task::spawn_local(async move {
            let outcome = hooks.run(order, std::future::pending()).await;
            let outcome = outcome.map_err(|failure| failure.to_string());
            let _ = done.send(Input::Allowed(hook, outcome));
        });
    }

    /// The hook of an action has ended.
    pub(super) fn allowed(&mut self, hook: Hook, outcome: &Result<(), String>) {
        for (ask, reply) in self.waiting.remove(&hook).unwrap_or_default() {
            let answer = match outcome {
                Ok(()) => self.call(ask),
                Err(reason) => Reply::Failure(reason.clone()),
            };
            let _ = reply.send(answer);
        }
    }

    /// The hook that is asked whether this call may be carried out, where the
    /// call would do something.
    fn hook_of(&self, ask: &Ask) -> Option<Hook> {
        use SessionState::{Connected, Listening, Stopped, Stopping};
        let state = self.machine.state();
        match ask {
            Ask::Stop => (!matches!(state, Stopped | Stopping)).then_some(Hook::Stop),
            Ask::Suspend => matches!(state, Connected | Listening).then_some(Hook::Suspend),
            // It takes the session from the client that has it, unless that
            // is the one who asks.
            Ask::Start(parameters) => {
                let takes = self.machine.gives_way() && !self.rejoins(parameters);
                takes.then_some(Hook::Suspend)
            }
            Ask::Poweroff => Some(Hook::Poweroff),
            Ask::Expire => None,
        }
    }

    /// The state hooks.
    pub(super) fn entered(&self, state: SessionState) {
        let hook = match state {
            SessionState::Connected => Hook::Connected,
            SessionState::Suspended => Hook::Suspended,
            SessionState::Stopped => Hook::Disconnected,
            _ => return,
        };
        self.run_detached(hook);
    }

    /// Runs a hook, if there is one, that nobody waits for.
    pub(super) fn run_detached(&self, hook: Hook) {
        if let Some(order) = Order::of(hook, &self.config, &self.situation()) {
            self.detached.run(order);
        }
    }

    /// Runs a hook because somebody wants to see what it does. Nothing follows
    /// from its outcome.
    pub(super) fn run_by_hand(&self, hook: Hook, by_hand: ByHand) {
        let Some(order) = Order::of(hook, &self.config, &self.situation()) else {
            let _ = by_hand.ended.send(None);
            return;
        };
        let order = Order {
            listener: Some(by_hand.lines),
            on_fail: None,
            ..order
        };
        let hooks = self.hooks.clone();
        tokio::task::spawn_local(async move {
            let outcome = hooks.run(order, std::future::pending()).await;
            let _ = by_hand.ended.send(Some(outcome));
        });
    }

    /// The session as hooks see it.
    pub(super) fn situation(&self) -> Situation {
        let runs = self.link.is_some();
        Situation {
            state: self.machine.state(),
            session: self.current.session.clone(),
            user: self.machine.user().map(str::to_owned),
            display: runs.then_some(self.paths.display),
            authority: runs.then(|| crate::session::paths::xauthority(&self.paths.dir)),
            properties: self.current.properties.clone(),
        }
    }
}
