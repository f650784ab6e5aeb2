//! How much may be on its way before bulk data waits (PROTOCOL.md §4).
//!
//! What has been given to the connection can be overtaken by nothing, wherever
//! it waits: in this kernel's buffers, a broker's, a router's or the peer's.
//! So bulk data is given no faster than it arrives. How long it waits on its
//! way is known from the ACKs: the time a byte took, less the least that any
//! has taken. Where that is more than a moment, less is sent at a time; where
//! it is nothing, more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limits::{
    FULL_CHUNK, HEADER, LEAST_CHUNK, LEAST_WINDOW, MAX_MARKS, MAX_WAITING, PROBE, START_WINDOW,
    WAITING,
};

/// How long the least time is believed; after twice as long it is forgotten.
const PERIOD: Duration = Duration::from_secs(10);

/// ACKs of a round that say something together. Of a network that takes now
/// longer, now less, the least of several counts.
const ENOUGH: u32 = 3;

/// Rounds without waiting after which the network is taken to have changed:
/// then the window doubles with each.
const CALM: u32 = 8;

/// What the window grows by, at least, in a round without waiting.
const GROWTH: f64 = 1.0 + 1.0 / 16.0;

/// Bytes that, alone on the way, take no longer than one does.
const ALONE: usize = 2048;

/// How long the least time is not doubted again.
const DOUBTS: Duration = Duration::from_secs(1);

/// Times that tell how much they vary.
const PROBES: u32 = 4;

/// What is known of one connection's way there and back.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Bytes that may be on their way before bulk data waits.
    window: usize,
    most: usize,
    /// When a position was given to the connection.
    marks: VecDeque<Mark>,
    /// The least time of this period and of the one before.
    least: Option<Duration>,
    before: Option<Duration>,
    began: Instant,
    /// How much longer it takes when nothing waits on the way.
    noise: Duration,
    /// Bulk data waits, to find out how long the way takes.
    probe: Option<Probe>,
    /// When that was doubted last.
    doubted: Option<Instant>,
    round: Round,
    /// Rounds in a row in which nothing waited too long.
    calm: u32,
    /// Bytes a second that arrive, of late.
    speed: f64,
    /// The position that was acknowledged last.
    acknowledged: u64,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    position: u64,
    at: Instant,
    /// Hardly anything was on its way.
    alone: bool,
}

/// What the ACKs have said of a window's worth of bytes.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// It is over when this is acknowledged.
    until: u64,
    least: Option<Duration>,
    acks: u32,
    /// When it began, and with what.
    began: Instant,
    from: u64,
    /// Other data than NX's has waited for the window.
    held: bool,
    /// There was some.
    paced: bool,
}

/// While this lasts, bulk data goes a segment at a time, when hardly anything
/// is on its way.
#[derive(Debug, Clone, Copy)]
struct Probe {
    until: Instant,
    /// What was given to the connection before.
    from: u64,
    /// What is found out takes the place of what was known.
    anew: bool,
    /// The least time of all, and of those that were alone.
    any: Option<Duration>,
    least: Option<Duration>,
    most: Duration,
    count: u32,
}

impl Round {
    const fn new(from: u64, until: u64, began: Instant) -> Self {
        Self {
            until,
            least: None,
            acks: 0,
            began,
            from,
            held: false,
            paced: false,
        }
    }
}

impl Pace {
    /// For a connection that begins at `position`; `most` bytes are kept for
    /// replay.
    pub(crate) fn new(position: u64, most: usize, now: Instant) -> Self {
        Self {
            window: START_WINDOW,
            most,
            marks: VecDeque::new(),
            least: None,
            before: None,
            began: now,
            noise: Duration::ZERO,
            probe: None,
            doubted: None,
            round: Round::new(position, position, now),
            calm: CALM,
            speed: 0.0,
            acknowledged: position,
        }
    }

    /// Bytes of bulk data that may be given with so many on their way; 0 where
    /// it waits.
    pub(crate) fn bulk(&mut self, under_way: usize) -> usize {
        let chunk = self.chunk();
        self.held(under_way, self.window, chunk.saturating_add(HEADER))
    }

