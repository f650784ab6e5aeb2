//! The machine: a session, its streams, and the connection it has at the
//! moment, if any.
//!
//! Its program hands it bytes and the time and takes bytes and events:
//!
//! 1. a connection is there: [`Carrier::greet`] (agent) or
//!    [`Carrier::connect`] (client);
//! 2. bytes came: [`Carrier::input`] until it has taken all, each time every
//!    [`Carrier::event`];
//! 3. the connection takes bytes, and after anything else of this list:
//!    [`Carrier::output`], which decides only then what is most urgent, so it
//!    is asked for no more than can be written soon;
//! 4. [`Carrier::deadline`] has come: [`Carrier::timeout`];
//! 5. the connection is lost: [`Carrier::lost`], and again 1.

mod hellos;
mod receive;
mod send;
mod streams;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::error::Violation;
use crate::event::{Config, Event, KindStats, Loss, Role, Stats, StreamStats};
use crate::frame::{self, Frame};
use crate::kind::Kind;
use crate::limits::{
    ACK_AT_ONCE, ACK_DELAY, ACK_FEW, ACK_MANY, ACK_SOON, LINGER, MAX_CREDIT, MAX_EVENTS,
};
use crate::liveness::{Due, Liveness};
use crate::pace::Pace;
use crate::queue::Blocks;
use crate::reason::Reason;
use crate::replay::Replay;
use crate::stream::Stream;
use crate::token::Token;

/// What the connection is at.
#[derive(Debug)]
enum Link {
    /// There is none.
    Down,
    /// Refused: what is left to be written is, then it is closed.
    Closing,
    /// Waiting for a hello until then.
    Hello(hellos::Awaited, Instant),
    /// Frames flow.
    Up(Liveness, Box<Pace>),
}

/// How far the end of the session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    /// END was queued here; its ACK is waited for until then.
    Said(Instant),
    /// END was queued for a peer that broke the protocol: nothing it says
    /// counts any more.
    Expelled(Instant),
    /// END came; the ACK is still to be sent.
    Heard,
    Over,
}

/// One end of a session.
#[derive(Debug)]
pub struct Carrier {
    role: Role,
    config: Config,
    link: Link,
    ending: Ending,
    events: VecDeque<Event>,

    /// The client's: what its next resume presents. The agent's: what it
    /// accepts.
    token: Option<Token>,
    /// The agent's: what the client last presented, until it has shown that it
    /// received the one after.
    presented: Option<Token>,
    /// The agent's: whether a frame has ever come from the client.
    confirmed: bool,

    streams: BTreeMap<u32, Stream>,
    /// What the windows of these have grown by, together.
    grown: u32,
    /// The streams that are gone.
    gone: BTreeMap<Kind, KindStats>,
    /// The ids of the next streams, of either side.
    next_here: u32,
    next_there: u32,

    /// The beginning of a hello or frame.
    partial: BytesMut,
    /// Position of what was received, and what of it was acknowledged.
    received: u64,
    acknowledged: u64,
    /// When the first byte came that is not acknowledged, and when the last.
    owed_since: Option<Instant>,
    received_at: Option<Instant>,
    ack_now: bool,

    /// Hellos to be written.
    hello: Vec<u8>,
    ping: Option<[u8; 8]>,
    pong: Option<[u8; 8]>,
    /// Numbered frames without data that wait for their turn.
    control: VecDeque<Vec<u8>>,
    replay: Replay,
    blocks: Blocks,
    /// The streams that were served last, by priority.
    turns: [u32; 3],

    round_trip: Option<Duration>,
    resumes: u64,
    /// When anything came last, on whatever connection.
    heard: Option<Instant>,
}

impl Carrier {
    /// A new session's end in `role`, without a connection.
    #[must_use]
    pub fn new(role: Role, mut config: Config) -> Self {
        config.window = config.window.clamp(1, MAX_CREDIT);
        let (next_here, next_there) = match role {
            Role::Client => (1, 2),
            Role::Agent => (2, 1),
        };
        Self {
            role,
            replay: Replay::new(config.replay),
            config,
            link: Link::Down,
            ending: Ending::No,
            events: VecDeque::new(),
            token: None,
            presented: None,
            confirmed: false,
            streams: BTreeMap::new(),
            grown: 0,
            gone: BTreeMap::new(),
            next_here,
            next_there,
            partial: BytesMut::new(),
            received: 0,
            acknowledged: 0,
            owed_since: None,
            received_at: None,
            ack_now: false,
            hello: Vec::new(),
            ping: None,
            pong: None,
            control: VecDeque::new(),
            blocks: Blocks::default(),
            turns: [0; 3],
            round_trip: None,
            resumes: 0,
            heard: None,
        }
    }

