//! Hooks that nobody waits for.

use std::cell::RefCell;
use std::rc::Rc;

use super::Hook;
use super::run::{Order, Runner};

/// Most hooks that run with nobody waiting. A client that comes and goes must
/// not pile up hooks that hang.
const MAX_RUNNING: usize = 32;

/// Runs hooks beside everything else.
#[derive(Clone)]
pub struct Detached {
    runner: Runner,
    running: Rc<RefCell<Vec<Hook>>>,
}

impl Detached {
    /// With this runner.
    #[must_use]
    pub fn new(runner: Runner) -> Self {
        Self {
            runner,
            running: Rc::default(),
        }
    }

    /// Runs a hook. How it ends is in the log.
    pub fn run(&self, order: Order) {
        let hook = order.hook;
        let refused = {
            let running = self.running.borrow();
            if hook == Hook::Expire && running.contains(&hook) {
                // It may ask the user, who has not answered yet.
                Some("the last one has not ended yet".to_owned())
            } else if running.len() >= MAX_RUNNING {
                Some(format!("{MAX_RUNNING} hooks have not ended yet"))
            } else {
                None
            }
        };
        if let Some(why) = refused {
            tracing::warn!("hook {} is not run: {why}", hook.name());
            return;
        }
        self.running.borrow_mut().push(hook);
        let this = self.clone();
        tokio::task::spawn_local(async move {
            // The runner has logged it.
            let _ = this.runner.run(order, std::future::pending()).await;
            let mut running = this.running.borrow_mut();
            if let Some(at) = running.iter().position(|other| *other == hook) {
                running.swap_remove(at);
            }
        });
    }
}
