//! What is answered in a second, with what was known last if need be: `df` and
//! a file manager that look at all mounts shall not hang with one of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use qvd_sftp::Request;

use super::core::{Core, Outcome};

/// How long whoever asks for something that is known is let wait for better.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is done when the time has come, unless it is done already.
pub(super) struct Wait {
    pub(super) until: Instant,
    act: Box<dyn FnOnce(&mut Core) + Send>,
}

impl Core {
    /// Asks the peer; `job` goes on with its answer, or with none when there is
    /// none in time.
    pub(super) fn ask_briefly(
        &mut self,
        request: &Request<'_>,
        job: impl FnOnce(&mut Self, Option<Outcome>) + Send + 'static,
    ) {
        let job = Arc::new(Mutex::new(Some(job)));
        let later = Arc::clone(&job);
        self.waits.push_back(Wait {
            until: self.now + PATIENCE,
            act: Box::new(move |core| {
                if let Some(job) = take(&later) {
                    job(core, None);
                }
            }),
        });
        self.hurried = true;
        self.ask(request, move |core, outcome| {
            if let Some(job) = take(&job) {
                job(core, Some(outcome));
            }
        });
    }

    /// Goes on without the answers whose time has come.
    pub(super) fn lose_patience(&mut self) {
        while self.waits.front().is_some_and(|one| one.until <= self.now) {
            if let Some(wait) = self.waits.pop_front() {
                (wait.act)(self);
            }
        }
    }
}

fn take<T>(from: &Mutex<Option<T>>) -> Option<T> {
    from.lock().unwrap_or_else(PoisonError::into_inner).take()
}
