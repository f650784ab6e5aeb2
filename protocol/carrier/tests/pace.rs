//! Links of all kinds in virtual time: bulk data fills them, and what NX says
//! beside it does not wait.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod pair;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use qvd_carrier::{Carrier, Config, Kind};

use self::pair::{Pair, Side};

/// What happens within a tick happens at once.
const TICK: Duration = Duration::from_micros(50);

/// A link: bits a second (the same each way), one way's time, what that varies
/// by.
#[derive(Debug, Clone, Copy)]
struct Link {
    bits: u64,
    way: Duration,
    varies: Duration,
}

const fn link(bits: u64, way: u64, varies: u64) -> Link {
    Link {
        bits,
        way: Duration::from_micros(way),
        varies: Duration::from_micros(varies),
    }
}

/// One way of it.
struct Way {
    link: Link,
    /// When the line is free for the next packet.
    free: Instant,
    /// Nothing overtakes on a connection.
    last: Instant,
    under_way: VecDeque<(Instant, Vec<u8>)>,
    chance: u64,
}

impl Way {
    fn new(link: Link, now: Instant, chance: u64) -> Self {
        Self {
            link,
            free: now,
            last: now,
            under_way: VecDeque::new(),
            chance,
        }
    }

    fn random(&mut self) -> u64 {
        // Knuth's generator of 64 bits.
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.chance >> 33
    }

    /// The sender's kernel takes 16 KiB ahead of the line.
    fn has_room(&self, now: Instant) -> bool {
        let ahead = self.free.saturating_duration_since(now);
        ahead.as_secs_f64() * self.link.bits as f64 / 8.0 < 16.0 * 1024.0
    }

    fn send(&mut self, bytes: &[u8], now: Instant) {
        for packet in bytes.chunks(1448) {
            let takes = packet.len() as u64 * 8 * 1_000_000_000 / self.link.bits;
            self.free = self.free.max(now) + Duration::from_nanos(takes);
            let varies = self.link.varies.as_micros() as u64;
            let more = match varies {
                0 => 0,
                most => self.random() % most,
            };
            let arrives = self.free + self.link.way + Duration::from_micros(more);
            self.last = self.last.max(arrives);
            self.under_way.push_back((self.last, packet.to_vec()));
        }
    }

    fn arrived(&mut self, now: Instant) -> Bytes {
        let mut bytes = Vec::new();
        while let Some((at, _)) = self.under_way.front()
            && *at <= now
        {
            bytes.extend(self.under_way.pop_front().unwrap().1);
        }
        bytes.into()
    }
}

/// What a run has shown.
#[derive(Debug)]
struct Seen {
    /// Bulk bytes a second, of what the link could carry.
    filled: f64,
    /// How long a word of NX took to arrive: the worst of twenty.
    high: Duration,
}

