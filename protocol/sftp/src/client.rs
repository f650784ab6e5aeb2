use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::response::VERSION as VERSION_PACKET;
use crate::wire::{Reader, begin, finish, put_u32};
use crate::{Error, Extensions, Frames, Partial, Request, Response, VERSION};

/// How often its time a request may take at most while the peer is busy with
/// others: a peer that answers everything but one request is no good either.
const PATIENCE: u32 = 10;

/// Most requests whose time has passed and whose answer may still come.
const MAX_ABANDONED: usize = 100_000;

const INIT: u8 = 1;

/// What the server did.
#[derive(Debug)]
pub enum Event<T> {
    /// It speaks our version, and these extensions.
    Ready(Extensions),
    /// It answered a request.
    Answer(T, Answer),
    /// It did not answer a request in time.
    Lapsed(T, Lapse),
}

/// How a request's time passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lapse {
    /// The peer was silent all the while.
    Silence,
    /// The peer answered others, again and again.
    Neglect,
}

/// A server's answer, in the packet it came in.
#[derive(Debug, Clone)]
pub struct Answer {
    packet: Vec<u8>,
    errno: bool,
}

impl Answer {
    /// What it says.
    #[must_use]
    pub fn response(&self) -> Response<'_> {
        // It was read once when it came.
        Response::read(&self.packet, self.errno)
            .map_or(Response::Extended(&[]), |(_, response)| response)
    }
}

struct Pending<T> {
    tag: T,
    since: Instant,
    opens: bool,
}

/// The client of an SFTP server.
///
/// Ask with [`request`](Self::request), as often as you like before an answer
/// comes. Send what [`poll_transmit`](Self::poll_transmit) gives, feed
/// [`receive`](Self::receive), and take events until
/// [`poll_event`](Self::poll_event) gives `None`. Call
/// [`handle_timeout`](Self::handle_timeout) when the time of
/// [`poll_timeout`](Self::poll_timeout) has come.
///
/// The time of a request is the time the peer may be silent: a slow channel
/// on which bytes move is not a dead one. Nothing takes more than ten times
/// as long. While the client is [paused](Self::pause) no time passes.
pub struct Client<T> {
    timeout: Duration,
    frames: Frames,
    out: VecDeque<Vec<u8>>,
    events: VecDeque<Event<T>>,
    pending: HashMap<u32, Pending<T>>,
    /// Numbers in the order of asking; those answered are dropped late.
    asked: VecDeque<(u32, Instant)>,
    /// Requests whose time has passed, and whether they open something.
    abandoned: HashMap<u32, bool>,
    next: u32,
    extensions: Option<Extensions>,
    moved: Instant,
    /// Since when no time passes.
    paused: Option<Instant>,
}

impl<T> Client<T> {
    /// A client that begins the dialogue. `timeout`: how long the server may
    /// be silent while a request is under way.
    #[must_use]
    pub fn new(timeout: Duration, now: Instant) -> Self {
        let mut init = begin(INIT, 16);
        put_u32(&mut init, VERSION);
        Self {
            timeout,
            frames: Frames::new(),
            out: VecDeque::from([finish(init)]),
            events: VecDeque::new(),
            pending: HashMap::new(),
            asked: VecDeque::new(),
            abandoned: HashMap::new(),
            next: 0,
            extensions: None,
            moved: now,
            paused: None,
        }
    }

    /// Asks something. `tag` comes back with the answer.
    pub fn request(&mut self, request: &Request<'_>, tag: T, now: Instant) {
        let id = self.free_id();
        self.out.push_back(request.write(id));
        let opens = matches!(
            request,
            Request::Open { .. }
                | Request::Opendir { .. }
                | Request::OpenAs { .. }
                | Request::OpendirAs { .. }
        );
        let since = now;
        self.pending.insert(id, Pending { tag, since, opens });
        self.asked.push_back((id, since));
    }

    fn free_id(&mut self) -> u32 {
        loop {
            let id = self.next;
            self.next = self.next.wrapping_add(1);
            if !self.pending.contains_key(&id) && !self.abandoned.contains_key(&id) {
                return id;
            }
        }
    }

