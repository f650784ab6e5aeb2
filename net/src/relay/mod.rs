//! Copying bytes both ways between two connections until both have ended.
//!
//! After the HTTP phase of a session every byte of it passes through here, in
//! the broker (client ⇄ VM) and in the agent (broker ⇄ nxagent), and most
//! tunnels are idle most of the time. So:
//!
//! - Two plain sockets are joined with `splice(2)` through a pipe: the bytes
//!   never enter this process. A pipe is borrowed from a small pool only while
//!   bytes are in flight. Where the kernel refuses to splice the bytes are
//!   copied.
//! - A TLS connection (feature `tls`) is driven directly through scratch
//!   buffers shared by all tunnels of a thread.
//! - An idle tunnel therefore holds two sockets, one future of a few hundred
//!   bytes and, under TLS, the cipher state: no pipe and no buffer.
//!
//! ```no_run
//! # async fn example(
//! #     client: tokio::net::TcpStream, vm: tokio::net::TcpStream, head_rest: Vec<u8>,
//! #     stop: tokio::sync::oneshot::Receiver<()>,
//! # ) {
//! use qvd_net::relay::{Meter, Side, plain};
//!
//! let meter = Meter::default();
//! let ended = plain(
//!     Side::new(client).with_early(head_rest),
//!     Side::new(vm),
//!     &meter,
//!     async { drop(stop.await) },
//! )
//! .await;
//! tracing::info!(%ended, up = meter.left_to_right(), down = meter.right_to_left());
//! # }
//! ```
//!
//! What ends a relay is told by [`Ended`]:
//!
//! - The end of one side's bytes is passed on to the other (its writing half
//!   is shut down, after a `close_notify` under TLS) and the opposite
//!   direction goes on. When both have ended the relay has: [`Ended::Closed`].
//! - A failure of either side ends both: [`Ended::Failed`].
//! - The `cancel` future ends both: [`Ended::Cancelled`].
//!
//! The sockets are closed when the relay's future is done or dropped.

mod pending;
mod pipe;
mod plain;
mod scratch;
mod stream;
#[cfg(feature = "tls")]
mod tls;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::sync::Notify;

pub use self::stream::Stream;

/// One end of a relay: its socket and what was already read from it.
#[derive(Debug)]
pub struct Side {
    stream: Stream,
    early: Vec<u8>,
}

impl Side {
    /// A side of which nothing has been read ahead.
    pub fn new(stream: impl Into<Stream>) -> Self {
        Self {
            stream: stream.into(),
            early: Vec::new(),
        }
    }

    /// The bytes that were read from this side past the end of its HTTP head
    /// (decrypted ones under TLS). They are delivered to the other side first.
    #[must_use]
    pub fn with_early(mut self, early: impl Into<Vec<u8>>) -> Self {
        self.early = early.into();
        self
    }
}

/// Bytes relayed so far, per direction; readable while the relay runs.
#[derive(Debug, Default)]
pub struct Meter {
    left_to_right: AtomicU64,
    right_to_left: AtomicU64,
    half_closed: Notify,
}

impl Meter {
    /// Counts what both sides had been read ahead.
    fn start(&self, left: &Side, right: &Side) {
        add(&self.left_to_right, left.early.len());
        add(&self.right_to_left, right.early.len());
    }

    /// Done when one side has ended its bytes and the other was told so: for
    /// a `cancel` that limits how long the other may go on. One waiter is
    /// told.
    pub async fn half_closed(&self) {
        self.half_closed.notified().await;
    }

    /// Bytes taken from the left side.
    pub fn left_to_right(&self) -> u64 {
        self.left_to_right.load(Ordering::Relaxed)
    }

    /// Bytes taken from the right side.
    pub fn right_to_left(&self) -> u64 {
        self.right_to_left.load(Ordering::Relaxed)
    }
}

/// Why a relay is over.
#[derive(Debug)]
#[non_exhaustive]
pub enum Ended {
    /// Both sides ended their bytes in good order.
    Closed,
    /// The `cancel` future was done.
    Cancelled,
    /// A side failed.
    Failed {
        /// The side that failed.
        side: Place,
        /// How.
        source: io::Error,
    },
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by its ends"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Failed { side, source } => write!(f, "the {side} side failed: {source}"),
        }
    }
}

/// One of the two sides of a relay, in the order of its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The first argument.
    Left,
    /// The second argument.
    Right,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::Right => "right",
        })
    }
}

/// Joins two plain sockets until both directions have ended, one failed, or
/// `cancel` is done. Give [`std::future::pending`] where nothing cancels.
pub async fn plain(
    left: Side,
    right: Side,
    meter: &Meter,
    cancel: impl Future<Output = ()>,
) -> Ended {
    meter.start(&left, &right);
    let mut relay = plain::Relay::new(left, right);
    drive(|cx| relay.poll(cx, meter), cancel).await
}

/// Joins a TLS connection over `left` with the plain socket `right`.
///
/// `tls` is a connection of either role whose handshake is done, as
/// `tokio_rustls`'s `into_inner` gives it; records or plaintext it still holds
/// are not lost. When cancelled, a `close_notify` is sent if there is room.
#[cfg(feature = "tls")]
pub async fn tls(
    tls: impl Into<rustls::Connection>,
    left: Side,
    right: Side,
    meter: &Meter,
    cancel: impl Future<Output = ()>,
) -> Ended {
    meter.start(&left, &right);
    let mut relay = Box::new(tls::Relay::new(tls.into(), left, right));
    let ended = drive(|cx| relay.poll(cx, meter), cancel).await;
    relay.farewell();
    ended
}

/// Polls `relay` and `cancel` in one task, so that an idle tunnel is one task.
async fn drive(
    mut relay: impl FnMut(&mut Context<'_>) -> Poll<Result<(), Fault>>,
    cancel: impl Future<Output = ()>,
) -> Ended {
    let mut cancel = pin!(cancel);
    poll_fn(|cx| {
        if cancel.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ended::Cancelled);
        }
        relay(cx).map(|result| match result {
            Ok(()) => Ended::Closed,
            Err(Fault { side, source }) => Ended::Failed { side, source },
        })
    })
    .await
}

/// What both directions together have come to.
fn both(
    forth: Poll<Result<(), Fault>>,
    back: Poll<Result<(), Fault>>,
    meter: &Meter,
) -> Poll<Result<(), Fault>> {
    match (forth, back) {
        (Poll::Ready(Err(fault)), _) | (_, Poll::Ready(Err(fault))) => Poll::Ready(Err(fault)),
        (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
        (Poll::Pending, Poll::Pending) => Poll::Pending,
        _ => {
            meter.half_closed.notify_one();
            Poll::Pending
        }
    }
}

/// A failure of one side.
#[derive(Debug)]
struct Fault {
    side: Place,
    source: io::Error,
}

impl Place {
    /// For `map_err`: says which side an I/O error belongs to.
    fn fault(self) -> impl Fn(io::Error) -> Fault {
        move |source| Fault { side: self, source }
    }
}

fn add(count: &AtomicU64, n: usize) {
    count.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
}
