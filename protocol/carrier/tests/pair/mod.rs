//! Two machines, the bytes between them, and a clock of their own.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use qvd_carrier::limits::FULL_BLOCK;
use qvd_carrier::{Carrier, Config, Event, Kind, Loss, Role, Token};

/// One end, its program's memory of it, and what is on the way to it.
pub struct End {
    pub carrier: Carrier,
    /// Bytes that were written by the other end and have not arrived.
    pub coming: VecDeque<u8>,
    /// What was written to each stream, and what was read of it.
    pub written: BTreeMap<u32, Vec<u8>>,
    pub read: BTreeMap<u32, Vec<u8>>,
    pub events: Vec<Event>,
    pub linked: bool,
}

pub struct Pair {
    pub client: End,
    pub agent: End,
    pub now: Instant,
    tokens: u8,
    /// Bytes that still arrive, of both ways; then the connection is cut.
    pub fuse: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Agent,
}

impl Side {
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Agent,
            Self::Agent => Self::Client,
        }
    }
}

impl End {
    fn new(role: Role, config: Config) -> Self {
        Self {
            carrier: Carrier::new(role, config),
            coming: VecDeque::new(),
            written: BTreeMap::new(),
            read: BTreeMap::new(),
            events: Vec::new(),
            linked: false,
        }
    }

    /// Hears what happened; takes every stream that is offered.
    pub fn hear(&mut self) {
        while let Some(event) = self.carrier.event() {
            match &event {
                Event::Opened { stream, .. } => self.carrier.accept(*stream, b"").unwrap(),
                // What is left to be written still is.
                Event::Lost(Loss::Refused(_)) => {}
                Event::Lost(_) => self.linked = false,
                _ => {}
            }
            self.events.push(event);
        }
    }

    /// Reads at most so many bytes of a stream.
    pub fn read(&mut self, stream: u32, most: usize) {
        let bytes = self.carrier.readable(stream);
        let count = bytes.len().min(most);
        let got = bytes[..count].to_vec();
        self.read.entry(stream).or_default().extend(got);
        self.carrier.consume(stream, count);
        self.hear();
    }

    pub fn read_all(&mut self) {
        let streams: Vec<u32> = self.carrier.stream_stats().map(|s| s.stream).collect();
        for stream in streams {
            while !self.carrier.readable(stream).is_empty() {
                self.read(stream, usize::MAX);
            }
        }
    }

    /// Writes so many bytes that are told apart, or as many as fit.
    pub fn write(&mut self, stream: u32, count: usize) {
        let written = self.written.entry(stream).or_default();
        let from = written.len();
        let bytes: Vec<u8> = (from..from + count).map(|n| (n % 251) as u8).collect();
        let room = self.carrier.room(stream);
        let taken = if count > FULL_BLOCK || count > room || (count / 100).is_multiple_of(2) {
            self.carrier.write(stream, &bytes)
        } else {
            let mut block = self.carrier.block();
            block.extend_from_slice(&bytes);
            self.carrier.write_block(stream, block)
        };
        if let Ok(taken) = taken {
            written.extend(&bytes[..taken]);
        }
    }

    pub fn has(&self, event: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(event)
    }
}

impl Pair {
    pub fn new(config: &Config) -> Self {
        Self {
            client: End::new(Role::Client, config.clone()),
            agent: End::new(Role::Agent, config.clone()),
            now: Instant::now(),
            tokens: 0,
            fuse: None,
        }
    }

    /// A pair with a connection whose hellos are done.
    pub fn connected(config: &Config) -> Self {
        let mut pair = Self::new(config);
        pair.reconnect();
        pair.settle();
        assert!(pair.client.carrier.is_connected() && pair.agent.carrier.is_connected());
        pair
    }

