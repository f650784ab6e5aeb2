use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use qvd_sftp::{Extensions, Server};

use super::Error;
use super::operations::Operations;
use super::sandbox::{self, Wall};
use crate::channel::READ;
use crate::{Channel, sys};

/// Most threads that touch files. A disk that hangs holds up as many
/// operations before it holds up all.
const MAX_THREADS: usize = 8;

/// Most packets sent by one call.
const PACKETS: usize = 16;

/// How long an operation may hold up those after it.
const SLOW: Duration = Duration::from_millis(2);

/// How often the sentry looks in vain before it sleeps: to be woken is dear for
/// an operation that takes some microseconds.
const LOOKS: u32 = 100;

/// How long a peer may read nothing of what it asked for, outages aside.
const STALLED: Duration = Duration::from_secs(600);

/// Ends a share from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Stopper {
    state: Arc<(Mutex<Stop>, Condvar)>,
}

#[derive(Debug, Default)]
struct Stop {
    asked: bool,
    driver: Weak<Driver>,
}

impl Stopper {
    /// Ends nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the share that is, or will be, served with it.
    pub fn stop(&self) {
        let (state, told) = &*self.state;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked = true;
        told.notify_all();
        if let Some(driver) = state.driver.upgrade() {
            driver.end(Ok(()));
        }
    }

    /// Waits that long, or until it is to end: then `true`.
    #[must_use]
    pub fn waits(&self, time: Duration) -> bool {
        let (state, told) = &*self.state;
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = told.wait_timeout_while(state, time, |state| !state.asked);
        waited.unwrap_or_else(PoisonError::into_inner).0.asked
    }
}

/// What the threads of one share have in common.
///
/// Each thread does what there is to do: an operation that may go, else
/// reading the channel if nobody does, else it waits. So an operation is
/// carried out by the thread that read it, with nothing handed over, which is
/// what makes a small one fast. A sentry looks after operations that take
/// long, and has another thread go on meanwhile.
#[derive(Debug)]
struct Driver {
    operations: Arc<Operations>,
    channel: Channel,
    state: Mutex<State>,
    /// For threads with nothing to do.
    wake: Condvar,
    /// For the sentry.
    busy: Condvar,
    /// For the one who waits for the end.
    over: Condvar,
    writer: Mutex<VecDeque<(Vec<u8>, usize)>>,
}

#[derive(Debug)]
struct State {
    server: Server,
    /// The buffer, while nobody reads.
    reader: Option<Vec<u8>>,
    idle: usize,
    threads: usize,
    /// Operations being carried out, and how many ever were begun.
    running: usize,
    begun: u64,
    /// The sentry sleeps until it is told of an operation.
    sentry_sleeps: bool,
    ended: bool,
    outcome: Option<Result<(), Error>>,
}

/// Serves until the channel ends.
pub(super) fn run(
    operations: Arc<Operations>,
    channel: Channel,
    early: &[u8],
    stopper: &Stopper,
) -> Result<(), Error> {
    let mut server = Server::new(Extensions::ALL);
    server.receive(early)?;
    let driver = Arc::new(Driver {
        operations,
        channel,
        state: Mutex::new(State {
            server,
            reader: Some(vec![0; READ]),
            idle: 0,
            threads: 1,
            running: 0,
            begun: 0,
            sentry_sleeps: false,
            ended: false,
            outcome: None,
        }),
        wake: Condvar::new(),
        busy: Condvar::new(),
        over: Condvar::new(),
        writer: Mutex::default(),
    });
    {
        let mut stop = stopper
            .state
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if stop.asked {
            return Ok(());
        }
        stop.driver = Arc::downgrade(&driver);
    }
    let first = Arc::clone(&driver);
    // A thread of its own: it gives up rights which the caller may need.
    let worker = thread::Builder::new().name("share".into()).spawn(move || {
        if sandbox::enter(first.operations.root().fd()) == Wall::None {
            tracing::info!("the share is confined by paths alone: this kernel has no Landlock");
        }
        first.flush();
        first.work();
    });
    worker.map_err(Error::Thread)?;
    let sentry = Arc::clone(&driver);
    let sentry = thread::Builder::new()
        .name("share-sentry".into())
        .spawn(move || {
            // The threads it starts inherit the walls.
            sandbox::enter(sentry.operations.root().fd());
            sentry.watch();
        });
    sentry.map_err(Error::Thread)?;
    driver.ended()
}

