//! Who holds which VM: one client at a time, and the last one wins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use qvd_broker::Refusal;
use qvd_http1::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

/// The VMs that are held or were once.
#[derive(Debug, Default)]
pub struct Registry(Mutex<HashMap<u64, Arc<Slot>>>);

#[derive(Debug)]
struct Slot {
    /// Number of the last client that wanted the VM; who has an older one
    /// gives up.
    latest: watch::Sender<u64>,
    held: Arc<Semaphore>,
}

/// A VM that is held. It is free again when this is dropped.
#[derive(Debug)]
pub struct Lease {
    ticket: u64,
    latest: watch::Receiver<u64>,
    _held: OwnedSemaphorePermit,
}

impl Registry {
    /// Takes a VM over: whoever holds it, or waits for it, is told to give up,
    /// and is waited for.
    ///
    /// # Errors
    /// 408 when the other does not end within `patience`; 409 when yet another
    /// client wants the VM.
    pub async fn take_over(&self, vm: u64, patience: Duration) -> Result<Lease, Refusal> {
        let slot = self.slot(vm);
        let mut ticket = 0;
        slot.latest.send_modify(|latest| {
            *latest += 1;
            ticket = *latest;
        });
        let mut latest = slot.latest.subscribe();
        let held = tokio::select! {
            held = timeout(patience, slot.held.clone().acquire_owned()) => held,
            () = superseded(&mut latest, ticket) => return Err(contended()),
        };
        match held {
            Ok(Ok(held)) => Ok(Lease {
                ticket,
                latest,
                _held: held,
            }),
            Ok(Err(_)) => Err(contended()),
            Err(_) => Err(Refusal::new(
                Status::REQUEST_TIMEOUT,
                format!(
                    "another session of VM {vm} did not end within {} s",
                    patience.as_secs()
                ),
            )),
        }
    }

    fn slot(&self, vm: u64) -> Arc<Slot> {
        // Nothing panics while the lock is held; if it did, the map is whole.
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Slot {
                latest: watch::Sender::new(0),
                held: Arc::new(Semaphore::new(1)),
            })
        };
        slots.entry(vm).or_insert_with(new).clone()
    }
}

impl Lease {
    /// Resolves when another client wants the VM.
    pub async fn superseded(&mut self) {
        superseded(&mut self.latest, self.ticket).await;
    }
}

async fn superseded(latest: &mut watch::Receiver<u64>, ticket: u64) {
    if latest.wait_for(|latest| *latest > ticket).await.is_err() {
        // The slot outlives its leases: nobody else can come.
        std::future::pending::<()>().await;
    }
}

fn contended() -> Refusal {
    Refusal::new(
        Status::CONFLICT,
        "another client of yours connects to this VM",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn the_last_client_wins_and_the_first_is_told() {
        let registry = Arc::new(Registry::default());
        let mut first = registry.take_over(1, PATIENCE).await.unwrap();
        let _other_vm = registry.take_over(2, PATIENCE).await.unwrap();
        let second = tokio::spawn({
            let registry = registry.clone();
            async move { registry.take_over(1, PATIENCE).await }
        });
        first.superseded().await;
        assert!(!second.is_finished(), "it waits for the first to end");
        drop(first);
        second.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_end_is_waited_for_with_patience() {
        let registry = Registry::default();
        let _first = registry.take_over(1, PATIENCE).await.unwrap();
        let refusal = registry.take_over(1, PATIENCE).await.unwrap_err();
        assert_eq!(refusal.status, Status::REQUEST_TIMEOUT);
    }

    #[tokio::test]
    async fn of_two_that_wait_the_earlier_gives_up() {
        let registry = Arc::new(Registry::default());
        let mut first = registry.take_over(1, PATIENCE).await.unwrap();
        let wait = |registry: Arc<Registry>| {
            tokio::spawn(async move { registry.take_over(1, PATIENCE).await })
        };
        let second = wait(registry.clone());
        first.superseded().await;
        let third = wait(registry.clone());
        assert_eq!(second.await.unwrap().unwrap_err().status, Status::CONFLICT);
        drop(first);
        assert!(third.await.unwrap().is_ok());
    }
}
