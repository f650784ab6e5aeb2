//! The signals that the program answers.

use std::future::poll_fn;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals of some kinds.
pub(super) struct Signals(Vec<(i32, Signal)>);

impl Signals {
    /// Those that end a session. From now on they do not end the program.
    pub(super) fn ends() -> Self {
        Self::of(&[
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
        ])
    }

    /// Those that ask for statistics. From now on they do not end the program.
    pub(super) fn asks() -> Self {
        Self::of(&[SignalKind::user_defined1(), SignalKind::user_defined2()])
    }

    fn of(kinds: &[SignalKind]) -> Self {
        // One that cannot be caught does what the system has it do.
        let caught = |kind: &SignalKind| Some((kind.as_raw_value(), signal(*kind).ok()?));
        Self(kinds.iter().filter_map(caught).collect())
    }

    /// The next one that came since the last was asked for; its number. Cancel
    /// safe.
    pub(super) async fn next(&mut self) -> i32 {
        poll_fn(|cx| {
            for (number, signals) in &mut self.0 {
                if signals.poll_recv(cx).is_ready() {
                    return Poll::Ready(*number);
                }
            }
            Poll::Pending
        })
        .await
    }
}
