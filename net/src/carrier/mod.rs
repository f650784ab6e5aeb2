//! The carrier over real connections: a session whose streams are read and
//! written like sockets, and which connections come and go beneath.
//!
//! ```no_run
//! # async fn example(tcp: tokio::net::TcpStream) -> std::io::Result<()> {
//! use qvd_carrier::{Config, Kind, Role};
//! use qvd_net::carrier::{Ended, Session};
//!
//! let session = Session::new(Role::Client, Config::default());
//! let nx = session.open(Kind::Nx, b"")?;
//! // Elsewhere `nx` is read and written, whatever happens to connections.
//! match session.run(tcp, Vec::new()).await {
//!     Ended::Lost(loss) => eprintln!("{loss}; connect again, and run again"),
//!     ended => eprintln!("{ended:?}"),
//! }
//! # drop(nx);
//! # Ok(())
//! # }
//! ```
//!
//! The machine is `qvd-carrier`'s; here it is behind a lock that is held only
//! while bytes are copied, never over a wait.

mod inner;
mod join;
mod road;
mod run;
mod stream;

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use qvd_carrier::{Code, Config, Kind, KindStats, Loss, Reason, Role, Stats, Token};
use tokio::sync::watch;

use self::inner::Inner;
pub use self::join::{Local, Telling};
pub use self::road::tell_road;
pub use self::stream::Stream;

/// A session. Its copies are the same session; it is over when
/// [`Session::run`] says so, or [`Session::abandon`] was called.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Mutex<Inner>,
    /// Whether there is a connection, and how many there have been.
    link: watch::Sender<Link>,
}

/// The connection of a session, as others see it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether frames flow.
    pub up: bool,
    /// How many connections have come up, the first one included.
    pub times: u64,
    /// Whether the session is over.
    pub over: bool,
}

/// Why a connection is not run any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The connection is lost; the session waits for the next.
    Lost(Loss),
    /// The session is over.
    Over {
        /// Whether the other end said so.
        by_peer: bool,
        /// Why.
        reason: Reason,
        /// Why, in words.
        text: String,
    },
    /// Another connection has come in its place.
    Replaced,
}

/// A stream that the other end has opened, to be accepted or refused. Dropped,
/// it is refused.
pub struct Incoming {
    /// What it is for.
    pub kind: Kind,
    /// What the other end says of it.
    pub metadata: Vec<u8>,
    stream: Stream,
}

impl Session {
    /// A session without a connection.
    #[must_use]
    pub fn new(role: Role, config: Config) -> Self {
        Self {
            shared: Arc::new(Shared {
                inner: Mutex::new(Inner::new(role, config)),
                link: watch::Sender::default(),
            }),
        }
    }

    /// Opens a stream. It can be written at once; the bytes go when the other
    /// end has taken it.
    ///
    /// # Errors
    /// When there are too many, or the session is over.
    pub fn open(&self, kind: Kind, metadata: &[u8]) -> io::Result<Stream> {
        let mut inner = self.shared.lock();
        let id = inner
            .carrier
            .open(kind, metadata)
            .map_err(io::Error::other)?;
        inner.enlist(id);
        drop(inner);
        Ok(Stream::new(Arc::clone(&self.shared), id))
    }

    /// The next stream that the other end opens; `None` when the session is
    /// over. Cancel safe; for one caller.
    pub async fn incoming(&self) -> Option<Incoming> {
        poll_fn(|cx| {
            let mut inner = self.shared.lock();
            match inner.opened.pop_front() {
                Some((id, kind, metadata)) => Poll::Ready(Some(Incoming {
                    kind,
                    metadata,
                    stream: Stream::new(Arc::clone(&self.shared), id),
                })),
                None if inner.over.is_some() => Poll::Ready(None),
                None => {
                    inner.acceptor = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// The state of the connection, and its changes.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    /// The network has changed: finds out soon whether the connection still
    /// leads to the other end.
    pub fn doubt(&self) {
        let mut inner = self.shared.lock();
        inner.carrier.doubt(Instant::now());
        inner.wake_driver();
    }

    /// Ends the session in order: [`Session::run`] returns once the other end
    /// knows, at most after [`qvd_carrier::limits::LINGER`]. Bytes that are
    /// not sent yet are dropped.
    pub fn end(&self, reason: Reason, text: &str) {
        let mut inner = self.shared.lock();
        inner.carrier.end(reason, text, Instant::now());
        inner.gather();
        inner.wake_driver();
        drop(inner);
        self.shared.publish();
    }

    /// Gives the session up, connection and all; the other end is told
    /// nothing. Reads and writes of its streams fail.
    pub fn abandon(&self, why: &str) {
        let mut inner = self.shared.lock();
        inner.abandon(why);
        drop(inner);
        self.shared.publish();
    }

    /// When frames came last, on this connection or one before.
    #[must_use]
    pub fn heard(&self) -> Option<Instant> {
        self.shared.lock().carrier.heard()
    }

    /// Whether the session is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.shared.lock().over.is_some()
    }

    /// The client's token, which its next connect announces.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        self.shared.lock().carrier.token().cloned()
    }

    /// The tokens an agent would take, as of now; they change with each
    /// connection.
    #[must_use]
    pub fn tokens(&self) -> Vec<Token> {
        self.shared.lock().carrier.tokens().cloned().collect()
    }

    /// The numbers of the session and of each kind of its streams.
    #[must_use]
    pub fn stats(&self) -> (Stats, Vec<KindStats>) {
        let inner = self.shared.lock();
        (inner.carrier.stats(), inner.carrier.kind_stats())
    }
}

impl Incoming {
    /// Takes it.
    ///
    /// # Errors
    /// When the other end has given it up meanwhile.
    pub fn accept(self, metadata: &[u8]) -> io::Result<Stream> {
        let mut inner = self.stream.lock();
        inner
            .carrier
            .accept(self.stream.id(), metadata)
            .map_err(io::Error::other)?;
        inner.wake_driver();
        drop(inner);
        Ok(self.stream)
    }

    /// Does not take it.
    pub fn refuse(self, code: Code, text: &str) {
        let mut inner = self.stream.lock();
        // It has gone: as good as refused.
        let _ = inner.carrier.refuse(self.stream.id(), code, text);
        inner.wake_driver();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells how the connection is, where that has changed.
    fn publish(&self) {
        let inner = self.lock();
        let (up, over) = (inner.carrier.is_connected(), inner.over.is_some());
        let times = inner.times;
        drop(inner);
        let now = Link { up, times, over };
        self.link.send_if_modified(|link| {
            let changed = *link != now;
            *link = now;
            changed
        });
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("link", &*self.shared.link.borrow())
            .finish_non_exhaustive()
    }
}
