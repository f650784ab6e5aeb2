//! Every course a resume can take, up to a length: the session outlives all of
//! them, and its token is never lost to both.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod pair;

use std::time::Duration;

use pair::{Pair, Side};
use qvd_carrier::{Config, Event, Kind, Loss, Refusal, Token};

/// What may happen next.
#[derive(Debug, Clone, Copy)]
enum Move {
    /// One hello or frame goes and arrives.
    Step(Side),
    /// One goes, and is lost in the middle with the connection.
    Torn(Side),
    Cut,
    Reconnect,
}

const MOVES: [Move; 6] = [
    Move::Step(Side::Client),
    Move::Step(Side::Agent),
    Move::Torn(Side::Client),
    Move::Torn(Side::Agent),
    Move::Cut,
    Move::Reconnect,
];

fn make(pair: &mut Pair, next: Move) {
    match next {
        Move::Step(from) => {
            pair.write_out(from, 1);
            pair.arrive(from.other(), usize::MAX);
        }
        Move::Torn(from) => {
            let count = pair.write_out(from, 1);
            pair.arrive(from.other(), count / 2);
            pair.cut();
        }
        Move::Cut => pair.cut(),
        Move::Reconnect => pair.reconnect(),
    }
}

/// Runs every sequence of `length` moves, from a session that has begun or has
/// not.
fn every_course(length: u32, begun: bool) {
    let count = MOVES.len().pow(length);
    for course in 0..count {
        let mut pair = Pair::new(&Config::default());
        let nx = pair.open(Side::Client, Kind::Nx).unwrap();
        if begun {
            pair.reconnect();
            pair.settle();
        }
        pair.client.write(nx, 20);
        pair.agent.write(nx, 20);
        let mut rest = course;
        let mut moves = Vec::new();
        for _ in 0..length {
            let next = MOVES[rest % MOVES.len()];
            rest /= MOVES.len();
            moves.push(next);
            make(&mut pair, next);
        }
        pair.finish();
        assert!(
            !pair
                .client
                .has(|event| matches!(event, Event::Lost(Loss::Refused(_)) | Event::Ended { .. })),
            "{moves:?}: {:?}",
            pair.client.events
        );
        pair.assert_lives();
        let token = pair.client.carrier.token().unwrap();
        assert!(pair.agent.carrier.knows(token), "{moves:?}");
    }
}

#[test]
fn a_session_begins_whatever_becomes_of_its_first_hellos() {
    every_course(5, false);
}

#[test]
fn a_session_is_resumed_whatever_becomes_of_the_hellos() {
    every_course(5, true);
}

#[test]
fn a_token_is_good_once() {
    let mut pair = Pair::connected(&Config::default());
    let first = pair.client.carrier.token().unwrap().clone();
    assert!(pair.agent.carrier.knows(&first));
    pair.cut();
    pair.reconnect();
    pair.settle();
    assert!(!pair.agent.carrier.knows(&first));
    assert!(!pair.agent.carrier.knows(&Token::new([0; 16])));
    let second = pair.client.carrier.token().unwrap();
    assert!(pair.agent.carrier.knows(second));
    assert_eq!(pair.client.carrier.stats().resumes, 1);
}

#[test]
fn a_new_session_does_not_take_the_place_of_one() {
    let mut pair = Pair::connected(&Config::default());
    let mut other = Pair::new(&Config::default());
    let (token, now) = (pair.token(), pair.now);
    pair.agent.carrier.greet(token, now).unwrap();
    other.agent = pair.agent;
    other.agent.linked = true;
    other.client.carrier.connect(now).unwrap();
    other.client.linked = true;
    other.settle();
    assert!(
        other
            .agent
            .has(|e| *e == Event::Lost(Loss::Refused(Refusal::Occupied)))
    );
    assert!(other.client.carrier.is_done());
    // The one that was there goes on.
    pair.agent = other.agent;
    pair.cut();
    pair.reconnect();
    pair.settle();
    pair.assert_lives();
    assert!(pair.agent.carrier.is_connected());
}

#[test]
fn a_silent_peer_is_lost_after_four_seconds_and_one_that_answers_is_not() {
    let mut pair = Pair::connected(&Config::default());
    for _ in 0..100 {
        pair.pass(Duration::from_millis(700));
        pair.settle();
    }
    assert!(pair.client.carrier.is_connected() && pair.agent.carrier.is_connected());
    assert!(pair.client.carrier.stats().round_trip.is_some());
    // Nothing arrives any more.
    pair.settle();
    let silent = pair.now;
    while pair.client.carrier.is_connected() {
        let at = pair.client.carrier.deadline().unwrap();
        let wait = at.saturating_duration_since(pair.now);
        pair.pass(wait);
        pair.client.carrier.output(pair.now, &mut Vec::new(), 1000);
    }
    let after = pair.now - silent;
    assert!(
        after >= Duration::from_secs(3) && after <= Duration::from_secs(5),
        "{after:?}"
    );
    assert!(pair.client.has(|e| *e == Event::Lost(Loss::Silent)));
}

/// How long a client waits for a peer that says nothing after its network has
/// changed, so often as `doubts` says.
fn doubted(pair: &mut Pair, doubts: u32) -> Duration {
    let begin = pair.now;
    for _ in 0..doubts {
        pair.client.carrier.doubt(pair.now);
        pair.client.carrier.output(pair.now, &mut Vec::new(), 1000);
        pair.pass(Duration::from_millis(100));
    }
    while pair.client.carrier.is_connected() {
        let at = pair.client.carrier.deadline().unwrap();
        pair.pass(at.saturating_duration_since(pair.now));
        pair.client.carrier.output(pair.now, &mut Vec::new(), 1000);
    }
    assert!(pair.client.has(|e| *e == Event::Lost(Loss::Silent)));
    pair.now - begin
}

#[test]
fn a_network_that_changes_is_doubted_for_a_second() {
    for doubts in [1, 5] {
        let mut pair = Pair::connected(&Config::default());
        // One that answers is there for good.
        pair.client.carrier.doubt(pair.now);
        pair.settle();
        for _ in 0..20 {
            pair.pass(Duration::from_millis(500));
            pair.settle();
        }
        assert!(pair.client.carrier.is_connected());
        // However often it changes.
        let after = doubted(&mut pair, doubts);
        assert_eq!(after, Duration::from_secs(1));
        // Without a connection there is nothing to doubt.
        pair.client.carrier.doubt(pair.now);
        pair.cut();
        pair.reconnect();
        pair.settle();
        pair.assert_lives();
        assert!(pair.client.carrier.is_connected());
    }
}

#[test]
fn hellos_that_do_not_come_are_given_up() {
    let mut pair = Pair::new(&Config::default());
    pair.client.carrier.connect(pair.now).unwrap();
    pair.pass(Duration::from_secs(10));
    assert!(pair.client.has(|e| *e == Event::Lost(Loss::Hello)));
}
