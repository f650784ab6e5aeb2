//! What goes over the connection, most urgent first.

use std::ops::Range;
use std::time::Instant;

use crate::carrier::{Carrier, Ending, Link};
use crate::event::Event;
use crate::frame::Frame;
use crate::kind::Priority;
use crate::limits::{FULL_CHUNK, HEADER, MAX_GROWTH, SEND_BUFFER};

impl Carrier {
    /// Appends to `out` what is to be written now, whole frames, until it is
    /// `room` bytes or more; how many bytes that was. With 0 there is nothing
    /// to write. All of it belongs to this connection: what a loss prevents
    /// from being written comes again after the resume.
    ///
    /// The order is decided here: the less waits in buffers behind it, the
    /// sooner NX is on the line. 16 to 64 KiB are a good `room`.
    pub fn output(&mut self, now: Instant, out: &mut Vec<u8>, room: usize) -> usize {
        let start = out.len();
        let numbered = self.transmit(now, out, room);
        for part in self.numbered(&numbered) {
            out.extend_from_slice(part);
        }
        out.len().saturating_sub(start)
    }

    /// As [`Carrier::output`] without a copy: what is to be written first is
    /// appended to `head`, then comes what [`Carrier::numbered`] has between
    /// these positions. All of it is to be written before this is called again.
    pub fn transmit(&mut self, now: Instant, head: &mut Vec<u8>, room: usize) -> Range<u64> {
        self.step_head(now, head);
        let room = room.saturating_sub(head.len());
        let from = self.replay.given();
        while self.replay.given().saturating_sub(from) < as_position(room) {
            let before = self.replay.given();
            self.step(now);
            if self.replay.given() == before {
                break;
            }
        }
        let to = self.replay.given();
        if let Link::Up(_, pace) = &mut self.link {
            pace.given(to, self.replay.under_way(), now);
        }
        self.settle_ending();
        from..to
    }

    /// The bytes of numbered frames between two positions, in parts. Nothing
    /// of what is acknowledged meanwhile.
    pub fn numbered(&self, positions: &Range<u64>) -> impl Iterator<Item = &[u8]> {
        self.replay.between(positions)
    }

    /// Whether frames flow and may be sent.
    fn flows(&self) -> bool {
        matches!(self.link, Link::Up(..)) && self.ending != Ending::Over
    }

    /// Appends what has no number: the hello, or what says that this end is
    /// there.
    fn step_head(&mut self, now: Instant, out: &mut Vec<u8>) {
        out.append(&mut self.hello);
        if !self.flows() {
            return;
        }
        if self.ack_now || self.owed().is_some_and(|due| now >= due) {
            self.ack_now = false;
            self.owed_since = None;
            self.acknowledged = self.received;
            let kept = self.received_at.map(|at| now.saturating_duration_since(at));
            let kept = kept.unwrap_or_default().as_micros();
            let kept = u32::try_from(kept).unwrap_or(u32::MAX);
            let position = self.received;
            Frame::Ack { position, kept }.write(out);
        }
        if let Some(bytes) = self.pong.take() {
            Frame::Pong(bytes).write(out);
        }
        if let Some(bytes) = self.ping.take() {
            Frame::Ping(bytes).write(out);
        }
    }

    /// Gives one numbered frame, an old one or a new one.
    fn step(&mut self, now: Instant) {
        // With an END that was heard, nobody listens.
        if !self.flows() || self.ending == Ending::Heard {
            return;
        }
        if self.replay.is_behind() {
            self.replay.give();
        } else {
            self.step_new(now);
            // What is kept has been given, too.
            self.replay.skip();
        }
    }

    /// Makes a frame that is new, if the replay buffer has room for it.
    fn step_new(&mut self, now: Instant) {
        let room = self.replay.room();
        if let Some(waiting) = self.control.front() {
            // The order of these counts, so nothing passes one that waits. An
            // END, which is the last, need not.
            if waiting.len() <= room || self.ending != Ending::No {
                self.replay.push(waiting);
                self.control.pop_front();
            }
        } else if room > HEADER.saturating_mul(2) && !self.step_notice(now) {
            self.step_data(room);
        }
    }

    /// Makes a CREDIT or a HALF-CLOSE.
    fn step_notice(&mut self, now: Instant) -> bool {
        let far = match &self.link {
            Link::Up(_, pace) => pace.distance(),
            _ => None,
        };
        let due = self
            .streams
            .iter_mut()
            .find(|(_, stream)| stream.wants_credit() || stream.wants_half_close());
        let Some((id, stream)) = due else {
            return false;
        };
        let id = *id;
        let mut bytes = Vec::with_capacity(HEADER * 2);
        if stream.wants_credit() {
            let most = MAX_GROWTH.saturating_sub(self.grown);
            let (credit, more) = stream.grant(far, most, now);
            self.grown = self.grown.saturating_add(more);
            let credit = Frame::Credit {
                stream: id,
                bytes: credit,
            };
            credit.write(&mut bytes);
        } else {
            stream.finished = true;
            Frame::HalfClose { stream: id }.write(&mut bytes);
            self.settle(id);
        }
        self.replay.push(&bytes);
        true
    }

    /// Makes a frame of the data of the stream whose turn it is.
    fn step_data(&mut self, room: usize) {
        let [nx, interactive, bulk] = &mut self.turns;
        let limit = self.replay.limit();
        let Link::Up(_, pace) = &mut self.link else {
            return;
        };
        let under_way = self.replay.under_way();
        // What each leaves to those before it, and NX to frames without data.
        for (priority, turn, left) in [
            (Priority::Nx, nx, limit / 16),
            (Priority::Interactive, interactive, limit / 8),
            (Priority::Bulk, bulk, limit / 4),
        ] {
            let ready = |id: &u32| {
                self.streams
                    .get(id)
                    .is_some_and(|s| s.kind.priority() == priority && s.sendable() > 0)
            };
            let after = turn.saturating_add(1);
            let ids = self
                .streams
                .range(after..)
                .chain(self.streams.range(..after));
            let Some(id) = ids.map(|(id, _)| *id).find(ready) else {
                continue;
            };
            let most = match priority {
                Priority::Nx => FULL_CHUNK,
                Priority::Interactive => pace.interactive(under_way),
                Priority::Bulk => pace.bulk(under_way),
            };
            let most = most.min(room.saturating_sub(left).saturating_sub(HEADER));
            let Some(stream) = self.streams.get_mut(&id) else {
                return;
            };
            // What lies in one block: a frame may come out short at its end.
            let front = stream.unsent.front().len();
            let count = front.min(stream.sendable()).min(most);
            if count == 0 {
                // Those after it have less room still.
                return;
            }
            let header = Frame::data_header(id, count);
            let bytes = stream.unsent.take(count);
            self.replay.push_data(header, bytes);
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            stream.credit = stream.credit.saturating_sub(count);
            stream.sent = stream.sent.saturating_add(u64::from(count));
            *turn = id;
            if stream.blocked && stream.room() >= SEND_BUFFER / 2 {
                stream.blocked = false;
                self.events.push_back(Event::Writable(id));
            }
            return;
        }
    }

    /// The end is over when all of it is written and nobody answers.
    fn settle_ending(&mut self) {
        let written = self.control.is_empty() && !self.replay.is_behind();
        match self.ending {
            Ending::Heard if !self.ack_now => self.ending = Ending::Over,
            Ending::Expelled(_) if written => self.ending = Ending::Over,
            _ => {}
        }
    }
}

fn as_position(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