    /// The same for interactive data: it may wait twice as long as bulk data
    /// may.
    pub(crate) fn interactive(&mut self, under_way: usize) -> usize {
        let chunk = self.chunk();
        self.held(under_way, self.window.saturating_mul(2), chunk)
    }

    /// Bytes that may be given with so many on their way of `window`, if it has
    /// room for `least`.
    fn held(&mut self, under_way: usize, window: usize, least: usize) -> usize {
        if self.probe.is_some() {
            let alone = under_way.saturating_add(LEAST_CHUNK) <= ALONE;
            return if alone { LEAST_CHUNK } else { 0 };
        }
        self.round.paced = true;
        if window.saturating_sub(under_way) < least {
            self.round.held = true;
            return 0;
        }
        self.chunk()
    }

    /// The largest frame that is no more than a part of what is on its way, and
    /// takes no more than a moment.
    fn chunk(&self) -> usize {
        let moment = Duration::try_from_secs_f64(self.speed / 1e9);
        let moment = moment.map_or(usize::MAX, |moment| {
            usize::try_from(moment.as_micros()).unwrap_or(usize::MAX)
        });
        let part = self.window / 4;
        part.min(moment).clamp(LEAST_CHUNK, FULL_CHUNK)
    }

    /// Everything up to `position` has been given to the connection, and so many
    /// bytes are on their way.
    pub(crate) fn given(&mut self, position: u64, under_way: usize, now: Instant) {
        let last = self.marks.back().map_or(self.acknowledged, |m| m.position);
        if position <= last || self.marks.len() >= MAX_MARKS {
            return;
        }
        self.marks.push_back(Mark {
            position,
            at: now,
            alone: under_way <= ALONE,
        });
    }

    /// An ACK came, which the peer has kept for `kept`; `end` is the position
    /// of what was given.
    pub(crate) fn acknowledged(&mut self, position: u64, kept: Duration, end: u64, now: Instant) {
        let mut newest = None;
        while let Some(mark) = self.marks.front().copied()
            && mark.position <= position
        {
            newest = Some(mark);
            self.marks.pop_front();
        }
        let bytes = position.saturating_sub(self.acknowledged);
        self.acknowledged = position.max(self.acknowledged);
        let Some(mark) = newest else {
            return;
        };
        let took = now.saturating_duration_since(mark.at);
        let took = took.saturating_sub(kept);
        self.learn(took, mark, end, now);
        if self.probe.is_some() {
            return;
        }
        self.round.acks = self.round.acks.saturating_add(1);
        let least = self.round.least.map_or(took, |least| least.min(took));
        self.round.least = Some(least);
        let waited = least.saturating_sub(self.base(took));
        if self.calm >= CALM && self.round.held && waited < self.waiting() / 2 {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            self.window = self.window.saturating_add(bytes).min(self.most);
        }
        if position >= self.round.until && self.round.acks >= ENOUGH {
            // NX alone, which waits for nothing here, says nothing of a window.
            if self.round.paced {
                self.measure(position, waited, now);
                self.judge(least, end, now);
            }
            self.round = Round::new(position, end, now);
        }
    }

    /// A byte took so long, on its own or behind others.
    fn learn(&mut self, took: Duration, mark: Mark, end: u64, now: Instant) {
        let alone = mark.alone;
        self.least = Some(self.least.map_or(took, |least| least.min(took)));
        if alone {
            let more = took.saturating_sub(self.base(took));
            self.noise = self.noise.saturating_mul(7).saturating_add(more) / 8;
        }
        if let Some(probe) = &mut self.probe {
            if mark.position > probe.from {
                probe.any = Some(probe.any.map_or(took, |least| least.min(took)));
            }
            if alone {
                probe.least = Some(probe.least.map_or(took, |least| least.min(took)));
                probe.most = probe.most.max(took);
                probe.count = probe.count.saturating_add(1);
            }
            let enough = probe.count >= PROBES;
            if enough || now >= probe.until {
                self.found();
            }
        }
        if now.saturating_duration_since(self.began) >= PERIOD {
            self.before = self.least.take();
            self.began = now;
            self.find(false, took, end, now);
        }
    }

