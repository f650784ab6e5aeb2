//! When a session is up.

use std::future::Future as _;
use std::pin::Pin;
use std::task::Context;

use tokio::time::{Sleep, sleep};

use super::limits;
use crate::codec::Codec;

/// Whether a session is so far that bytes of channels beside X may be sent.
///
/// nxagent 3.5.99.26 aborts more often than not when such bytes come while it
/// still asks the X server for what it needs ("Buffer for proxy descriptor has
/// 6 bytes to write"). It shows a window when it is done; one without windows
/// of its own, and without any of a program, has some time instead.
#[derive(Debug, Default)]
pub(super) enum Up {
    /// The X server has not answered yet.
    #[default]
    No,
    Soon(Pin<Box<Sleep>>),
    Yes,
}

impl Up {
    /// The X server has accepted the session.
    pub(super) fn begin(&mut self) {
        if let Self::No = self {
            *self = Self::Soon(Box::pin(sleep(limits::SETTLE)));
        }
    }

    pub(super) fn is(&self) -> bool {
        matches!(self, Self::Yes)
    }

    /// True once: when it has come up.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, codec: &Codec) -> bool {
        let Self::Soon(settled) = self else {
            return false;
        };
        let is_up = codec.mapped() || settled.as_mut().poll(cx).is_ready();
        if is_up {
            *self = Self::Yes;
        }
        is_up
    }
}
