//! The engine of this project: NX on the agent's side, X11 on the display's,
//! with no other program between.
//!
//! One task carries a session. Nothing in it grows with what a peer sends: an
//! X server that is slow keeps the agent from being read, an agent that is slow
//! keeps the X server and the channels from being read, and a channel whose
//! local end is slow has the agent stop on that channel alone.

mod channel;
mod driver;
mod limits;
mod local;
mod pipe;
mod run;
mod setup;
mod stats;
mod up;
mod window;

use std::fmt;
use std::sync::Arc;

pub use local::{Accepting, LocalEnd, LocalEnds, NoLocalEnds, Opening};
pub use stats::Statistics;
pub(crate) use window::token_size;

use crate::{Engine, Error, Events, NxStream, Orders, Running, Session};

/// Draws sessions by itself.
///
/// The futures of this engine need tokio's I/O and time drivers.
#[derive(Clone)]
pub struct Native {
    ends: Option<Arc<dyn LocalEnds>>,
    cookie: Option<Arc<str>>,
    statistics: stats::Shared,
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Native").finish_non_exhaustive()
    }
}

impl Default for Native {
    fn default() -> Self {
        Self::new()
    }
}

impl Native {
    /// An engine whose channels beside X are those of its sessions.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ends: None,
            cookie: None,
            statistics: stats::Shared::default(),
        }
    }

    /// With these local ends for the channels beside X, whatever its sessions
    /// ask for.
    #[must_use]
    pub fn with_local_ends(mut self, ends: Arc<dyn LocalEnds>) -> Self {
        self.ends = Some(ends);
        self
    }

    /// With the cookie that the agent was started with; it refuses a session
    /// without it.
    #[must_use]
    pub fn with_cookie(mut self, cookie: &str) -> Self {
        self.cookie = Some(cookie.into());
        self
    }

    /// What the last session of this engine, or of one it was cloned from, has
    /// carried so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics.get()
    }
}

impl Engine for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn takes_sound_at_sockets(&self) -> bool {
        true
    }

    fn run<'a>(
        &'a self,
        stream: NxStream,
        session: &'a Session,
        events: Events<'a>,
        orders: Orders,
    ) -> Running<'a> {
        let given = run::Given {
            ends: self.ends.as_ref(),
            cookie: self.cookie.as_deref(),
            shared: &self.statistics,
        };
        Box::pin(run::run(given, stream, session, events, orders))
    }
}
