//! One at a time: a start that was cut short may still be preparing its user
//! when the next one comes.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long a start waits for an earlier one's last program.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether somebody has the turn. Held for a look only, never over work.
static TAKEN: Mutex<bool> = Mutex::new(false);
static GIVEN_BACK: Condvar = Condvar::new();

/// The right to prepare a user, until it is dropped.
pub struct Turn(());

impl Turn {
    /// Waits for it.
    ///
    /// # Errors
    /// One sentence, when another one does not end.
    pub fn take() -> Result<Self, String> {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut taken, _) = GIVEN_BACK
            .wait_timeout_while(taken, PATIENCE, |taken| *taken)
            .unwrap_or_else(PoisonError::into_inner);
        if *taken {
            return Err("an earlier start is still preparing its user".to_owned());
        }
        *taken = true;
        Ok(Self(()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = false;
        GIVEN_BACK.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn nobody_works_beside_another() {
        static AT_WORK: AtomicUsize = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let _turn = Turn::take().unwrap();
                        assert_eq!(AT_WORK.fetch_add(1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        AT_WORK.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
