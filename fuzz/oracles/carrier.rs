//! What must hold of the carrier whatever comes. The fuzz targets run these,
//! and so does a test of the carrier, with all that fuzzing has kept.

use std::time::{Duration, Instant};

use qvd_carrier::limits::{
    FULL_BLOCK, FULL_CHUNK, MAX_GROWTH, MAX_PAYLOAD, MAX_STREAMS, MAX_WINDOW, MIN_REPLAY,
    SEND_BUFFER,
};
use qvd_carrier::{Carrier, Code, Config, Event, Frame, Kind, MAGIC, Reason, Role, Token};

/// Unread bytes a stream may have here at first: two full frames and something.
const WINDOW: u32 = 40_000;

/// Bytes of an input, taken from its front; zeros after its end.
struct Acts<'a>(&'a [u8]);

impl<'a> Acts<'a> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        self.0
            .split_off(..count.min(self.0.len()))
            .unwrap_or_default()
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

fn machine(role: Role) -> Carrier {
    let config = Config {
        replay: MIN_REPLAY,
        window: WINDOW,
        ..Config::default()
    };
    Carrier::new(role, config)
}

/// One of ours after its hellos with a peer of another's making.
fn greeted(role: Role, now: Instant) -> Carrier {
    let mut carrier = machine(role);
    let mut peer = MAGIC.to_vec();
    match role {
        Role::Agent => {
            assert!(carrier.greet(Token::new([1; 16]), now).is_ok());
            peer.extend_from_slice(&[1, 1, b'C', 0]);
            peer.extend_from_slice(&[0; 24]);
        }
        Role::Client => {
            assert!(carrier.connect(now).is_ok());
            peer.extend_from_slice(&[1, 1, b'A', 0, b'V', 0]);
            peer.extend_from_slice(&[7; 16]);
            peer.extend_from_slice(&[0; 8]);
        }
    }
    take(&mut carrier, &peer, now);
    assert!(carrier.is_connected());
    carrier
}

/// These bytes come.
fn take(carrier: &mut Carrier, bytes: &[u8], now: Instant) {
    let mut bytes = bytes.to_vec().into();
    loop {
        carrier.input(&mut bytes, now);
        if bytes.is_empty() {
            return;
        }
    }
}

/// What is written can be read, whole.
fn read_back(mut out: &[u8]) {
    while !out.is_empty() {
        let Ok(Some((_, length))) = Frame::read(out) else {
            panic!("no whole frame: {out:?}");
        };
        out = out.get(length..).unwrap_or_default();
    }
}

/// What is held is within its limits, and what has ended stays so.
fn check(carrier: &mut Carrier, ended: &mut bool) {
    while let Some(event) = carrier.event() {
        assert!(!*ended || matches!(event, Event::Lost(_)), "{event:?}");
        *ended |= matches!(event, Event::Ended { .. });
    }
    let stats = carrier.stats();
    // An END may go beyond.
    assert!(stats.unacknowledged <= MIN_REPLAY + 300);
    assert!(stats.streams <= MAX_STREAMS);
    let ids: Vec<u32> = carrier.stream_stats().map(|stream| stream.stream).collect();
    let bytes = |limit: u32| usize::try_from(limit).unwrap_or_default();
    // The window of a peer that seems far away grows.
    let mut grown = 0;
    for id in ids {
        let unread: usize = carrier.readable_parts(id).map(<[u8]>::len).sum();
        assert!(unread <= bytes(MAX_WINDOW));
        grown += unread.saturating_sub(bytes(WINDOW));
        assert!(carrier.room(id) <= SEND_BUFFER);
    }
    assert!(grown <= bytes(MAX_GROWTH));
}