    pub fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Agent => &mut self.agent,
        }
    }

    pub fn token(&mut self) -> Token {
        self.tokens = self.tokens.wrapping_add(1);
        Token::new([self.tokens; 16])
    }

    pub fn open(&mut self, side: Side, kind: Kind) -> Option<u32> {
        self.end(side).carrier.open(kind, b"about it").ok()
    }

    /// A new connection, in place of the one before. Neither end has noticed
    /// the loss of that one, unless it was told.
    pub fn reconnect(&mut self) {
        let token = self.token();
        self.client.coming.clear();
        self.agent.coming.clear();
        self.client.linked = self.client.carrier.connect(self.now).is_ok();
        self.agent.linked = self.agent.carrier.greet(token, self.now).is_ok();
    }

    /// Both ends lose the connection, with what was on the way.
    pub fn cut(&mut self) {
        for side in [Side::Client, Side::Agent] {
            let end = self.end(side);
            end.coming.clear();
            end.carrier.lost();
            end.hear();
            end.linked = false;
        }
    }

    /// One end writes at least so much, if it has it; it is on the way then.
    pub fn write_out(&mut self, side: Side, room: usize) -> usize {
        let now = self.now;
        let end = self.end(side);
        if !end.linked {
            return 0;
        }
        let mut out = Vec::new();
        let count = end.carrier.output(now, &mut out, room);
        end.hear();
        self.end(side.other()).coming.extend(out);
        count
    }

    /// So many bytes that are on the way to an end arrive.
    pub fn arrive(&mut self, side: Side, most: usize) -> usize {
        let now = self.now;
        let fuse = self.fuse;
        let end = self.end(side);
        if !end.linked {
            return 0;
        }
        let count = most.min(end.coming.len()).min(fuse.unwrap_or(usize::MAX));
        let mut bytes: Bytes = end.coming.drain(..count).collect();
        while !bytes.is_empty() {
            end.carrier.input(&mut bytes, now);
            end.hear();
        }
        if let Some(fuse) = &mut self.fuse {
            *fuse -= count;
            if *fuse == 0 {
                self.fuse = None;
                self.cut();
            }
        }
        count
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        for side in [Side::Client, Side::Agent] {
            let end = self.end(side);
            end.carrier.timeout(now);
            end.hear();
        }
    }

    /// Lets all that can go arrive, until nothing moves or the connection is
    /// cut; acknowledgements that are delayed, too.
    pub fn settle(&mut self) {
        loop {
            let mut moved = 0;
            for side in [Side::Client, Side::Agent] {
                moved += self.write_out(side, 64 * 1024);
                moved += self.arrive(side.other(), usize::MAX);
            }
            if moved == 0 {
                let owed = Duration::from_millis(25);
                let due = |end: &End| end.carrier.deadline();
                let now = self.now;
                let soon = [due(&self.client), due(&self.agent)]
                    .into_iter()
                    .flatten()
                    .any(|at| at <= now + owed);
                if !soon {
                    return;
                }
                self.pass(owed);
            }
        }
    }

    /// Reads and settles until all has come, over new connections where one is
    /// lost.
    pub fn finish(&mut self) {
        for _ in 0..10_000 {
            if !self.client.carrier.is_connected() || !self.agent.carrier.is_connected() {
                self.cut();
                self.reconnect();
            }
            self.settle();
            self.client.read_all();
            self.agent.read_all();
            self.settle();
            if self.is_whole() {
                return;
            }
        }
        panic!("not all has come");
    }

    /// Whether all that was written was read, and nothing else.
    pub fn is_whole(&self) -> bool {
        let same = |from: &End, to: &End| {
            from.written
                .iter()
                .all(|(id, bytes)| to.read.get(id).map_or(bytes.is_empty(), |r| r == bytes))
        };
        same(&self.client, &self.agent) && same(&self.agent, &self.client)
    }

    /// What was read is the beginning of what was written, now and always.
    pub fn assert_prefix(&self) {
        for (from, to) in [(&self.client, &self.agent), (&self.agent, &self.client)] {
            for (id, read) in &to.read {
                let written = from.written.get(id).map_or(&[][..], Vec::as_slice);
                assert!(written.starts_with(read), "stream {id}");
            }
        }
    }

    /// Neither end has been told that the session is over.
    pub fn assert_lives(&self) {
        for end in [&self.client, &self.agent] {
            assert!(
                !end.has(|event| matches!(event, Event::Ended { .. })),
                "{:?}",
                end.events
            );
        }
    }
}