    /// Begins to find out how long the way takes, which took so long at last.
    fn find(&mut self, anew: bool, took: Duration, from: u64, now: Instant) {
        // What is on its way arrives first; then there is time for some more,
        // where they do not take long.
        let twice = took.saturating_mul(2);
        let time = took.saturating_mul(PROBES + 1).min(twice.max(PROBE));
        self.probe = Some(Probe {
            until: now + time,
            from,
            anew,
            any: None,
            least: None,
            most: Duration::ZERO,
            count: 0,
        });
    }

    /// It was found out, as far as others than bulk data have left pauses.
    fn found(&mut self) {
        let Some(probe) = self.probe.take() else {
            return;
        };
        let found = probe.least.or(probe.any);
        if probe.anew && found.is_some() {
            self.least = found;
            self.before = None;
            self.noise = Duration::ZERO;
        }
        let varies = probe.most.saturating_sub(probe.least.unwrap_or(probe.most));
        self.noise = self.noise.max(varies);
    }

    /// The least time that anything took; `took` where that is not known.
    fn base(&self, took: Duration) -> Duration {
        let known = [self.least, self.before].into_iter().flatten().min();
        known.unwrap_or(took)
    }

    /// The least time that is known, for what depends on the distance.
    pub(crate) fn distance(&self) -> Option<Duration> {
        [self.least, self.before].into_iter().flatten().min()
    }

    /// A round is over: how fast it went.
    fn measure(&mut self, position: u64, waited: Duration, now: Instant) {
        let bytes = position.saturating_sub(self.round.from);
        let time = now.saturating_duration_since(self.round.began);
        // Where nothing waited, here or on the way, it was as fast as was asked
        // for, which says nothing.
        let waits = waited > WAITING.max(self.noise.saturating_mul(2));
        if (self.round.held || waits) && !time.is_zero() {
            let speed = bytes as f64 / time.as_secs_f64();
            self.speed = speed.max(self.speed.mul_add(7.0, speed) / 8.0);
        }
    }

    /// How long bulk data may wait on the way: no longer than a segment takes
    /// to be sent, or as good as nothing; but what the network does by itself
    /// is not taken for waiting.
    fn waiting(&self) -> Duration {
        let segment = Duration::try_from_secs_f64(LEAST_CHUNK as f64 / self.speed);
        let segment = segment.unwrap_or(MAX_WAITING).min(MAX_WAITING);
        let noise = self.noise.saturating_mul(2);
        let far = self.distance().unwrap_or_default() / 32;
        WAITING.max(segment).max(noise).max(far)
    }

    /// What waits too long is too much.
    fn judge(&mut self, least: Duration, end: u64, now: Instant) {
        let base = self.base(least);
        let allowed = self.waiting();
        let waited = least.saturating_sub(base);
        if waited <= allowed {
            if !self.round.held || waited >= allowed / 2 {
                self.calm = if self.round.held { 0 } else { self.calm };
                return;
            }
            self.calm = self.calm.saturating_add(1);
            if self.calm < CALM {
                let part = (base + allowed).as_secs_f64() / least.as_secs_f64().max(1e-9);
                let more = scaled(self.window, part.clamp(GROWTH, 1.25));
                let more = more.max(self.window.saturating_add(LEAST_CHUNK));
                self.window = more.min(self.most);
            }
            return;
        }
        self.calm = 0;
        // What waits although hardly anything is on its way waits for others,
        // or the way has become longer.
        let doubted = |at: Instant| now.saturating_duration_since(at) < DOUBTS;
        if self.window == LEAST_WINDOW && !self.doubted.is_some_and(doubted) {
            self.doubted = Some(now);
            self.find(true, least, end, now);
            return;
        }
        // What would have waited as long as is allowed, had it gone as fast.
        let part = (base + allowed).as_secs_f64() / least.as_secs_f64().max(1e-9);
        let window = scaled(self.window, part.clamp(0.5, 1.0));
        self.window = window.max(LEAST_WINDOW);
    }
}

/// A part of `bytes`, or more of them.
fn scaled(bytes: usize, part: f64) -> usize {
    // By way of a duration, which knows how to round.
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let scaled = Duration::from_micros(bytes).mul_f64(part);
    usize::try_from(scaled.as_micros()).unwrap_or(usize::MAX)
}