    /// Takes bytes of the server.
    ///
    /// # Errors
    /// When they cannot be understood: the connection is at its end.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) -> Result<(), Error> {
        self.moved = now;
        self.frames.receive(bytes)?;
        self.packets()
    }

    /// The packet that is arriving, to be read into where at least so many
    /// bytes of it are still to come.
    pub fn take_partial(&mut self, least: usize) -> Option<Partial> {
        self.frames.take_partial(least)
    }

    /// Takes back what `take_partial` gave, with more of it.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_partial(&mut self, partial: Partial, now: Instant) -> Result<(), Error> {
        self.moved = now;
        self.frames.receive_partial(partial);
        self.packets()
    }

    fn packets(&mut self) -> Result<(), Error> {
        while let Some(packet) = self.frames.poll() {
            let Some(extensions) = self.extensions else {
                self.version(&packet)?;
                continue;
            };
            let errno = extensions.errno;
            let (id, response) = Response::read(&packet, errno)?;
            if let Some(pending) = self.pending.remove(&id) {
                let answer = Answer { packet, errno };
                self.events.push_back(Event::Answer(pending.tag, answer));
                continue;
            }
            match self.abandoned.remove(&id) {
                Some(true) => self.close_late(&response),
                Some(false) => {}
                None => return Err(Error::Unasked(id)),
            }
        }
        Ok(())
    }

    fn version(&mut self, packet: &[u8]) -> Result<(), Error> {
        let (kind, rest) = packet.split_first().ok_or(Error::Version)?;
        if *kind != VERSION_PACKET {
            return Err(Error::Version);
        }
        let mut reader = Reader::new(*kind, rest);
        let version = reader.u32()?;
        if version < VERSION {
            return Err(Error::OldVersion(version));
        }
        let extensions = Extensions::read(&mut reader)?;
        self.extensions = Some(extensions);
        self.events.push_back(Event::Ready(extensions));
        Ok(())
    }

    /// Closes what was opened for a request nobody waits for any more.
    fn close_late(&mut self, response: &Response<'_>) {
        if let Response::Handle(handle) = response {
            let id = self.free_id();
            self.out.push_back(Request::Close { handle }.write(id));
            self.abandoned.insert(id, false);
        }
    }

    /// What has happened; call until `None` after each `receive` and
    /// `handle_timeout`.
    pub fn poll_event(&mut self) -> Option<Event<T>> {
        self.events.pop_front()
    }

    /// A packet to be sent.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// Whether there is something to be sent.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// The connection took bytes: it is alive.
    pub fn sent(&mut self, now: Instant) {
        self.moved = now;
    }

    /// Requests without an answer.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.pending.len()
    }

    /// It is known that nothing can come: from now on no time passes for what
    /// is asked.
    pub fn pause(&mut self, now: Instant) {
        self.paused.get_or_insert(now);
    }

    /// Something can come again: each request has the time left that it had.
    pub fn unpause(&mut self, now: Instant) {
        let Some(begin) = self.paused.take() else {
            return;
        };
        // What was asked meanwhile begins now.
        let later = |since: Instant| since + now.saturating_duration_since(since.max(begin));
        self.asked.iter_mut().for_each(|(_, at)| *at = later(*at));
        let pending = self.pending.values_mut();
        pending.for_each(|one| one.since = later(one.since));
        self.moved = later(self.moved);
    }

    /// When the oldest request's time passes, as things stand.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        if self.paused.is_some() {
            return None;
        }
        while let Some((id, since)) = self.asked.front() {
            let alive = self.pending.get(id).is_some_and(|one| one.since == *since);
            if alive {
                return Some(self.deadline(*since));
            }
            self.asked.pop_front();
        }
        self.asked.shrink_to(64);
        None
    }

    fn deadline(&self, since: Instant) -> Instant {
        let silence = since.max(self.moved) + self.timeout;
        silence.min(since + self.timeout.saturating_mul(PATIENCE))
    }

    /// Gives up what has taken too long.
    ///
    /// # Errors
    /// [`Error::TooMany`] when the server owes more answers than can be kept
    /// in mind: the connection is of no use.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        while self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            let Some((id, since)) = self.asked.pop_front() else {
                break;
            };
            if let Some(pending) = self.pending.remove(&id) {
                let silent = now.saturating_duration_since(self.moved.max(since)) >= self.timeout;
                let lapse = if silent {
                    Lapse::Silence
                } else {
                    Lapse::Neglect
                };
                self.abandoned.insert(id, pending.opens);
                self.events.push_back(Event::Lapsed(pending.tag, lapse));
            }
        }
        if self.abandoned.len() > MAX_ABANDONED {
            return Err(Error::TooMany);
        }
        Ok(())
    }

    /// The connection is gone: gives the tags of all that was under way.
    pub fn abort(&mut self) -> Vec<T> {
        self.out.clear();
        self.asked.clear();
        let mut pending: Vec<_> = self.pending.drain().collect();
        pending.sort_by_key(|(id, _)| *id);
        let events = self.events.drain(..).filter_map(|event| match event {
            Event::Answer(tag, _) | Event::Lapsed(tag, _) => Some(tag),
            Event::Ready(_) => None,
        });
        events
            .chain(pending.into_iter().map(|(_, pending)| pending.tag))
            .collect()
    }
}

impl<T> std::fmt::Debug for Client<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("under_way", &self.pending.len())
            .field("extensions", &self.extensions)
            .finish_non_exhaustive()
    }
}
