//! What the machine tells its program, and what it is told at its start.

use std::time::Duration;

use crate::error::Violation;
use crate::hello::Refusal;
use crate::kind::Kind;
use crate::limits::{KEEPALIVE, MAX_STREAMS, REPLAY, WINDOW};
use crate::reason::{Code, Reason};

/// What a session is set up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Bytes kept for replay: at least [`crate::limits::MIN_REPLAY`].
    pub replay: usize,
    /// Bytes a stream may have unread: at most
    /// [`crate::limits::MAX_CREDIT`].
    pub window: u32,
    /// Streams held at once.
    pub streams: usize,
    /// Silence after which a ping is sent.
    pub keepalive: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            replay: REPLAY,
            window: WINDOW,
            streams: MAX_STREAMS,
            keepalive: KEEPALIVE,
        }
    }
}

/// Which end this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// In the VM, beside nxagent. Speaks first.
    Agent,
    /// Where the user sits.
    Client,
}

/// Why a connection is lost. The session goes on without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Loss {
    /// The program said so.
    #[error("connection closed")]
    Closed,
    /// Nothing came for too long.
    #[error("peer is silent")]
    Silent,
    /// The hellos took too long.
    #[error("no hello in time")]
    Hello,
    /// What connected is not a carrier, or none that can be spoken with.
    #[error("{0}")]
    Stranger(Violation),
    /// What connected asked for what the agent did not grant.
    #[error("{0}")]
    Refused(Refusal),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The hellos are done: frames flow.
    Connected {
        /// Whether the session goes on, or has begun.
        resumed: bool,
    },
    /// The connection is of no use any more: close it, after what
    /// [`crate::Carrier::output`] still gives. The session waits for the next.
    Lost(Loss),
    /// The other end opened a stream: accept or refuse it.
    Opened {
        /// Its number.
        stream: u32,
        /// What it is for.
        kind: Kind,
        /// What the other end says of it.
        metadata: Vec<u8>,
    },
    /// The other end has taken a stream.
    Accepted {
        /// Its number.
        stream: u32,
        /// What the other end says of it.
        metadata: Vec<u8>,
    },
    /// The other end has not taken a stream, which is gone.
    Refused {
        /// Its number.
        stream: u32,
        /// Why.
        code: Code,
        /// Why, in words.
        text: String,
    },
    /// There is something to read where there was nothing.
    Readable(u32),
    /// There is room to write where there was none.
    Writable(u32),
    /// All that the other end will ever send on this stream has been read.
    HalfClosed(u32),
    /// The other end has given up a stream, which is gone.
    Reset {
        /// Its number.
        stream: u32,
        /// Why.
        code: Code,
    },
    /// The session is over: close the connection when
    /// [`crate::Carrier::is_done`].
    Ended {
        /// Whether the other end said so.
        by_peer: bool,
        /// Why.
        reason: Reason,
        /// Why, in words.
        text: String,
    },
}

/// The numbers of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Estimate of the round trip, once a ping was answered.
    pub round_trip: Option<Duration>,
    /// How often the session was resumed.
    pub resumes: u64,
    /// Position of what was sent: bytes of numbered frames.
    pub sent: u64,
    /// Position of what was received.
    pub received: u64,
    /// Bytes kept for replay.
    pub unacknowledged: usize,
    /// Streams there are.
    pub streams: usize,
}

/// The numbers of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamStats {
    /// Its number.
    pub stream: u32,
    /// What it is for.
    pub kind: Kind,
    /// Bytes of data sent.
    pub sent: u64,
    /// Bytes of data received.
    pub received: u64,
}

/// The numbers of all streams of a kind that there have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindStats {
    /// The kind.
    pub kind: Kind,
    /// How many there have been.
    pub streams: u64,
    /// How many there are.
    pub open: u64,
    /// Bytes of data sent.
    pub sent: u64,
    /// Bytes of data received.
    pub received: u64,
}

impl KindStats {
    pub(crate) const fn of(kind: Kind) -> Self {
        Self {
            kind,
            streams: 0,
            open: 0,
            sent: 0,
            received: 0,
        }
    }

    /// Counts a stream.
    pub(crate) const fn add(&mut self, sent: u64, received: u64) {
        self.streams = self.streams.saturating_add(1);
        self.sent = self.sent.saturating_add(sent);
        self.received = self.received.saturating_add(received);
    }
}
