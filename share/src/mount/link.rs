use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use fuser::Request;

use super::Error;
use super::core::Core;
use super::dying::{Device, Waiters};
use crate::channel::{Bell, READ};
use crate::outages::Next;
use crate::serve::take_sent;
use crate::{Channel, Outages, sys};

/// How long nothing must have been asked for what is not needed to be let go.
const QUIET: Duration = Duration::from_millis(250);

/// How often those who wait are looked at in an outage.
const LOOK: Duration = Duration::from_millis(500);

/// Most packets sent by one call.
const PACKETS: usize = 16;

/// The channel with the client on it: whoever asks something sends it too,
/// one thread reads answers, one looks after deadlines and a full channel.
#[derive(Debug)]
pub(super) struct Link {
    channel: Channel,
    core: Mutex<Core>,
    writer: Mutex<VecDeque<(Vec<u8>, usize)>>,
    keeper: Mutex<Keeper>,
    wake: Condvar,
    /// Wakes the keeper where it waits for room in the channel.
    bell: Bell,
    over: Condvar,
    waiters: Waiters,
    device: OnceLock<Device>,
}

#[derive(Debug, Default)]
struct Keeper {
    /// The channel is full.
    blocked: bool,
    /// It waits for room in it.
    in_channel: bool,
    /// Nothing is under way: it sleeps until something is.
    sleeps: bool,
    /// Something was asked since it last tidied up.
    used: bool,
    over: bool,
}

impl Link {
    /// Begins the dialogue, and returns when the peer has.
    pub(super) fn start(
        channel: Channel,
        early: &[u8],
        timeout: Duration,
    ) -> Result<Arc<Self>, Error> {
        let outages = channel.take_outages();
        let link = Arc::new(Self {
            channel,
            core: Mutex::new(Core::new(timeout, Instant::now())),
            writer: Mutex::default(),
            keeper: Mutex::default(),
            wake: Condvar::new(),
            bell: Bell::new().map_err(Error::Thread)?,
            over: Condvar::new(),
            waiters: Waiters::default(),
            device: OnceLock::new(),
        });
        let thread = |name: &str, life: fn(&Self)| {
            let link = Arc::clone(&link);
            let started = thread::Builder::new()
                .name(name.into())
                .spawn(move || life(&link));
            started.map(|_| ()).map_err(Error::Thread)
        };
        link.flush();
        if let Err(error) = link.with(|core| core.receive(early)) {
            return Err(Error::Peer(io::Error::other(error)));
        }
        thread("share-read", Self::read)?;
        thread("share-keep", Self::keep)?;
        if outages.are_told() {
            let link = Arc::downgrade(&link);
            thread::Builder::new()
                .name("share-out".into())
                .spawn(move || follow(&link, outages))
                .map_err(Error::Thread)?;
        }
        if link.await_ready(timeout) {
            Ok(link)
        } else {
            link.gone();
            Err(Error::Peer(io::ErrorKind::TimedOut.into()))
        }
    }

