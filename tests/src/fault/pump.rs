//! Moves bytes from one socket to the other under the rules of their direction.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::connection::{Connection, Direction, Orders};
use super::endpoint::Socket;
use super::rules::{Cut, Fault, Rules};

/// Most bytes read at once.
const READ: usize = 64 * 1024;

/// Most bytes held back by latency and bandwidth in one direction; with more
/// the sender has to wait, as it would before a slow network.
const HELD: usize = 4 * 1024 * 1024;

/// How late a timer may fire.
const LATENESS: Duration = Duration::from_millis(5);

/// Serves one accepted connection until both directions have ended.
pub(super) async fn relay(client: Socket, connection: Arc<Connection>, shared: Arc<Shared>) {
    match Socket::connect(&shared.upstream).await {
        Ok(server) => {
            let run =
                |from, to, direction| Pump::new(from, to, direction, &connection, &shared).run();
            tokio::join!(
                run(&client, &server, Direction::ToServer),
                run(&server, &client, Direction::ToClient),
            );
            // The close itself, the same on both sides.
            drop(server);
        }
        Err(_) => client.close(Cut::Reset),
    }
    drop(client);
    connection.note_closed();
    shared.happened();
}

struct Pump<'a> {
    from: &'a Socket,
    to: &'a Socket,
    direction: Direction,
    connection: &'a Connection,
    shared: &'a Shared,
    rules: watch::Receiver<Rules>,
    orders: watch::Receiver<Orders>,
    /// What was read and not yet written, with the time at which it may be.
    held: VecDeque<(Instant, Vec<u8>)>,
    held_bytes: usize,
    received: u64,
    passed: u64,
    writes: u64,
    /// Before this nothing is written.
    resting_until: Instant,
    sender_ended: bool,
}

impl<'a> Pump<'a> {
    fn new(
        from: &'a Socket,
        to: &'a Socket,
        direction: Direction,
        connection: &'a Connection,
        shared: &'a Shared,
    ) -> Self {
        Self {
            from,
            to,
            direction,
            connection,
            shared,
            rules: shared.rules(direction).subscribe(),
            orders: connection.orders(),
            held: VecDeque::new(),
            held_bytes: 0,
            received: 0,
            passed: 0,
            writes: 0,
            resting_until: Instant::now(),
            sender_ended: false,
        }
    }

    async fn run(mut self) {
        loop {
            let orders = *self.orders.borrow_and_update();
            let rules = self.rules.borrow_and_update().clone();
            if let Some(how) = orders.cut {
                return self.close(how);
            }
            let due = rules.due(self.passed);
            let half_closed = orders.half_close(self.direction) || due == Some(Fault::HalfClose);
            if half_closed || (self.sender_ended && self.held.is_empty()) {
                return self.end();
            }
            if let Some(Fault::Cut(how)) = due {
                self.connection.cut(how);
                continue;
            }
            let held = orders.held(self.direction);
            let stalled = rules.stalled || held || due == Some(Fault::Stall);
            let may_read = !stalled && !self.sender_ended && self.held_bytes < HELD;
            let write_at = self
                .held
                .front()
                .map(|(due, _)| (*due).max(self.resting_until));
            let may_write = !stalled && write_at.is_some();

            let (from, to) = (self.from, self.to);
            let outcome = tokio::select! {
                // The relay's own sender lives as long as the relay.
                _ = self.rules.changed() => Ok(()),
                _ = self.orders.changed() => Ok(()),
                ready = from.readable(), if may_read => match ready {
                    Ok(()) => self.read(&rules),
                    Err(error) => Err(error),
                },
                ready = writable_at(to, write_at), if may_write => match ready {
                    Ok(()) => self.write(&rules),
                    Err(error) => Err(error),
                },
            };
            if outcome.is_err() {
                // One side is gone: so is the connection.
                self.connection.cut(Cut::Reset);
            }
        }
    }

    fn read(&mut self, rules: &Rules) -> std::io::Result<()> {
        let mut bytes = vec![0; READ];
        let count = match self.from.try_read(&mut bytes) {
            Ok(0) => {
                self.sender_ended = true;
                return Ok(());
            }
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        bytes.truncate(count);
        rules.falsify(self.received, &mut bytes);
        self.received = add(self.received, count);
        self.held_bytes += count;
        self.held.push_back((Instant::now() + rules.latency, bytes));
        Ok(())
    }

    fn write(&mut self, rules: &Rules) -> std::io::Result<()> {
        let Some((_, bytes)) = self.held.front_mut() else {
            return Ok(());
        };
        let length = rules.piece(self.passed, self.writes, bytes.len());
        let piece = bytes.get(..length).unwrap_or_default();
        let count = match self.to.try_write(piece) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        self.connection
            .note_write(self.direction, piece.get(..count).unwrap_or_default());
        self.passed = add(self.passed, count);
        self.writes += 1;
        self.held_bytes = self.held_bytes.saturating_sub(count);
        bytes.drain(..count.min(bytes.len()));
        if bytes.is_empty() {
            self.held.pop_front();
        }
        // Timers fire up to a millisecond late: the next rest begins where this
        // one should have ended, or bandwidth would be lost with each write.
        let now = Instant::now();
        let lateness = now.saturating_duration_since(self.resting_until);
        let start = if lateness < LATENESS {
            self.resting_until
        } else {
            now
        };
        self.resting_until = start + rules.rest(count);
        self.shared.happened();
        Ok(())
    }

    /// Tells the receiver the end. The sockets stay open for the other direction.
    fn end(&self) {
        self.to.shut_writing();
        self.connection.note_end(self.direction);
        self.shared.happened();
    }

    fn close(&self, how: Cut) {
        self.from.close(how);
        self.to.close(how);
    }
}

async fn writable_at(to: &Socket, time: Option<Instant>) -> std::io::Result<()> {
    // A timer of no time still takes a millisecond.
    if let Some(time) = time.filter(|time| *time > Instant::now()) {
        sleep_until(time).await;
    }
    to.writable().await
}

fn add(total: u64, count: usize) -> u64 {
    total.saturating_add(u64::try_from(count).unwrap_or(u64::MAX))
}
