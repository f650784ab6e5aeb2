//! Recorded sessions, in the direction of the agent.

use std::path::Path;

use super::super::frames::{Frame, Reader};
use super::super::handshake::Handshake;
use super::super::replay::Replay;
use super::super::requests::coded::replied;
use super::super::x_server::Cutter;
use super::{Agent, Asked, Got};

fn read(name: &str, file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("recordings")
        .join(name)
        .join(format!("{file}.xz"));
    let packed = std::fs::read(&path).unwrap();
    let mut plain = Vec::new();
    lzma_rs::xz_decompress(&mut packed.as_slice(), &mut plain).unwrap();
    plain
}

/// A session of which the agent's side is replayed.
struct Session {
    name: &'static str,
    replay: Replay,
    delta: bool,
    compressed: bool,
    /// The X server's messages.
    server: Vec<Vec<u8>>,
}

/// Who wrote what the agent reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Nxproxy,
    Us,
}

impl Session {
    fn new(name: &'static str) -> Self {
        Self::cut(name, usize::MAX)
    }

    /// With all that comes, from either side, cut in pieces of so many bytes.
    fn cut(name: &'static str, piece: usize) -> Self {
        let agent = read(name, "nx.0.t2c");
        let (greeting, _) = Handshake::default().receive(&agent).unwrap().unwrap();
        let x11 = read(name, "x11.0.t2c");
        let mut replay = Replay::new(&x11).unwrap().in_pieces_of(piece);
        for bytes in agent.chunks(piece) {
            replay.receive(bytes).unwrap();
        }
        assert!(replay.whole(), "{name}");
        let mut cutter = Cutter::default();
        cutter.receive(&x11);
        let mut server = Vec::new();
        while let Some(message) = cutter.poll(false).unwrap() {
            server.push(message.to_vec());
        }
        Self {
            name,
            replay,
            delta: greeting.delta,
            compressed: greeting.stream > 0,
            server,
        }
    }

    /// What the agent awaits, from the requests it sent.
    fn asked(&self) -> impl Iterator<Item = Asked> {
        let ends = self.replay.trace.iter().skip(1).map(|next| next.offset);
        let ends = ends.chain([self.replay.x11.len()]);
        let mut sequence = 0_u16;
        self.replay
            .trace
            .iter()
            .zip(ends)
            .filter_map(move |(request, end)| {
                sequence = sequence.wrapping_add(1);
                let x11 = self.replay.x11[request.offset..end].to_vec();
                let own = match request.opcode {
                    98 | 99 | 233 | 251 => true,
                    // Stages 0 and 2 ask the X server something.
                    245 => x11[0] != 127,
                    op if replied(op) => self.delta,
                    _ => false,
                };
                own.then_some(Asked {
                    sequence,
                    op: request.opcode,
                    x11,
                })
            })
    }

    fn agent(&self, bytes: &[u8]) -> Agent {
        let mut agent = Agent {
            delta: self.delta,
            asked: self.asked().collect(),
            ..Agent::default()
        };
        let words = bytes.iter().enumerate().filter(|(_, b)| **b == b' ');
        let (end, _) = words.clone().nth(2).unwrap();
        let mut reader = Reader::new(self.compressed);
        reader.receive(&bytes[end + 1..]);
        let mut channel = None;
        while let Some(frame) = reader.poll().unwrap() {
            match frame {
                Frame::Control(5, id) => channel = Some(id),
                Frame::Control(..) => {}
                Frame::Data if channel == Some(1) => {
                    let payload = reader.payload().to_vec();
                    let k = agent.got.len();
                    let read = agent.frame(&payload);
                    read.unwrap_or_else(|e| panic!("{}: after message {k}: {e}", self.name));
                }
                Frame::Data => {}
            }
        }
        assert!(reader.is_empty(), "{}", self.name);
        agent
    }

    /// Compares what the agent got with what the X server sent.
    fn compare(&self, agent: &Agent, by: By) {
        let mut server = self.server.iter();
        let mut left_out = 0;
        for (k, got) in agent.got.iter().enumerate() {
            loop {
                let sent = server.next().unwrap_or_else(|| {
                    panic!("{} {by:?}: message {k} was not sent: {got:?}", self.name)
                });
                if same(got, sent, by) {
                    break;
                }
                let may_be_left_out = match sent[0] {
                    13 | 14 => true,
                    6 => by == By::Nxproxy,
                    _ => false,
                };
                assert!(
                    may_be_left_out,
                    "{} {by:?}: message {k}\n got  {got:?}\n sent {sent:?}",
                    self.name
                );
                left_out += 1;
            }
        }
        let carried: usize = agent
            .got
            .iter()
            .flat_map(|g| &g.message.known)
            .map(|k| usize::from(*k))
            .sum();
        let all: usize = agent.got.iter().map(|g| g.message.bytes.len()).sum();
        println!(
            "{} {by:?}: {} messages, {carried} of {all} bytes carried, {left_out} events left out",
            self.name,
            agent.got.len(),
        );
        let rest: Vec<_> = server.filter(|sent| !matches!(sent[0], 13 | 14)).collect();
        let name = self.name;
        assert!(
            by == By::Nxproxy || rest.is_empty(),
            "{name}: not sent: {rest:?}"
        );
        assert!(carried * 10 > all * 8, "{name}: too little is carried");
    }
}

