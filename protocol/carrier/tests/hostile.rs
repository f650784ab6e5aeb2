//! Peers that break the protocol, or ask for more than there is: ended with a
//! reason, and bounded.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod pair;

use std::time::Instant;

use bytes::Bytes;
use pair::{Pair, Side};
use qvd_carrier::limits::{MAX_CREDIT, MAX_PAYLOAD, WINDOW};
use qvd_carrier::{
    Carrier, Code, Config, Event, Frame, Kind, Loss, MAGIC, Reason, Refusal, Role, Token,
};

/// An agent's machine with a client of our own making.
struct Agent {
    carrier: Carrier,
    now: Instant,
}

fn hello(mode: u8, token: [u8; 16], received: u64) -> Vec<u8> {
    let mut hello = MAGIC.to_vec();
    hello.extend([1, 1, b'C', mode]);
    hello.extend(token);
    hello.extend(received.to_be_bytes());
    hello
}

impl Agent {
    fn new() -> Self {
        let now = Instant::now();
        let mut agent = Self {
            carrier: Carrier::new(Role::Agent, Config::default()),
            now,
        };
        agent.greet(1);
        agent.take(&hello(0, [0; 16], 0));
        assert_eq!(agent.event(), Event::Connected { resumed: false });
        agent.send(&Frame::Ack {
            position: 0,
            kept: 0,
        });
        agent.output();
        agent
    }

    fn greet(&mut self, token: u8) {
        self.carrier
            .greet(Token::new([token; 16]), self.now)
            .unwrap();
    }

    fn event(&mut self) -> Event {
        self.carrier.event().unwrap()
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut bytes = Bytes::copy_from_slice(bytes);
        while !bytes.is_empty() {
            self.carrier.input(&mut bytes, self.now);
        }
    }

    fn send(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.write(&mut bytes);
        self.take(&bytes);
    }

    fn output(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.carrier.output(self.now, &mut out, usize::MAX);
        out
    }

    fn open(&mut self, stream: u32, credit: u32) {
        self.send(&Frame::Open {
            stream,
            kind: 1,
            credit,
            metadata: b"",
        });
    }

    /// The session has ended for this reason, END is written, and all that is
    /// sent after is ignored.
    fn assert_ended(&mut self, why: Reason) {
        let ended = std::iter::from_fn(|| self.carrier.event())
            .find(|event| matches!(event, Event::Ended { .. }));
        let Some(Event::Ended {
            by_peer: false,
            reason,
            ..
        }) = ended
        else {
            panic!("not ended: {ended:?}");
        };
        assert_eq!(reason, why);
        let out = self.output();
        let mut rest = &out[..];
        let mut last = None;
        while let Some((frame, length)) = Frame::read(rest).unwrap() {
            last = Some(frame);
            rest = &rest[length..];
        }
        assert!(
            matches!(last, Some(Frame::End { code, .. }) if code == why.number()),
            "{last:?}"
        );
        assert!(self.carrier.is_done());
        self.open(1, 1);
        assert_eq!(self.carrier.event(), None);
    }
}

