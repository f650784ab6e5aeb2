//! What comes over the connection.

use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};

use crate::carrier::{Carrier, Ending, Link};
use crate::error::Violation;
use crate::event::{Event, Role};
use crate::frame::{self, Frame, Header};
use crate::hello::HELLO;
use crate::kind::Kind;
use crate::limits::{ACK_BYTES, HEADER, MAX_CONTROL, MAX_INPUT};
use crate::reason::{Code, Reason};
use crate::stream::{State, Stream};

impl Carrier {
    /// Takes bytes of the connection, cut anywhere, from the front of `bytes`:
    /// to be called until none are left. Take the events and the output each
    /// time: no more is taken at once than may wait of either. Long data is
    /// not copied, and keeps what it lies in until it is consumed.
    pub fn input(&mut self, bytes: &mut Bytes, now: Instant) {
        // Only what has begun is completed in a copy.
        while !self.partial.is_empty() && !bytes.is_empty() {
            let mut begun = std::mem::take(&mut self.partial);
            let missing = self.missing(&begun).clamp(1, bytes.len());
            begun.extend_from_slice(&bytes.split_to(missing));
            let mut begun = begun.freeze();
            self.consume_input(&mut begun, 0, now);
            self.keep(begun);
        }
        let later = bytes.len().saturating_sub(MAX_INPUT);
        self.consume_input(bytes, later, now);
        if bytes.len() > later {
            self.keep(std::mem::take(bytes));
        }
    }

    /// Bytes that are missing of the hello or frame that has begun; of a frame
    /// whose header is not all there, those of the header.
    fn missing(&self, begun: &[u8]) -> usize {
        let whole = match (&self.link, begun.first_chunk::<HEADER>()) {
            (Link::Up(..), Some(header)) => HEADER.saturating_add(Header::read(*header).length),
            (Link::Up(..), None) => HEADER,
            // The longest of them; what comes behind a shorter one is looked
            // at again.
            _ => HELLO,
        };
        whole.saturating_sub(begun.len())
    }

    /// Keeps the beginning of a hello or a frame.
    fn keep(&mut self, rest: Bytes) {
        let listens = matches!(self.ending, Ending::No | Ending::Said(_));
        if listens && matches!(self.link, Link::Hello(..) | Link::Up(..)) {
            // A copy, where it is a piece of something larger.
            self.partial = rest.try_into_mut().unwrap_or_else(BytesMut::from);
        }
    }

    /// Takes whole hellos and frames that begin before the last `later` bytes.
    fn consume_input(&mut self, bytes: &mut Bytes, later: usize, now: Instant) {
        while bytes.len() > later {
            let step = match &mut self.link {
                Link::Down | Link::Closing => None,
                Link::Hello(awaited, _) => {
                    let awaited = awaited.clone();
                    self.take_hello(awaited, bytes, now)
                }
                Link::Up(liveness, _) => {
                    liveness.heard(now);
                    self.heard = Some(now);
                    self.take_frame(bytes, now)
                }
            };
            match step {
                Some(length) => bytes.advance(length),
                None => break,
            }
        }
    }

    /// Takes one frame: its length, or `None` when it is not all there or
    /// nothing counts any more.
    fn take_frame(&mut self, bytes: &Bytes, now: Instant) -> Option<usize> {
        if matches!(
            self.ending,
            Ending::Expelled(_) | Ending::Heard | Ending::Over
        ) {
            return None;
        }
        let outcome = match Frame::read(bytes) {
            Ok(None) => return None,
            Ok(Some((frame, length))) => self.act(frame, length, bytes, now).map(|()| length),
            Err(violation) => Err(violation),
        };
        match outcome {
            Ok(length) => Some(length),
            Err(violation) => {
                self.expel(violation, now);
                None
            }
        }
    }

    /// Acts on a frame of so many bytes, the first of `input`.
    fn act(
        &mut self,
        frame: Frame<'_>,
        length: usize,
        input: &Bytes,
        now: Instant,
    ) -> Result<(), Violation> {
        if self.role == Role::Agent {
            // The client has the newest token.
            self.confirmed = true;
            self.presented = None;
        }
        if frame.is_numbered() {
            let length = u64::try_from(length).unwrap_or(u64::MAX);
            self.received = self.received.saturating_add(length);
            self.received_at = Some(now);
            self.owed_since.get_or_insert(now);
            let bytes = self.received.saturating_sub(self.acknowledged);
            self.ack_now |= bytes >= ACK_BYTES || self.owed().is_some_and(|due| now >= due);
        }
        match frame {
            Frame::Ping(bytes) => self.pong = Some(bytes),
            Frame::Pong(bytes) => {
                if let Link::Up(liveness, _) = &mut self.link {
                    liveness.answered(bytes, now);
                    self.round_trip = liveness.round_trip();
                }
            }
            Frame::Ack { position, kept } => {
                let given = self.replay.given();
                self.replay.acknowledge(position, &mut self.blocks)?;
                if let Link::Up(_, pace) = &mut self.link {
                    let kept = Duration::from_micros(u64::from(kept));
                    pace.acknowledged(position, kept, given, now);
                }
                if self.replay.len() == 0
                    && self.control.is_empty()
                    && matches!(self.ending, Ending::Said(_))
                {
                    self.ending = Ending::Over;
                }
            }
            Frame::End { code, text } => {
                self.forget_all();
                self.control.clear();
                if self.ending == Ending::No {
                    self.events.push_back(Event::Ended {
                        by_peer: true,
                        reason: Reason::of(code),
                        text: text.to_owned(),
                    });
                }
                self.ending = Ending::Heard;
                self.ack_now = true;
            }
            // What was under way when this end was said.
            _ if self.ending != Ending::No => {}
            Frame::Open {
                stream,
                kind,
                credit,
                metadata,
            } => return self.opened(stream, kind, credit, metadata, now),
            _ => return self.act_on_stream(frame, input, now),
        }
        Ok(())
    }