    fn await_ready(&self, timeout: Duration) -> bool {
        let mut core = self.lock();
        let mut left = timeout;
        while !core.is_ready() && !core.is_gone() && !left.is_zero() {
            if core.is_out() {
                core = self.over.wait(core).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let begin = Instant::now();
            let waited = self.over.wait_timeout(core, left);
            core = waited.unwrap_or_else(PoisonError::into_inner).0;
            left = left.saturating_sub(begin.elapsed());
        }
        core.is_ready()
    }

    /// There is an outage, or none any more.
    fn outage(&self, begins: bool) {
        self.with(|core| core.outage(begins));
        // Whose time has stopped, or goes on.
        self.over.notify_all();
        let mut keeper = self.keeper();
        (keeper.used, keeper.sleeps) = (true, false);
        drop(keeper);
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the state, sends what that asks for, and answers
    /// the kernel what can be answered: without the lock.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.lock();
        core.now = Instant::now();
        let result = act(&mut core);
        let (mut replies, first) = core.take_replies();
        let output = core.has_output();
        let hurried = core.take_hurried();
        drop(core);
        if hurried && self.keeper().in_channel {
            self.bell.ring();
        }
        if first {
            replies.drain(..).for_each(|reply| reply());
        }
        if output {
            self.flush();
        }
        replies.into_iter().for_each(|reply| reply());
        result
    }

    /// The same, for a thread that waits for what is answered.
    pub(super) fn for_asker<R>(&self, asker: &Request, act: impl FnOnce(&mut Core) -> R) -> R {
        self.waiters.asks(asker);
        self.with(act)
    }

    /// Whether it was mounted, and the kernel does not know it any more.
    pub(super) fn is_unmounted(&self) -> bool {
        self.device.get().is_some_and(Device::is_over)
    }

    /// The file system is mounted: whoever waits in an outage can be let go.
    pub(super) fn mounted(&self, device: Device) {
        // It is mounted once.
        let _ = self.device.set(device);
    }

    /// Sends what there is, unless another thread does so already: it looks
    /// again before it stops.
    fn flush(&self) {
        loop {
            let Ok(mut writer) = self.writer.try_lock() else {
                return;
            };
            let drained = self.drain(&mut writer);
            drop(writer);
            match drained {
                Ok(true) => {}
                Ok(false) => {
                    self.keeper().blocked = true;
                    self.wake.notify_one();
                    return;
                }
                Err(_) => {
                    self.gone();
                    return;
                }
            }
            if !self.lock().has_output() {
                break;
            }
        }
        let mut keeper = self.keeper();
        keeper.used = true;
        if keeper.sleeps {
            keeper.sleeps = false;
            drop(keeper);
            self.wake.notify_one();
        }
    }

    /// `false`: the channel is full.
    fn drain(&self, unsent: &mut VecDeque<(Vec<u8>, usize)>) -> io::Result<bool> {
        loop {
            {
                let mut core = self.lock();
                while unsent.len() < PACKETS {
                    let Some(packet) = core.poll_transmit() else {
                        break;
                    };
                    unsent.push_back((packet, 0));
                }
            }
            if unsent.is_empty() {
                return Ok(true);
            }
            let parts: Vec<_> = unsent
                .iter()
                .map(|(packet, sent)| IoSlice::new(packet.get(*sent..).unwrap_or_default()))
                .collect();
            let Some(count) = self.channel.try_write(&parts)? else {
                return Ok(false);
            };
            take_sent(unsent, count);
            self.lock().sent();
        }
    }

    /// The life of the thread that reads.
    fn read(&self) {
        let mut buffer = vec![0; READ];
        loop {
            let long = self.lock().take_partial(READ);
            let received = if let Some(mut partial) = long {
                if !matches!(self.channel.read_into(partial.buffer()), Ok(1..)) {
                    break;
                }
                self.with(|core| core.receive_partial(partial).map(|()| false))
            } else {
                let Ok(count @ 1..) = self.channel.read(&mut buffer) else {
                    break;
                };
                let bytes = buffer.get(..count).unwrap_or_default();
                self.with(|core| {
                    let first = !core.is_ready();
                    core.receive(bytes).map(|()| first)
                })
            };
            match received {
                Ok(true) => self.over.notify_all(),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "the sharing end");
                    break;
                }
            }
        }
        self.gone();
    }

    /// The life of the thread that keeps deadlines, and sends when a full
    /// channel has room again.
    fn keep(&self) {
        loop {
            {
                // Before the deadline is asked for: who comes with a nearer one
                // after that rings.
                let mut keeper = self.keeper();
                keeper.in_channel = keeper.blocked;
            }
            let deadline = {
                let mut core = self.lock();
                core.now = Instant::now();
                core.poll_timeout()
            };
            let time = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let mut keeper = self.keeper();
            if keeper.over {
                return;
            }
            if deadline.is_none() && keeper.used && !keeper.blocked {
                keeper.used = false;
                let waits = |keeper: &mut Keeper| !keeper.used && !keeper.over && !keeper.blocked;
                let waited = self.wake.wait_timeout_while(keeper, QUIET, waits);
                keeper = waited.unwrap_or_else(PoisonError::into_inner).0;
                if !keeper.used && !keeper.over && !keeper.blocked {
                    drop(keeper);
                    self.with(Core::tidy);
                    sys::give_back();
                }
                continue;
            }
            if keeper.blocked {
                if !keeper.in_channel {
                    continue;
                }
                keeper.blocked = false;
                drop(keeper);
                let time = time.unwrap_or(Duration::from_secs(1));
                match self.channel.wait_writable(time, &self.bell) {
                    Ok(true) => self.flush(),
                    Ok(false) => self.keeper().blocked = true,
                    Err(_) => self.gone(),
                }
            } else if let Some(time) = time {
                // Often enough to see that nothing is under way any more.
                drop(self.wake.wait_timeout(keeper, time.min(QUIET)));
            } else {
                keeper.sleeps = true;
                let waits = |keeper: &mut Keeper| keeper.sleeps && !keeper.over && !keeper.blocked;
                drop(self.wake.wait_while(keeper, waits));
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now())
                && self.with(Core::handle_timeout).is_err()
            {
                self.gone();
            }
        }
    }

    /// The channel is gone, or shall be: everything fails at once.
    pub(super) fn gone(&self) {
        self.with(Core::fail);
        self.keeper().over = true;
        self.bell.ring();
        self.wake.notify_all();
        self.over.notify_all();
        self.channel.shutdown();
    }

    pub(super) fn wait_gone(&self) {
        let core = self.lock();
        drop(self.over.wait_while(core, |core| !core.is_gone()));
    }
}

/// The life of the thread that is told of outages.
fn follow(link: &Weak<Link>, mut outages: Outages) {
    let mut look = None;
    loop {
        let next = outages.next(look);
        let Some(link) = link.upgrade() else {
            return;
        };
        match next {
            Next::Changed(begins) => {
                tracing::info!(begins, "outage");
                link.outage(begins);
                look = begins.then_some(LOOK);
            }
            Next::Nothing => {
                if let Some(device) = link.device.get() {
                    link.waiters.let_go(device);
                }
            }
            Next::Over => return link.outage(false),
        }
    }
}