impl Driver {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end. A thread that hangs in a disk is left behind.
    fn ended(&self) -> Result<(), Error> {
        let mut state = self.lock();
        loop {
            if let Some(outcome) = state.outcome.take() {
                return outcome;
            }
            state = self
                .over
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn end(&self, outcome: Result<(), Error>) {
        let mut state = self.lock();
        if !state.ended {
            state.ended = true;
            state.outcome = Some(outcome);
        }
        drop(state);
        self.channel.shutdown();
        self.wake.notify_all();
        self.busy.notify_all();
        self.over.notify_all();
    }

    /// The life of a thread.
    fn work(self: &Arc<Self>) {
        let mut state = self.lock();
        loop {
            if state.ended {
                return;
            }
            if let Some(operation) = state.server.start() {
                state.running += 1;
                state.begun += 1;
                if state.sentry_sleeps {
                    state.sentry_sleeps = false;
                    self.busy.notify_one();
                }
                drop(state);
                let reply = self.operations.carry_out(&operation.request());
                state = self.lock();
                state.running = state.running.saturating_sub(1);
                state.server.finish(&operation, reply);
                drop(state);
                self.flush();
                state = self.lock();
            } else if state.server.wants_input()
                && let Some(mut buffer) = state.reader.take()
            {
                let long = state.server.take_partial(READ);
                drop(state);
                let read = if let Some(mut partial) = long {
                    let read = self.channel.read_into(partial.buffer());
                    state = self.lock();
                    read.map(|n| (n, state.server.receive_partial(partial)))
                } else {
                    let read = self.channel.read(&mut buffer);
                    state = self.lock();
                    read.map(|n| {
                        let bytes = buffer.get(..n).unwrap_or_default();
                        (n, state.server.receive(bytes))
                    })
                };
                if !self.received(&mut state, read) {
                    return;
                }
                state.reader = Some(buffer);
                // The answer to the first packet is nobody's operation.
                if state.server.has_output() {
                    drop(state);
                    self.flush();
                    state = self.lock();
                }
            } else {
                state.idle += 1;
                state = self
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }

    /// Takes what was read; `false` when it was the end.
    fn received(
        &self,
        state: &mut State,
        read: io::Result<(usize, Result<(), qvd_sftp::Error>)>,
    ) -> bool {
        let outcome = match read {
            Ok((0, _)) => Ok(()),
            Err(error) if is_end(&error) => Ok(()),
            Err(error) => Err(Error::Channel(error)),
            Ok((_, Ok(()))) => return true,
            Ok((_, Err(error))) => Err(Error::Protocol(error)),
        };
        state.ended = true;
        if state.outcome.is_none() {
            state.outcome = Some(outcome);
        }
        self.channel.shutdown();
        self.wake.notify_all();
        self.busy.notify_all();
        self.over.notify_all();
        false
    }

    /// The life of the sentry: while operations run it looks every now and
    /// then whether they get on.
    fn watch(self: &Arc<Self>) {
        let mut state = self.lock();
        let mut seen = 0;
        let mut idle = LOOKS;
        while !state.ended {
            if state.running == 0 && idle >= LOOKS {
                drop(state);
                sys::give_back();
                state = self.lock();
                if state.begun != seen || state.ended {
                    seen = state.begun;
                    idle = 0;
                    continue;
                }
                state.sentry_sleeps = true;
                state = self
                    .busy
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                seen = state.begun;
                idle = 0;
                continue;
            }
            let waited = self.busy.wait_timeout(state, SLOW);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            idle = if state.begun == seen { idle + 1 } else { 0 };
            if state.running > 0 && state.begun == seen {
                self.make_room(&mut state);
            }
            seen = state.begun;
        }
    }

    /// Sees to it that somebody goes on while the others are busy.
    fn make_room(self: &Arc<Self>, state: &mut State) {
        if state.idle > 0 {
            self.wake.notify_one();
            return;
        }
        if state.threads < MAX_THREADS {
            let driver = Arc::clone(self);
            let spawned = thread::Builder::new()
                .name("share".into())
                .spawn(move || driver.work());
            // With fewer threads it is slower, and works.
            if spawned.is_ok() {
                state.threads += 1;
            }
        }
    }

    /// Sends what there is to send, unless another thread does so already: it
    /// looks again before it stops.
    fn flush(&self) {
        loop {
            let Ok(mut writer) = self.writer.try_lock() else {
                return;
            };
            if let Err(error) = self.drain(&mut writer) {
                drop(writer);
                self.end(if is_end(&error) {
                    Ok(())
                } else {
                    Err(Error::Channel(error))
                });
                return;
            }
            drop(writer);
            if !self.lock().server.has_output() {
                return;
            }
        }
    }

    fn drain(&self, unsent: &mut VecDeque<(Vec<u8>, usize)>) -> io::Result<()> {
        loop {
            {
                let mut state = self.lock();
                while unsent.len() < PACKETS {
                    let Some(packet) = state.server.poll_transmit() else {
                        break;
                    };
                    unsent.push_back((packet, 0));
                }
            }
            if unsent.is_empty() {
                return Ok(());
            }
            let parts: Vec<_> = unsent
                .iter()
                .map(|(packet, sent)| IoSlice::new(packet.get(*sent..).unwrap_or_default()))
                .collect();
            let Some(count) = self.channel.try_write(&parts)? else {
                if !self.channel.wait_taken(STALLED)? {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                continue;
            };
            take_sent(unsent, count);
            let mut state = self.lock();
            state.server.sent(count);
            // Room for answers is what operations may have waited for.
            if state.idle > 0 && state.server.waits() {
                self.wake.notify_one();
            }
        }
    }
}

/// Takes off what was sent.
pub(crate) fn take_sent(unsent: &mut VecDeque<(Vec<u8>, usize)>, mut count: usize) {
    while let Some((packet, sent)) = unsent.front_mut() {
        let left = packet.len().saturating_sub(*sent);
        if count < left {
            *sent += count;
            return;
        }
        count -= left;
        unsent.pop_front();
    }
}

/// Whether the peer is just gone.
pub(crate) fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}