/// A peer that sends what the input says, to a program that does so, too.
pub fn peer(data: &[u8]) {
    let mut acts = Acts(data);
    let role = match acts.byte() & 1 {
        0 => Role::Agent,
        _ => Role::Client,
    };
    let mut now = Instant::now();
    let mut carrier = greeted(role, now);
    let mut ended = false;
    while !acts.is_over() {
        let act = acts.byte();
        let stream = u32::from(acts.byte() & 7);
        match act % 20 {
            0 => {
                let count = usize::from(acts.byte());
                take(&mut carrier, acts.bytes(count), now);
            }
            1..=9 => {
                let number = u32::from(acts.byte());
                let count = usize::from(acts.byte());
                let bytes = acts.bytes(count);
                let code = act / 20;
                let frame = match act % 20 {
                    1 => Frame::Open {
                        stream,
                        kind: code,
                        credit: number << 8,
                        metadata: bytes,
                    },
                    2 => Frame::Accept {
                        stream,
                        credit: number << 16,
                        metadata: bytes,
                    },
                    3 => Frame::Refuse {
                        stream,
                        code,
                        text: "no",
                    },
                    // As long as one is that is not copied.
                    4 if number == 255 => Frame::Data {
                        stream,
                        bytes: &[5; FULL_CHUNK],
                    },
                    4 => Frame::Data { stream, bytes },
                    5 => Frame::Credit {
                        stream,
                        bytes: number << 16,
                    },
                    6 => Frame::HalfClose { stream },
                    7 => Frame::Reset { stream, code },
                    8 => Frame::Ack {
                        position: carrier.stats().sent.saturating_sub(u64::from(number / 64)),
                        kept: number,
                    },
                    _ => Frame::End { code, text: "" },
                };
                let mut out = Vec::new();
                frame.write(&mut out);
                // Cut anywhere.
                let (first, rest) = out.split_at(out.len().min(usize::from(code)));
                take(&mut carrier, first, now);
                take(&mut carrier, rest, now);
            }
            10 => drop(carrier.accept(stream, b"yes")),
            11 => drop(carrier.refuse(stream, Code::Unwanted, "no")),
            12 => drop(carrier.open(Kind::ALL[usize::from(act / 20) % Kind::ALL.len()], b"")),
            13 => {
                let room = carrier.room(stream);
                let count = usize::from(acts.byte()) * 256;
                let taken = if count <= FULL_BLOCK && act > 100 {
                    let mut block = carrier.block();
                    block.extend_from_slice(&vec![act; count]);
                    carrier.write_block(stream, block)
                } else {
                    carrier.write(stream, &vec![act; count])
                };
                if let Ok(taken) = taken {
                    assert_eq!(taken, count.min(room));
                }
            }
            14 => drop(carrier.consume(stream, usize::from(acts.byte()) * 100)),
            15 => drop(carrier.half_close(stream)),
            16 => drop(carrier.reset(stream, Code::Cancelled)),
            17 => {
                now += Duration::from_millis(u64::from(acts.byte()) * 10);
                carrier.timeout(now);
            }
            18 if act > 200 => carrier.end(Reason::Done, "enough", now),
            _ => {
                let mut out = Vec::new();
                let room = usize::from(acts.byte()) * 64;
                let count = carrier.output(now, &mut out, room);
                assert_eq!(count, out.len());
                assert!(count <= room + MAX_PAYLOAD + 7);
                // The agent's own begins with its hellos.
                if !out.starts_with(&MAGIC) && !out.starts_with(b"V") {
                    read_back(&out);
                }
            }
        }
        check(&mut carrier, &mut ended);
    }
    // Whatever happened, it can be brought to its end.
    carrier.end(Reason::Done, "", now);
    carrier.output(now, &mut Vec::new(), usize::MAX);
    carrier.timeout(now + Duration::from_secs(60));
    assert!(carrier.is_done());
}

/// Hellos that are the input: never a session that was not asked for.
pub fn hellos(data: &[u8]) {
    let now = Instant::now();
    let (mode, data) = data.split_first().map_or((0, data), |(m, rest)| (*m, rest));
    let mut carrier = machine(if mode & 1 == 0 {
        Role::Agent
    } else {
        Role::Client
    });
    if mode & 1 == 0 {
        assert!(carrier.greet(Token::new([1; 16]), now).is_ok());
    } else {
        assert!(carrier.connect(now).is_ok());
    }
    let mut whole = Vec::new();
    if mode & 2 != 0 {
        whole.extend_from_slice(&MAGIC);
    }
    whole.extend_from_slice(data);
    for part in whole.chunks(usize::from(mode / 4).max(1)) {
        take(&mut carrier, part, now);
    }
    if carrier.is_connected() {
        assert!(whole.starts_with(&MAGIC));
    }
    carrier.output(now, &mut Vec::new(), usize::MAX);
    carrier.lost();
    assert!(!carrier.is_connected());
}
