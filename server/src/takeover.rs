//! One connection per VM: who comes later takes it over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, watch};

/// The VMs that are being connected to or are connected.
#[derive(Default)]
pub struct Registry {
    slots: Arc<Mutex<Slots>>,
}

#[derive(Default)]
struct Slots {
    closed: bool,
    by_vm: HashMap<u64, Weak<Slot>>,
}

/// The place that one connection of a VM has at a time.
struct Slot {
    /// Held by the one who has it. The queue is in order.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// The number of the one who came last: all others have to go.
    latest: watch::Sender<u64>,
    /// That one's session, as its client names it.
    session: Mutex<Option<String>>,
}

/// Who wants a VM.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claimant<'a> {
    /// The session's name; none of a client that gives it none.
    pub session: Option<&'a str>,
    /// Whether this is a client that lost its connection and tries by itself
    /// to get the session back. It does not take it from another client, which
    /// the user has turned to meanwhile.
    pub resumes: bool,
}

/// Why a VM could not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Its earlier connection did not end in time.
    TimedOut,
    /// Another connection has come after this one, or the server is ending.
    Overtaken,
    /// Another client has the session that this one tries to get back.
    Elsewhere,
}

impl Registry {
    /// Takes the VM: its earlier connection is told to end and waited for.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn claim(
        &self,
        vm: u64,
        within: Duration,
        who: Claimant<'_>,
    ) -> Result<Claim, Failure> {
        let (slot, ticket) = self.enter(vm, who)?;
        let mut latest = slot.latest.subscribe();
        let turn = tokio::select! {
            biased;
            _ = latest.wait_for(|latest| *latest != ticket) => return Err(Failure::Overtaken),
            turn = tokio::time::timeout(within, slot.turn.clone().lock_owned()) => {
                turn.map_err(|_| Failure::TimedOut)?
            }
        };
        Ok(Claim {
            ticket,
            latest,
            _turn: turn,
            _slot: slot,
        })
    }

    /// Whether somebody has the VM, who would have to go.
    #[must_use]
    pub fn is_taken(&self, vm: u64) -> bool {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.by_vm.get(&vm).and_then(Weak::upgrade);
        slot.is_some_and(|slot| slot.turn.try_lock().is_err())
    }

    /// Ends every connection and gives out no more.
    pub fn close(&self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.closed = true;
        for slot in slots.by_vm.values().filter_map(Weak::upgrade) {
            slot.latest.send_modify(|latest| *latest += 1);
        }
    }

    fn enter(&self, vm: u64, who: Claimant<'_>) -> Result<(Arc<Slot>, u64), Failure> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.closed {
            return Err(Failure::Overtaken);
        }
        let known = slots.by_vm.get(&vm).and_then(Weak::upgrade);
        let slot = known.unwrap_or_else(|| {
            // Forget those that nobody uses any more, now and then.
            slots.by_vm.retain(|_, slot| slot.strong_count() > 0);
            let slot = Arc::new(Slot {
                turn: Arc::default(),
                latest: watch::Sender::new(0),
                session: Mutex::default(),
            });
            slots.by_vm.insert(vm, Arc::downgrade(&slot));
            slot
        });
        let mut session = slot.session.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = *slot.latest.borrow() == 0;
        if who.resumes && !is_fresh && session.as_deref() != who.session {
            return Err(Failure::Elsewhere);
        }
        *session = who.session.map(str::to_owned);
        drop(session);
        slot.latest.send_modify(|latest| *latest += 1);
        let ticket = *slot.latest.borrow();
        Ok((slot, ticket))
    }
}

/// A VM that was taken; dropping it lets the next one have it.
pub struct Claim {
    ticket: u64,
    latest: watch::Receiver<u64>,
    _turn: OwnedMutexGuard<()>,
    _slot: Arc<Slot>,
}

impl Claim {
    /// Waits until someone else wants the VM, or the server ends. Cancel safe.
    pub async fn contended(&mut self) {
        let ticket = self.ticket;
        let _ = self.latest.wait_for(|latest| *latest != ticket).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    const ANYBODY: Claimant<'_> = Claimant {
        session: None,
        resumes: false,
    };

    fn client(session: &str, resumes: bool) -> Claimant<'_> {
        Claimant {
            session: Some(session),
            resumes,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reconnects_takes_its_own_place_and_nobody_elses() {
        let registry = Registry::default();
        // Nobody is there: a server that was restarted knows no session.
        let mut first = registry.claim(1, LONG, client("one", true)).await.unwrap();
        let earlier = async {
            first.contended().await;
            drop(first);
        };
        let again = registry.claim(1, LONG, client("one", true));
        let (again, ()) = tokio::join!(again, earlier);
        let mut again = again.unwrap();
        let earlier = async {
            again.contended().await;
            drop(again);
        };
        let other = registry.claim(1, LONG, client("two", false));
        let (other, ()) = tokio::join!(other, earlier);
        let other = other.unwrap();
        let back = registry.claim(1, LONG, client("one", true)).await;
        assert_eq!(back.err(), Some(Failure::Elsewhere));
        drop(other);
        registry.claim(1, LONG, client("one", true)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_later_one_gets_it_when_the_earlier_one_has_gone() {
        let registry = Registry::default();
        assert!(!registry.is_taken(1));
        let mut first = registry.claim(1, LONG, ANYBODY).await.unwrap();
        assert!(registry.is_taken(1) && !registry.is_taken(2));
        let earlier = async {
            first.contended().await;
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(registry.claim(1, LONG, ANYBODY), earlier);
        second.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_go_is_waited_for_no_longer_than_told() {
        let registry = Registry::default();
        let _first = registry.claim(1, LONG, ANYBODY).await.unwrap();
        assert_eq!(
            registry.claim(1, LONG, ANYBODY).await.err(),
            Some(Failure::TimedOut)
        );
        registry.claim(2, LONG, ANYBODY).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_that_wait_the_last_gets_it() {
        let registry = Registry::default();
        let mut first = registry.claim(1, LONG, ANYBODY).await.unwrap();
        let earlier = async {
            first.contended().await;
            tokio::task::yield_now().await;
            drop(first);
        };
        let (second, third, ()) = tokio::join!(
            registry.claim(1, LONG, ANYBODY),
            registry.claim(1, LONG, ANYBODY),
            earlier
        );
        assert_eq!(second.err(), Some(Failure::Overtaken));
        third.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_all_and_refuses_more() {
        let registry = Registry::default();
        let mut claim = registry.claim(1, LONG, ANYBODY).await.unwrap();
        registry.close();
        claim.contended().await;
        assert_eq!(
            registry.claim(2, LONG, ANYBODY).await.err(),
            Some(Failure::Overtaken)
        );
    }
}