/// Runs a stream of this kind at full speed for so long, and an NX word every
/// 30 ms. After an eighth of the time the way takes `longer`.
fn run(kind: Kind, mut link: Link, mut longer: Duration, time: Duration, config: &Config) -> Seen {
    let mut pair = Pair::new(config);
    pair.reconnect();
    let share = pair.open(Side::Client, kind).unwrap();
    let nx = pair.open(Side::Client, Kind::Nx).unwrap();
    let begin = pair.now;
    let mut ways = [Way::new(link, begin, 1), Way::new(link, begin, 2)];
    let (mut said, mut waits) = (VecDeque::new(), Vec::new());
    let mut next = begin;
    // Who has something to do.
    let mut woken = [true; 2];
    let mut measured = 0_u64;
    // What comes at first is the search for the right measure.
    let settled = begin + time / 4;
    while pair.now < begin + time {
        pair.now += TICK;
        let now = pair.now;
        if now > begin + time / 8 {
            link.way += std::mem::take(&mut longer);
            for way in &mut ways {
                way.link = link;
            }
        }
        // What a runtime's clock can tell.
        if (now - begin).subsec_micros().is_multiple_of(1000) {
            for side in [Side::Client, Side::Agent] {
                let end = pair.end(side);
                let due = end.carrier.deadline().is_some_and(|at| at <= now);
                end.carrier.timeout(now);
                woken[side as usize] |= due;
            }
        }
        if now >= next {
            next = now + Duration::from_millis(30);
            pair.client.carrier.write(nx, b"word").unwrap();
            said.push_back(now);
        }
        let zeros = [0; 64 * 1024];
        let _ = pair.client.carrier.write(share, &zeros);
        woken[Side::Client as usize] = true;
        for (side, way) in [Side::Client, Side::Agent].into_iter().zip(&mut ways) {
            while woken[side as usize] && way.has_room(now) {
                let mut out = Vec::new();
                if pair.end(side).carrier.output(now, &mut out, 16 * 1024) == 0 {
                    woken[side as usize] = false;
                    break;
                }
                way.send(&out, now);
            }
            let mut bytes = way.arrived(now);
            while !bytes.is_empty() {
                let other = pair.end(side.other());
                other.carrier.input(&mut bytes, now);
                other.hear();
                woken[side.other() as usize] = true;
            }
            pair.end(side).hear();
        }
        let got = take(&mut pair.agent.carrier, share);
        for _ in 0..take(&mut pair.agent.carrier, nx) / 4 {
            let at = said.pop_front().unwrap();
            if at >= settled {
                waits.push(now - at);
            }
        }
        if now >= settled {
            measured += got as u64;
        }
    }
    waits.sort_unstable();
    let seconds = (pair.now - settled).as_secs_f64();
    Seen {
        filled: measured as f64 * 8.0 / seconds / link.bits as f64,
        high: waits[waits.len() * 95 / 100],
    }
}

fn take(carrier: &mut Carrier, stream: u32) -> usize {
    let mut taken = 0;
    loop {
        let count = carrier.readable(stream).len();
        if count == 0 {
            return taken;
        }
        carrier.consume(stream, count);
        taken += count;
    }
}

#[test]
fn links_are_filled_and_nx_does_not_wait() {
    let config = Config::default();
    for (link, least, waits) in [
        // A slow line nearby: a word waits for what is on the line, no more.
        (link(10_000_000, 100, 0), 0.9, 3_300),
        (link(2_000_000, 5_000, 0), 0.85, 14_000),
        (link(10_000_000, 10_000, 0), 0.9, 4_000),
        (link(100_000_000, 5_000, 0), 0.8, 4_000),
        (link(1_000_000_000, 200, 0), 0.95, 1_000),
        // Far away.
        (link(10_000_000, 150_000, 0), 0.8, 40_000),
        (link(500_000_000, 50_000, 0), 0.9, 2_000),
        // Radio: a packet takes up to 6 ms longer than another.
        (link(50_000_000, 2_000, 6_000), 0.5, 8_000),
    ] {
        let time = Duration::from_secs(8);
        let seen = run(Kind::Share, link, Duration::ZERO, time, &config);
        let waited = seen.high.saturating_sub(link.way + link.varies);
        assert!(seen.filled >= least, "{link:?}: {seen:?}");
        assert!(waited <= Duration::from_micros(waits), "{link:?}: {seen:?}");
    }
}

#[test]
fn a_way_that_becomes_longer_is_not_taken_for_a_queue() {
    let longer = Duration::from_millis(40);
    let near = link(20_000_000, 1_000, 0);
    let time = Duration::from_secs(8);
    let seen = run(Kind::Share, near, longer, time, &Config::default());
    assert!(seen.filled >= 0.8, "{seen:?}");
    let waited = seen.high.saturating_sub(near.way + longer);
    assert!(waited <= Duration::from_millis(20), "{seen:?}");
}

/// With nothing in bulk beside them.
#[test]
fn a_print_job_or_a_forwarded_port_fills_a_link_too() {
    for (link, waits) in [
        (link(100_000_000, 25_000, 0), 6_000),
        (link(50_000_000, 10_000, 0), 6_000),
        (link(20_000_000, 25_000, 0), 8_000),
        (link(10_000_000, 100, 0), 6_600),
    ] {
        let time = Duration::from_secs(8);
        let seen = run(Kind::Slave, link, Duration::ZERO, time, &Config::default());
        let waited = seen.high.saturating_sub(link.way);
        assert!(seen.filled >= 0.8, "{link:?}: {seen:?}");
        assert!(waited <= Duration::from_micros(waits), "{link:?}: {seen:?}");
    }
}
