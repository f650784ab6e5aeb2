//! The client's core as it is seen by the window: what happens becomes
//! messages, and questions wait for the window's answers.

use qvd_broker::VmEntry;
use qvd_client::core::{Allowed, Answering, Ask, Chosen, Code, Event, Failure, Question, View};
use tokio::sync::oneshot;

use crate::worker::{Message, Messages};

/// The user, through the window.
pub(crate) struct Seen {
    messages: Messages,
    /// Is told once when the broker has taken the login.
    taken: Option<oneshot::Sender<()>>,
}

impl Seen {
    pub(crate) fn new(messages: Messages, taken: oneshot::Sender<()>) -> Self {
        Self {
            messages,
            taken: Some(taken),
        }
    }

    fn logged_in(&mut self) {
        if let Some(taken) = self.taken.take() {
            // Nobody may wait for it.
            let _ = taken.send(());
        }
    }
}

impl View for Seen {
    fn tell(&mut self, event: Event) {
        tracing::info!("{event:?}");
        if matches!(event, Event::Progress(_) | Event::Opening) {
            self.logged_in();
        }
        // The window may be gone, and the session is about to be left then.
        let _ = self.messages.send(Message::Event(event));
    }

    fn choose<'a>(&'a mut self, vms: &'a [VmEntry]) -> Chosen<'a> {
        self.logged_in();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let asked = self.messages.send(Message::Choose(vms.to_vec(), answer));
            let chosen = match asked {
                Ok(()) => answered.await.ok(),
                Err(_) => None,
            };
            chosen.and_then(|index| vms.get(index)).ok_or_else(gone)
        })
    }

    fn may_start<'a>(&'a mut self, vm: &'a VmEntry) -> Allowed<'a> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let asked = self.messages.send(Message::MayStart(vm.clone(), answer));
            asked.is_ok() && answered.await.unwrap_or(false)
        })
    }
}

/// Asks about certificates in the window.
pub(crate) struct Asking(Messages);

impl Asking {
    pub(crate) fn new(messages: Messages) -> Self {
        Self(messages)
    }
}

impl Ask for Asking {
    fn ask<'a>(&'a self, question: &'a Question) -> Answering<'a> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let question = Box::new(question.clone());
            if self.0.send(Message::Trust(question, answer)).is_err() {
                return Err(gone());
            }
            answered.await.map_err(|_| gone())
        })
    }
}

fn gone() -> Failure {
    Failure::new(Code::Interrupted, "the window was closed")
}
