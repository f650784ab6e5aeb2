//! What was written arrives once and in order, whatever becomes of the
//! connections.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod pair;

use std::time::Duration;

use pair::{Pair, Side};
use proptest::prelude::*;
use qvd_carrier::{Config, Event, Kind};

/// A program's act, or fate's.
#[derive(Debug, Clone)]
enum Act {
    Open(Side, usize),
    Write(Side, usize, usize),
    Read(Side, usize, usize),
    HalfClose(Side, usize),
    Output(Side, usize),
    Arrive(Side, usize),
    Pass(u64),
    Cut,
    /// Only one end is told, or none: the other finds out by the resume.
    CutOne(Side),
    Doubt(Side),
    Reconnect,
}

fn act() -> impl Strategy<Value = Act> {
    let side = || prop_oneof![Just(Side::Client), Just(Side::Agent)];
    prop_oneof![
        1 => (side(), 0..7_usize).prop_map(|(s, k)| Act::Open(s, k)),
        4 => (side(), 0..4_usize, 1..60_usize).prop_map(|(s, n, b)| Act::Write(s, n, b)),
        3 => (side(), 0..4_usize, 1..90_usize).prop_map(|(s, n, b)| Act::Read(s, n, b)),
        1 => (side(), 0..4_usize).prop_map(|(s, n)| Act::HalfClose(s, n)),
        6 => (side(), 1..60_usize).prop_map(|(s, n)| Act::Output(s, n)),
        6 => (side(), 1..60_usize).prop_map(|(s, n)| Act::Arrive(s, n)),
        1 => (1..3000_u64).prop_map(Act::Pass),
        1 => Just(Act::Cut),
        1 => side().prop_map(Act::CutOne),
        1 => side().prop_map(Act::Doubt),
        2 => Just(Act::Reconnect),
    ]
}

/// Small windows, so that credit matters.
fn config() -> Config {
    Config {
        window: 64,
        ..Config::default()
    }
}

fn nth(pair: &mut Pair, side: Side, n: usize) -> Option<u32> {
    let stats: Vec<u32> = pair
        .end(side)
        .carrier
        .stream_stats()
        .map(|s| s.stream)
        .collect();
    stats.get(n % stats.len().max(1)).copied()
}

/// Bytes that are so many times what an act says.
fn perform(pair: &mut Pair, act: &Act, times: usize) {
    match *act {
        Act::Open(side, kind) => {
            pair.open(side, Kind::ALL[kind]);
        }
        Act::Write(side, n, count) => {
            if let Some(id) = nth(pair, side, n) {
                pair.end(side).write(id, count * times);
            }
        }
        Act::Read(side, n, count) => {
            if let Some(id) = nth(pair, side, n) {
                pair.end(side).read(id, count * times);
            }
        }
        Act::HalfClose(side, n) => {
            if let Some(id) = nth(pair, side, n) {
                let _ = pair.end(side).carrier.half_close(id);
            }
        }
        Act::Output(side, room) => {
            pair.write_out(side, room * times);
        }
        Act::Arrive(side, most) => {
            pair.arrive(side, most * times);
        }
        Act::Pass(ms) => pair.pass(Duration::from_millis(ms)),
        Act::Cut => pair.cut(),
        Act::CutOne(side) => {
            let end = pair.end(side);
            end.carrier.lost();
            end.linked = false;
        }
        Act::Doubt(side) => {
            let now = pair.now;
            pair.end(side).carrier.doubt(now);
        }
        Act::Reconnect => pair.reconnect(),
    }
}

/// Acts upon a session with these limits, and all that is to come after them.
fn play(config: &Config, acts: &[Act], times: usize) -> Result<(), TestCaseError> {
    let mut pair = Pair::new(config);
    pair.open(Side::Client, Kind::Nx);
    pair.reconnect();
    for act in acts {
        perform(&mut pair, act, times);
        pair.assert_prefix();
    }
    pair.finish();
    pair.assert_lives();
    // Both agree on what went.
    let (client, agent) = (pair.client.carrier.stats(), pair.agent.carrier.stats());
    prop_assert_eq!(client.sent, agent.received);
    prop_assert_eq!(agent.sent, client.received);
    prop_assert_eq!(client.unacknowledged + agent.unacknowledged, 0);
    Ok(())
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn what_is_written_arrives_exactly_once(acts in proptest::collection::vec(act(), 1..40)) {
        play(&config(), &acts, 1)?;
    }
}

proptest! {
    #![proptest_config(cases(3000))]

    /// Frames of all lengths, those whose bytes are not copied among them, and
    /// a replay buffer that is full again and again.
    #[test]
    fn what_is_much_arrives_exactly_once(acts in proptest::collection::vec(act(), 1..40)) {
        let config = Config {
            window: 100_000,
            replay: 128 * 1024,
            ..Config::default()
        };
        play(&config, &acts, 1100)?;
    }
}

/// A short exchange with every frame there is but RESET and REFUSE, over
/// connections of which the first is cut after `fuse` bytes.
fn exchange(fuse: Option<usize>) -> (Pair, usize) {
    let mut pair = Pair::new(&config());
    pair.fuse = fuse;
    pair.reconnect();
    let nx = pair.open(Side::Client, Kind::Nx).unwrap();
    let share = pair.open(Side::Agent, Kind::Share).unwrap();
    pair.client.write(nx, 100);
    pair.client.write(share, 10);
    pair.agent.write(share, 150);
    let mut arrived = 0;
    for _ in 0..60 {
        for side in [Side::Client, Side::Agent] {
            pair.write_out(side, 1);
            arrived += pair.arrive(side.other(), usize::MAX);
        }
        pair.pass(Duration::from_millis(10));
        pair.client.read_all();
        pair.agent.read_all();
    }
    pair.finish();
    pair.agent.write(nx, 30);
    for (side, id) in [(Side::Client, nx), (Side::Agent, share)] {
        pair.end(side).carrier.half_close(id).unwrap();
        pair.end(side.other()).carrier.half_close(id).unwrap();
    }
    pair.finish();
    (pair, arrived)
}

#[test]
fn a_loss_at_every_byte_loses_nothing() {
    let (_, length) = exchange(None);
    assert!(length > 400, "{length}");
    for fuse in 1..=length {
        let (pair, _) = exchange(Some(fuse));
        pair.assert_lives();
        for end in [&pair.client, &pair.agent] {
            let closed = end
                .events
                .iter()
                .filter(|e| matches!(e, Event::HalfClosed(_)));
            assert_eq!(closed.count(), 2, "cut after {fuse} bytes");
            assert_eq!(end.carrier.stats().streams, 0, "cut after {fuse} bytes");
        }
    }
}

#[test]
fn a_loss_at_every_byte_of_every_resume_loses_nothing() {
    // Each connection lives a byte longer than the one before.
    for step in 1..4 {
        let mut pair = Pair::connected(&config());
        let nx = pair.open(Side::Client, Kind::Nx).unwrap();
        pair.settle();
        pair.client.write(nx, 300);
        pair.agent.write(nx, 300);
        for fuse in (1..400).step_by(step) {
            pair.cut();
            pair.reconnect();
            pair.fuse = Some(fuse);
            pair.settle();
            pair.client.read(nx, 7);
            pair.agent.read(nx, 5);
            pair.assert_prefix();
        }
        pair.fuse = None;
        pair.finish();
        pair.assert_lives();
    }
}
