//! One relayed connection as those who steer it see it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::rules::Cut;

/// Bytes recorded from the beginning of each direction.
const RECORDED: usize = 64 * 1024;

/// A direction of a connection, by who receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the one who connected.
    ToServer,
    /// To the one who connected.
    ToClient,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToServer => "to the server",
            Self::ToClient => "to the client",
        })
    }
}

/// What was passed on in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Number of bytes.
    pub bytes: u64,
    /// Number of writes.
    pub writes: u64,
    /// The first 64 KiB.
    pub beginning: Vec<u8>,
    /// Whether the receiver was told the end.
    pub ended: bool,
}

/// A relayed connection: what passed, and orders for it alone.
#[derive(Debug)]
pub struct Connection {
    passed: [Mutex<Passed>; 2],
    orders: watch::Sender<Orders>,
    closed: Mutex<bool>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Orders {
    pub(super) cut: Option<Cut>,
    half_close: [bool; 2],
    held: [bool; 2],
}

impl Orders {
    pub(super) fn held(&self, direction: Direction) -> bool {
        let [to_server, to_client] = self.held;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }

    pub(super) fn half_close(&self, direction: Direction) -> bool {
        let [to_server, to_client] = self.half_close;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }
}

impl Connection {
    pub(super) fn new() -> Self {
        Self {
            passed: Default::default(),
            orders: watch::Sender::default(),
            closed: Mutex::new(false),
        }
    }

    /// Cuts it.
    pub fn cut(&self, how: Cut) {
        self.orders.send_modify(|orders| {
            orders.cut.get_or_insert(how);
        });
    }

    /// Tells the receiver of `direction` that nothing more comes, and reads
    /// nothing more for it.
    pub fn half_close(&self, direction: Direction) {
        self.orders.send_modify(|orders| {
            let [to_server, to_client] = &mut orders.half_close;
            *match direction {
                Direction::ToServer => to_server,
                Direction::ToClient => to_client,
            } = true;
        });
    }

    /// Holds one direction of this connection alone, or lets it go on: what it
    /// carries comes after what later connections carry.
    pub fn hold(&self, direction: Direction, hold: bool) {
        self.orders.send_modify(|orders| {
            let [to_server, to_client] = &mut orders.held;
            *match direction {
                Direction::ToServer => to_server,
                Direction::ToClient => to_client,
            } = hold;
        });
    }

    /// What was passed on so far in one direction.
    pub fn passed(&self, direction: Direction) -> Passed {
        self.counters(direction).clone()
    }

    /// Whether both its sockets are closed.
    pub fn is_closed(&self) -> bool {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn orders(&self) -> watch::Receiver<Orders> {
        self.orders.subscribe()
    }

    pub(super) fn note_closed(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    pub(super) fn note_end(&self, direction: Direction) {
        self.counters(direction).ended = true;
    }

    pub(super) fn note_write(&self, direction: Direction, bytes: &[u8]) {
        let mut passed = self.counters(direction);
        passed.bytes = passed
            .bytes
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        passed.writes += 1;
        let room = RECORDED
            .saturating_sub(passed.beginning.len())
            .min(bytes.len());
        passed.beginning.extend(bytes.iter().take(room));
    }

    fn counters(&self, direction: Direction) -> MutexGuard<'_, Passed> {
        let [to_server, to_client] = &self.passed;
        let counters = match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        };
        counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_closed() { "closed" } else { "open" };
        let to_server = self.counters(Direction::ToServer).bytes;
        let to_client = self.counters(Direction::ToClient).bytes;
        write!(
            f,
            "{state}, {to_server} bytes to the server, {to_client} bytes to the client"
        )
    }
}
