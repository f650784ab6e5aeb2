//! When a session is up.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Context;

use tokio::time::{Instant, Sleep, sleep};

use super::limits;
use crate::codec::Codec;

/// Whether a session is so far that bytes of channels beside X may be sent.
///
/// nxagent 3.5.99.26 aborts more often than not when such bytes come while it
/// still asks the X server for what it needs ("Buffer for proxy descriptor has
/// 6 bytes to write with policy 'immediate'"). It shows a window when it is
/// nearly done, and asks a few things more; then it asks nothing for a while.
/// One that does not come to rest has some time instead.
#[derive(Debug, Default)]
pub(super) enum Up {
    /// The X server has not answered yet.
    #[default]
    No,
    Soon {
        settled: Pin<Box<Sleep>>,
        calm: Pin<Box<Sleep>>,
        /// Questions of the agent when `calm` began.
        replies: u64,
    },
    Yes,
}

impl Up {
    /// The X server has accepted the session.
    pub(super) fn begin(&mut self) {
        if let Self::No = self {
            *self = Self::Soon {
                settled: Box::pin(sleep(limits::SETTLE)),
                calm: Box::pin(sleep(limits::CALM)),
                replies: 0,
            };
        }
    }

    pub(super) fn is(&self) -> bool {
        matches!(self, Self::Yes)
    }

    /// True once: when it has come up.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, codec: &Codec) -> bool {
        let Self::Soon {
            settled,
            calm,
            replies,
        } = self
        else {
            return false;
        };
        let now = codec.totals().replies;
        if now != *replies || !codec.mapped() {
            *replies = now;
            calm.as_mut().reset(Instant::now() + limits::CALM);
        }
        let is_up = calm.as_mut().poll(cx).is_ready() || settled.as_mut().poll(cx).is_ready();
        if is_up {
            *self = Self::Yes;
        }
        is_up
    }
}