    /// What happened, oldest first; `None` when all is told. To be drained
    /// after each [`Carrier::input`], [`Carrier::output`] and
    /// [`Carrier::timeout`].
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Carrier::timeout`] is to be called, if nothing comes before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let link = match &self.link {
            Link::Down | Link::Closing => None,
            Link::Hello(_, until) => Some(*until),
            Link::Up(liveness, _) => Some(liveness.deadline()),
        };
        let ack = match &self.link {
            Link::Up(..) => self.owed(),
            _ => None,
        };
        let end = match self.ending {
            Ending::Said(until) | Ending::Expelled(until) => Some(until),
            _ => None,
        };
        [link, ack, end].into_iter().flatten().min()
    }

    /// The time has come: sends a ping or an ACK with the next output, or
    /// gives the connection up.
    pub fn timeout(&mut self, now: Instant) {
        if let Ending::Said(until) | Ending::Expelled(until) = self.ending
            && now >= until
        {
            self.ending = Ending::Over;
        }
        if self.owed().is_some_and(|due| now >= due) {
            self.ack_now = true;
            self.owed_since = None;
        }
        match &mut self.link {
            Link::Down | Link::Closing => {}
            Link::Hello(_, until) => {
                if now >= *until {
                    self.down(Loss::Hello);
                }
            }
            Link::Up(liveness, _) => match liveness.due(now) {
                Due::Nothing => {}
                Due::Ping => self.ping = Some(liveness.ask(now)),
                Due::Lost => self.down(Loss::Silent),
            },
        }
    }

    /// The network has changed, and the connection may lead nowhere: asks the
    /// other end, and gives the connection up sooner than after any silence
    /// where nothing is heard. Without a connection this does nothing.
    pub fn doubt(&mut self, now: Instant) {
        if let Link::Up(liveness, _) = &mut self.link
            && let Some(bytes) = liveness.doubt(now)
        {
            self.ping = Some(bytes);
        }
    }

    /// The connection has ended, at whatever byte. Without one this does
    /// nothing.
    pub fn lost(&mut self) {
        match self.link {
            Link::Down => {}
            // Told when it was refused.
            Link::Closing => self.unlink(),
            Link::Hello(..) | Link::Up(..) => self.down(Loss::Closed),
        }
    }

    /// Ends the session at once. Data that was written and not sent is
    /// dropped: who wants it delivered half-closes and waits for the other
    /// side to do so too. Write what [`Carrier::output`] gives until
    /// [`Carrier::is_done`].
    pub fn end(&mut self, reason: Reason, text: &str, now: Instant) {
        self.finish(reason, text, Ending::Said(now + LINGER));
    }

    /// Whether the session is over and its connection to be closed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.ending == Ending::Over
    }

    /// When frames came last, on this connection or one before.
    #[must_use]
    pub fn heard(&self) -> Option<Instant> {
        self.heard
    }

    /// Whether frames flow.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Up(..))
    }

    /// The numbers of the session.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            round_trip: self.round_trip,
            resumes: self.resumes,
            sent: self.replay.end(),
            received: self.received,
            unacknowledged: self.replay.len(),
            streams: self.streams.len(),
        }
    }

    /// The numbers of each stream there is.
    pub fn stream_stats(&self) -> impl Iterator<Item = StreamStats> + '_ {
        self.streams.iter().map(|(id, stream)| StreamStats {
            stream: *id,
            kind: stream.kind,
            sent: stream.sent,
            received: stream.received,
        })
    }

    /// The numbers of each kind of stream, of those that are gone too.
    #[must_use]
    pub fn kind_stats(&self) -> Vec<KindStats> {
        let mut kinds = self.gone.clone();
        for stream in self.streams.values() {
            let kind = kinds.entry(stream.kind);
            let kind = kind.or_insert_with(|| KindStats::of(stream.kind));
            kind.add(stream.sent, stream.received);
            kind.open = kind.open.saturating_add(1);
        }
        kinds.into_values().collect()
    }

    /// When an ACK is due, if one is.
    fn owed(&self) -> Option<Instant> {
        let delay = match self.received.saturating_sub(self.acknowledged) {
            ACK_MANY.. => ACK_AT_ONCE,
            ACK_FEW.. => ACK_SOON,
            _ => ACK_DELAY,
        };
        self.owed_since.map(|since| since + delay)
    }

    /// A stream is gone.
    fn forget(&mut self, id: u32) {
        if let Some(stream) = self.streams.remove(&id) {
            let more = stream.window.saturating_sub(self.config.window);
            self.grown = self.grown.saturating_sub(more);
            let kind = self.gone.entry(stream.kind);
            let kind = kind.or_insert_with(|| KindStats::of(stream.kind));
            kind.add(stream.sent, stream.received);
        }
    }

    /// All of them are.
    fn forget_all(&mut self) {
        for id in self.streams.keys().copied().collect::<Vec<_>>() {
            self.forget(id);
        }
    }

    /// The connection is of no use any more.
    fn down(&mut self, loss: Loss) {
        self.unlink();
        self.events.push_back(Event::Lost(loss));
    }

    /// Forgets what belonged to the connection alone.
    fn unlink(&mut self) {
        self.link = Link::Down;
        self.partial = BytesMut::new();
        self.hello.clear();
        self.ping = None;
        self.pong = None;
        self.owed_since = None;
        self.ack_now = false;
        if self.ending != Ending::No {
            self.ending = Ending::Over;
        }
    }

    /// The peer broke the protocol.
    fn expel(&mut self, violation: Violation, now: Instant) {
        if matches!(self.ending, Ending::Said(_)) {
            // It will hardly say that it has heard of the end.
            self.ending = Ending::Over;
            return;
        }
        let ending = Ending::Expelled(now + LINGER);
        self.finish(Reason::Violation, &violation.to_string(), ending);
    }

    fn finish(&mut self, reason: Reason, text: &str, ending: Ending) {
        if self.ending != Ending::No {
            return;
        }
        self.forget_all();
        self.control.clear();
        self.ending = Ending::Over;
        if self.is_connected() {
            let mut bytes = Vec::new();
            let code = reason.number();
            Frame::End { code, text }.write(&mut bytes);
            self.control.push_back(bytes);
            self.ending = ending;
        }
        self.events.push_back(Event::Ended {
            by_peer: false,
            reason,
            text: frame::short(text).to_owned(),
        });
    }

    /// Notes an event a peer has caused; too many of them end the session.
    fn tell(&mut self, event: Event, now: Instant) {
        if self.events.len() >= MAX_EVENTS {
            self.flooded(now);
            return;
        }
        self.events.push_back(event);
    }

    fn flooded(&mut self, now: Instant) {
        let ending = Ending::Expelled(now + LINGER);
        self.finish(Reason::Flood, "", ending);
    }
}