    fn opened(
        &mut self,
        id: u32,
        kind: u8,
        credit: u32,
        metadata: &[u8],
        now: Instant,
    ) -> Result<(), Violation> {
        if id != self.next_there {
            return Err(Violation::Stream(frame::OPEN));
        }
        let next = id.checked_add(2).ok_or(Violation::Stream(frame::OPEN))?;
        self.next_there = next;
        // Each that is opened makes an answer.
        if self.control.len() >= MAX_CONTROL {
            self.flooded(now);
            return Ok(());
        }
        let Some(kind) = Kind::of(kind) else {
            self.decline(id, Code::UnknownKind);
            return Ok(());
        };
        if self.streams.len() >= self.config.streams {
            self.decline(id, Code::TooMany);
            return Ok(());
        }
        let stream = Stream::new(kind, State::Offered, credit, self.config.window);
        self.streams.insert(id, stream);
        let metadata = metadata.to_vec();
        self.tell(
            Event::Opened {
                stream: id,
                kind,
                metadata,
            },
            now,
        );
        Ok(())
    }

    /// Refuses without asking the program.
    fn decline(&mut self, stream: u32, code: Code) {
        let mut bytes = Vec::new();
        Frame::Refuse {
            stream,
            code: code.number(),
            text: "",
        }
        .write(&mut bytes);
        self.control.push_back(bytes);
    }

    fn act_on_stream(
        &mut self,
        frame: Frame<'_>,
        input: &Bytes,
        now: Instant,
    ) -> Result<(), Violation> {
        let (id, kind) = match frame {
            Frame::Accept { stream, .. } => (stream, frame::ACCEPT),
            Frame::Refuse { stream, .. } => (stream, frame::REFUSE),
            Frame::Data { stream, .. } => (stream, frame::DATA),
            Frame::Credit { stream, .. } => (stream, frame::CREDIT),
            Frame::HalfClose { stream } => (stream, frame::HALF_CLOSE),
            Frame::Reset { stream, .. } => (stream, frame::RESET),
            // The others are of no stream, or make one.
            _ => return Ok(()),
        };
        let next = if id % 2 == self.next_here % 2 {
            self.next_here
        } else {
            self.next_there
        };
        if id >= next {
            return Err(Violation::Stream(kind));
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            // Gone here, which the peer did not know.
            return Ok(());
        };
        let place = Violation::Place(kind);
        match frame {
            Frame::Accept {
                credit, metadata, ..
            } => {
                if stream.state != State::Asked {
                    return Err(place);
                }
                stream.state = State::Open;
                stream.credit = credit;
                let metadata = metadata.to_vec();
                self.tell(
                    Event::Accepted {
                        stream: id,
                        metadata,
                    },
                    now,
                );
            }
            Frame::Refuse { code, text, .. } => {
                if stream.state != State::Asked {
                    return Err(place);
                }
                self.forget(id);
                let (code, text) = (Code::of(code), text.to_owned());
                self.tell(
                    Event::Refused {
                        stream: id,
                        code,
                        text,
                    },
                    now,
                );
            }
            Frame::Data { bytes, .. } => {
                let first = stream.take(bytes, input, &mut self.blocks)?;
                if first {
                    self.tell(Event::Readable(id), now);
                }
            }
            Frame::Credit { bytes, .. } => {
                if stream.state != State::Open {
                    return Err(place);
                }
                stream.add_credit(bytes)?;
            }
            Frame::HalfClose { .. } => {
                if stream.state != State::Open || stream.closing {
                    return Err(place);
                }
                stream.closing = true;
                self.settle(id);
            }
            Frame::Reset { code, .. } => {
                self.forget(id);
                let code = Code::of(code);
                self.tell(Event::Reset { stream: id, code }, now);
            }
            _ => {}
        }
        Ok(())
    }
}