#[test]
fn wrong_frames_end_the_session() {
    let long = vec![0; MAX_PAYLOAD];
    let cases: &[(&str, &[Frame<'_>])] = &[
        (
            "data of no stream",
            &[Frame::Data {
                stream: 1,
                bytes: b"x",
            }],
        ),
        (
            "data of our own stream to come",
            &[Frame::Data {
                stream: 2,
                bytes: b"x",
            }],
        ),
        (
            "an id left out",
            &[Frame::Open {
                stream: 3,
                kind: 1,
                credit: 0,
                metadata: b"",
            }],
        ),
        (
            "an id of ours",
            &[Frame::Open {
                stream: 2,
                kind: 1,
                credit: 0,
                metadata: b"",
            }],
        ),
        (
            "an id twice",
            &[
                Frame::Open {
                    stream: 1,
                    kind: 1,
                    credit: 0,
                    metadata: b"",
                },
                Frame::Open {
                    stream: 1,
                    kind: 1,
                    credit: 0,
                    metadata: b"",
                },
            ],
        ),
        (
            "data before it is accepted",
            &[
                Frame::Open {
                    stream: 1,
                    kind: 1,
                    credit: 0,
                    metadata: b"",
                },
                Frame::Data {
                    stream: 1,
                    bytes: &long,
                },
            ],
        ),
        (
            "an answer to its own question",
            &[
                Frame::Open {
                    stream: 1,
                    kind: 1,
                    credit: 0,
                    metadata: b"",
                },
                Frame::Accept {
                    stream: 1,
                    credit: 0,
                    metadata: b"",
                },
            ],
        ),
        (
            "a position never reached",
            &[Frame::Ack {
                position: u64::MAX,
                kept: 0,
            }],
        ),
    ];
    for (what, frames) in cases {
        let mut agent = Agent::new();
        for frame in *frames {
            agent.send(frame);
        }
        println!("{what}");
        agent.assert_ended(Reason::Violation);
    }
    for garbage in [
        &[0xff; 7][..],
        &[4, 0, 0, 0, 1, 0xff, 0xff],
        b"NXPROXY-3.5.0",
    ] {
        let mut agent = Agent::new();
        agent.take(garbage);
        agent.assert_ended(Reason::Violation);
    }
}

#[test]
fn data_beyond_credit_ends_the_session_and_no_byte_before() {
    let mut agent = Agent::new();
    agent.open(1, 0);
    agent.carrier.accept(1, b"").unwrap();
    let bytes = vec![0; MAX_PAYLOAD];
    let whole = WINDOW as usize / MAX_PAYLOAD;
    for _ in 0..whole {
        agent.send(&Frame::Data {
            stream: 1,
            bytes: &bytes,
        });
    }
    assert!(agent.carrier.stream_stats().next().is_some());
    agent.send(&Frame::Data {
        stream: 1,
        bytes: b"x",
    });
    agent.assert_ended(Reason::Violation);
}

#[test]
fn huge_windows_end_the_session() {
    let mut agent = Agent::new();
    agent.open(1, MAX_CREDIT);
    agent.carrier.accept(1, b"").unwrap();
    agent.send(&Frame::Credit {
        stream: 1,
        bytes: 1,
    });
    agent.assert_ended(Reason::Violation);
}

#[test]
fn ten_thousand_streams_are_refused_and_the_session_lives() {
    let mut agent = Agent::new();
    let mut refused = 0;
    for n in 0..10_000 {
        agent.open(n * 2 + 1, 1000);
        if n % 1000 == 0 {
            let out = agent.output();
            let mut rest = &out[..];
            while let Some((frame, length)) = Frame::read(rest).unwrap() {
                if let Frame::Refuse { code, .. } = frame {
                    assert_eq!(Code::of(code), Code::TooMany);
                    refused += 1;
                }
                rest = &rest[length..];
            }
            let position = agent.carrier.stats().sent;
            agent.send(&Frame::Ack { position, kept: 0 });
        }
    }
    assert!(refused > 8000, "{refused}");
    assert_eq!(agent.carrier.stats().streams, Config::default().streams);
    while let Some(event) = agent.carrier.event() {
        assert!(matches!(event, Event::Opened { .. }), "{event:?}");
    }
}

#[test]
fn one_who_never_reads_the_answers_is_ended() {
    let mut agent = Agent::new();
    for n in 0..5000 {
        agent.open(n * 2 + 1, 1000);
    }
    agent.assert_ended(Reason::Flood);

    // A program that answers each itself is no help to the peer.
    let mut agent = Agent::new();
    for n in 0..5000 {
        let id = n * 2 + 1;
        agent.open(id, 1000);
        let _ = agent.carrier.refuse(id, Code::Forbidden, "no");
    }
    agent.assert_ended(Reason::Flood);
}

#[test]
fn pings_without_end_are_answered_by_one_pong() {
    let mut agent = Agent::new();
    for _ in 0..100_000 {
        agent.send(&Frame::Ping([7; 8]));
    }
    assert_eq!(agent.output().len(), 15);
}

#[test]
fn wrong_tokens_and_positions_are_refused_and_the_session_untouched() {
    let mut agent = Agent::new();
    // Something for the position to be about.
    agent.open(1, 1000);
    agent.carrier.accept(1, b"").unwrap();
    assert!(matches!(agent.event(), Event::Opened { .. }));
    agent.output();
    let sent = agent.carrier.stats().sent;
    agent.send(&Frame::Ack {
        position: sent,
        kept: u32::MAX,
    });
    agent.carrier.write(1, b"hello").unwrap();
    agent.output();
    let (old, between, beyond) = (sent - 1, sent + 1, sent + 13);
    for (token, position, refusal) in [
        (2, sent, Refusal::Token),
        (1, old, Refusal::Position),
        (1, 0, Refusal::Position),
        (1, between, Refusal::Position),
        (1, beyond, Refusal::Position),
        (1, u64::MAX, Refusal::Position),
    ] {
        agent.greet(9);
        agent.output();
        agent.take(&hello(1, [token; 16], position));
        assert_eq!(agent.event(), Event::Lost(Loss::Refused(refusal)));
        let verdict = agent.output();
        assert_eq!(verdict.len(), 26);
        assert_eq!(verdict[2..], [0; 24]);
    }
    agent.greet(9);
    agent.output();
    for byte in hello(1, [1; 16], sent) {
        agent.take(&[byte]);
    }
    assert_eq!(agent.event(), Event::Connected { resumed: true });
    let out = agent.output();
    // The verdict, a ping, and the data once more.
    assert!(out.ends_with(b"\x04\0\0\0\x01\0\x05hello"), "{out:?}");
}

#[test]
fn rubbish_after_an_end_is_not_kept() {
    let mut agent = Agent::new();
    let now = agent.now;
    agent.carrier.end(Reason::Done, "", now);
    agent.output();
    assert!(!agent.carrier.is_done());
    agent.take(&[0xff; 7]);
    assert!(agent.carrier.is_done());
    // At once, however much that is.
    let mut rubbish = Bytes::from(vec![0xff; 1 << 24]);
    agent.carrier.input(&mut rubbish, now);
    assert!(rubbish.is_empty());
}

#[test]
fn what_is_no_carrier_is_told_at_its_first_byte() {
    let now = Instant::now();
    let mut client = Carrier::new(Role::Client, Config::default());
    client.connect(now).unwrap();
    client.input(&mut Bytes::from_static(b"N"), now);
    assert!(matches!(
        client.event(),
        Some(Event::Lost(Loss::Stranger(_)))
    ));
    assert_eq!(client.output(now, &mut Vec::new(), 100), 0);
}

#[test]
fn without_acknowledgement_memory_has_its_limit_and_nx_its_room() {
    let config = Config {
        replay: 256 * 1024,
        window: MAX_CREDIT,
        ..Config::default()
    };
    let mut pair = Pair::connected(&config);
    let share = pair.open(Side::Client, Kind::Share).unwrap();
    let nx = pair.open(Side::Client, Kind::Nx).unwrap();
    pair.settle();
    widen(&mut pair, share);
    let now = pair.now;
    let mut filled = Vec::new();
    for _ in 0..100 {
        pair.client.write(share, 64 * 1024);
        pair.client.carrier.output(now, &mut filled, usize::MAX);
    }
    let kept = pair.client.carrier.stats().unacknowledged;
    assert!(kept > 100 * 1024 && kept <= 192 * 1024, "{kept}");
    // NX still goes, at once.
    pair.client.write(nx, 1000);
    let mut out = Vec::new();
    pair.client.carrier.output(now, &mut out, usize::MAX);
    assert_eq!(out.len(), 1007);
    for _ in 0..100 {
        pair.client.write(nx, 64 * 1024);
        pair.client.carrier.output(now, &mut out, usize::MAX);
    }
    assert!(pair.client.carrier.stats().unacknowledged <= config.replay);
}

/// Has bulk data arrive at once for a while, so that it is not held back.
fn widen(pair: &mut Pair, share: u32) {
    for _ in 0..200 {
        pair.client.write(share, 256 * 1024);
        for side in [Side::Client, Side::Agent] {
            pair.write_out(side, usize::MAX);
            pair.arrive(side.other(), usize::MAX);
            pair.agent.read_all();
        }
    }
    pair.settle();
}

#[test]
fn nx_goes_before_what_waited_longer() {
    let mut pair = Pair::connected(&Config::default());
    let share = pair.open(Side::Client, Kind::Share).unwrap();
    pair.settle();
    widen(&mut pair, share);
    let tcp = pair.open(Side::Client, Kind::Tcp).unwrap();
    let nx = pair.open(Side::Client, Kind::Nx).unwrap();
    pair.settle();
    for id in [share, tcp, nx] {
        pair.client.write(id, 40_000);
    }
    let mut out = Vec::new();
    pair.client.carrier.output(pair.now, &mut out, usize::MAX);
    let mut order = Vec::new();
    let mut rest = &out[..];
    while let Some((frame, length)) = Frame::read(rest).unwrap() {
        if let Frame::Data { stream, .. } = frame {
            order.push(stream);
        }
        rest = &rest[length..];
    }
    order.dedup();
    assert_eq!(order, [nx, tcp, share]);
}

#[test]
fn bulk_costs_less_than_a_hundredth() {
    let mut pair = Pair::connected(&Config::default());
    let share = pair.open(Side::Client, Kind::Share).unwrap();
    pair.settle();
    widen(&mut pair, share);
    pair.settle();
    pair.agent.read_all();
    pair.agent.read.clear();
    let (mut there, mut back) = (0, 0);
    for _ in 0..100 {
        pair.client.write(share, 100_000);
        there += pair.write_out(Side::Client, usize::MAX);
        pair.arrive(Side::Agent, usize::MAX);
        pair.agent.read_all();
        back += pair.write_out(Side::Agent, usize::MAX);
        pair.arrive(Side::Client, usize::MAX);
    }
    let data = pair.agent.read[&share].len();
    assert_eq!(data, 10_000_000);
    assert!(
        (there + back - data) * 100 < data,
        "{there} {back} for {data}"
    );
}

#[test]
fn an_end_is_heard_and_acknowledged() {
    let mut pair = Pair::connected(&Config::default());
    let now = pair.now;
    pair.agent.carrier.end(Reason::Suspended, "taken over", now);
    pair.write_out(Side::Agent, 1000);
    pair.arrive(Side::Client, usize::MAX);
    assert!(pair.client.has(|e| *e
        == Event::Ended {
            by_peer: true,
            reason: Reason::Suspended,
            text: "taken over".to_owned()
        }));
    assert!(!pair.agent.carrier.is_done() && !pair.client.carrier.is_done());
    pair.write_out(Side::Client, 1000);
    assert!(pair.client.carrier.is_done());
    pair.arrive(Side::Agent, usize::MAX);
    assert!(pair.agent.carrier.is_done());
}