/// Whether all that was carried is as it was sent.
fn same(got: &Got, sent: &[u8], by: By) -> bool {
    let m = &got.message;
    let differs = |at: usize| m.known[at] && m.bytes[at] != sent[at];
    if m.bytes.len() != sent.len() {
        // The agent knows the length of these by itself.
        return false;
    }
    (0..sent.len())
        .filter(|at| differs(*at))
        .all(|at| match got.op {
            // An extension hidden from the agent.
            Some(98) => m.bytes[8] == 0 && matches!(at, 8 | 9),
            // Differences of colours that nxproxy gets wrong.
            Some(84) => by == By::Nxproxy && (8..14).contains(&at),
            _ => false,
        })
}

fn both_ways(name: &'static str) {
    let session = Session::new(name);
    let theirs = session.agent(&read(name, "nx.0.c2t"));
    session.compare(&theirs, By::Nxproxy);
    let ours = session.agent(&session.replay.nx);
    session.compare(&ours, By::Us);
    // This end offers what nxproxy does, but for 11, which never succeeds.
    let offered = theirs.methods.iter().zip(&ours.methods).enumerate();
    let differing: Vec<_> = offered
        .filter(|(_, (a, b))| a != b)
        .map(|(k, _)| k % 128)
        .collect();
    assert!(differing.iter().all(|k| *k == 11), "{name}: {differing:?}");
}

/// Byte by byte, from either side, the same comes of a recording, on both
/// sides.
fn byte_by_byte(name: &'static str) {
    let whole = Session::new(name);
    let cut = Session::cut(name, 1);
    assert!(cut.replay.x11 == whole.replay.x11, "{name}: other requests");
    assert_eq!(cut.replay.trace, whole.replay.trace, "{name}");
    let ours = cut.agent(&cut.replay.nx);
    cut.compare(&ours, By::Us);
}

#[test]
fn lan_byte_by_byte() {
    byte_by_byte("lan");
}

#[test]
fn lan_rich_byte_by_byte() {
    byte_by_byte("lan-rich");
}

#[test]
fn channels_byte_by_byte() {
    byte_by_byte("lan-channels");
    byte_by_byte("adsl-channels");
}

#[test]
fn adsl_byte_by_byte() {
    byte_by_byte("adsl");
}

#[test]
fn modem_byte_by_byte() {
    byte_by_byte("modem");
}

#[test]
fn coverage_byte_by_byte() {
    byte_by_byte("coverage-lan");
    byte_by_byte("coverage-adsl");
}

/// Cut in two at each byte of its beginning, from the first word on.
#[test]
fn every_cut_gives_the_same() {
    const BYTES: usize = 1500;
    for name in ["lan-channels", "coverage-lan", "coverage-adsl"] {
        let server = read(name, "x11.0.t2c");
        let agent = read(name, "nx.0.t2c");
        let begin = &agent[..BYTES];
        let run = |at: usize| {
            let mut replay = Replay::new(&server).unwrap();
            replay.receive(&begin[..at]).unwrap();
            replay.receive(&begin[at..]).unwrap();
            (replay.x11, replay.trace)
        };
        let whole = run(0);
        assert!(!whole.0.is_empty());
        for at in 1..BYTES {
            assert!(run(at) == whole, "{name} cut at {at}");
        }
    }
}

#[test]
fn lan() {
    both_ways("lan");
}

#[test]
fn lan_rich() {
    both_ways("lan-rich");
}

#[test]
fn lan_channels() {
    both_ways("lan-channels");
}

#[test]
fn adsl_channels() {
    both_ways("adsl-channels");
}

#[test]
fn adsl() {
    both_ways("adsl");
}

#[test]
fn modem() {
    both_ways("modem");
}

#[test]
fn coverage_lan() {
    both_ways("coverage-lan");
}

#[test]
fn coverage_adsl() {
    both_ways("coverage-adsl");
}
