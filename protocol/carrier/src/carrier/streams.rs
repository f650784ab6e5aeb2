//! What a program does with its streams.

use bytes::BytesMut;

use crate::carrier::{Carrier, Ending};
use crate::error::Error;
use crate::event::Event;
use crate::frame::Frame;
use crate::kind::Kind;
use crate::limits::{MAX_CONTROL, MAX_METADATA};
use crate::queue::SHARED;
use crate::reason::Code;
use crate::stream::{State, Stream};

impl Carrier {
    /// Opens a stream: its number. What is written to it goes once
    /// [`Event::Accepted`] has come. Works without a connection, too.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] with as many streams as are held,
    /// [`Error::TooLong`] with metadata beyond [`MAX_METADATA`],
    /// [`Error::Ended`].
    pub fn open(&mut self, kind: Kind, metadata: &[u8]) -> Result<u32, Error> {
        if self.ending != Ending::No {
            return Err(Error::Ended);
        }
        if metadata.len() > MAX_METADATA {
            return Err(Error::TooLong(metadata.len()));
        }
        // Half of the queue is left to answers.
        if self.streams.len() >= self.config.streams || self.control.len() >= MAX_CONTROL / 2 {
            return Err(Error::Full);
        }
        let id = self.next_here;
        self.next_here = id.checked_add(2).ok_or(Error::Full)?;
        let credit = self.config.window;
        self.streams
            .insert(id, Stream::new(kind, State::Asked, 0, credit));
        self.queue(&Frame::Open {
            stream: id,
            kind: kind.code(),
            credit,
            metadata,
        });
        Ok(id)
    }

    /// Takes a stream the other end has opened.
    ///
    /// # Errors
    ///
    /// [`Error::NoStream`], [`Error::State`] when it was taken before,
    /// [`Error::TooLong`] with metadata beyond [`MAX_METADATA`].
    pub fn accept(&mut self, id: u32, metadata: &[u8]) -> Result<(), Error> {
        if metadata.len() > MAX_METADATA {
            return Err(Error::TooLong(metadata.len()));
        }
        let stream = self.stream(id)?;
        if stream.state != State::Offered {
            return Err(Error::State(id));
        }
        stream.state = State::Open;
        let credit = stream.window;
        self.queue(&Frame::Accept {
            stream: id,
            credit,
            metadata,
        });
        Ok(())
    }

    /// Does not take a stream the other end has opened. `text` is cut to
    /// [`crate::limits::MAX_TEXT`] bytes.
    ///
    /// # Errors
    ///
    /// [`Error::NoStream`], [`Error::State`] when it was taken before.
    pub fn refuse(&mut self, id: u32, code: Code, text: &str) -> Result<(), Error> {
        if self.stream(id)?.state != State::Offered {
            return Err(Error::State(id));
        }
        self.forget(id);
        self.queue(&Frame::Refuse {
            stream: id,
            code: code.number(),
            text,
        });
        Ok(())
    }

    /// Gives up a stream, both ways, and what was not sent or read of it.
    ///
    /// # Errors
    ///
    /// [`Error::NoStream`].
    pub fn reset(&mut self, id: u32, code: Code) -> Result<(), Error> {
        let offered = self.stream(id)?.state == State::Offered;
        if offered {
            return self.refuse(id, code, "");
        }
        self.forget(id);
        self.queue(&Frame::Reset {
            stream: id,
            code: code.number(),
        });
        Ok(())
    }

    /// Takes bytes to send: how many of them there was room for. When not for
    /// all, [`Event::Writable`] says when there is again.
    ///
    /// # Errors
    ///
    /// [`Error::NoStream`], [`Error::State`] after
    /// [`Carrier::half_close`] or before [`Carrier::accept`].
    pub fn write(&mut self, id: u32, bytes: &[u8]) -> Result<usize, Error> {
        let stream = self.streams.get_mut(&id).ok_or(Error::NoStream(id))?;
        stream.check_writable(id)?;
        let count = bytes.len().min(stream.room());
        let taken = bytes.get(..count).unwrap_or_default();
        stream.unsent.push(taken, &mut self.blocks);
        stream.blocked |= count < bytes.len();
        Ok(count)
    }

    /// An empty block, of [`BLOCK`](crate::limits::BLOCK) bytes, to be read to:
    /// what lies in it, [`Carrier::write_block`] sends and [`Carrier::input`]
    /// takes without a copy. Once it is let go it is used again.
    pub fn block(&mut self) -> BytesMut {
        self.blocks.largest()
    }

    /// As [`Carrier::write`], for what was read to a block: best as many bytes
    /// as there is room for, and no more than [`FULL_BLOCK`](crate::limits::FULL_BLOCK).
    ///
    /// # Errors
    ///
    /// Those of [`Carrier::write`].
    pub fn write_block(&mut self, id: u32, block: BytesMut) -> Result<usize, Error> {
        if block.len() < SHARED || block.len() > self.room(id) {
            let written = self.write(id, &block);
            self.blocks.give(block.freeze());
            return written;
        }
        let stream = self.stream(id)?;
        stream.check_writable(id)?;
        let count = block.len();
        stream.unsent.share(block.freeze());
        Ok(count)
    }

    /// Bytes [`Carrier::write`] would take; 0 for a stream that has gone.
    #[must_use]
    pub fn room(&self, id: u32) -> usize {
        self.streams.get(&id).map_or(0, Stream::room)
    }

    /// As [`Carrier::room`]; where it is 0, [`Event::Writable`] says when there
    /// is again.
    pub fn want(&mut self, id: u32) -> usize {
        let Some(stream) = self.streams.get_mut(&id) else {
            return 0;
        };
        let room = stream.room();
        stream.blocked |= room == 0;
        room
    }

    /// What there is to read of a stream, or the first part of it: it stays
    /// until [`Carrier::consume`].
    #[must_use]
    pub fn readable(&self, id: u32) -> &[u8] {
        self.streams
            .get(&id)
            .map_or(&[], |stream| stream.unread.front())
    }

    /// All there is to read of a stream, in the parts it lies in.
    pub fn readable_parts(&self, id: u32) -> impl Iterator<Item = &[u8]> {
        let stream = self.streams.get(&id).into_iter();
        stream.flat_map(|stream| stream.unread.parts())
    }

    /// Lets go of the first `count` bytes there are to read, at most of all,
    /// and lets the other end send as many more; whether that is to be told
    /// now.
    pub fn consume(&mut self, id: u32, count: usize) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else {
            return false;
        };
        stream.consume(count, &mut self.blocks);
        let due = stream.wants_credit();
        self.settle(id);
        due
    }

    /// Whether bytes wait to be sent: more of them are nothing that
    /// [`Carrier::output`] need be asked for anew.
    #[must_use]
    pub fn is_waiting(&self, id: u32) -> bool {
        let stream = self.streams.get(&id);
        stream.is_some_and(|stream| !stream.unsent.is_empty())
    }

    /// Says that nothing more will be written to a stream. What was written is
    /// still sent.
    ///
    /// # Errors
    ///
    /// [`Error::NoStream`], [`Error::State`] before [`Carrier::accept`].
    pub fn half_close(&mut self, id: u32) -> Result<(), Error> {
        let stream = self.stream(id)?;
        if stream.state == State::Offered {
            return Err(Error::State(id));
        }
        stream.finishing = true;
        Ok(())
    }

    fn stream(&mut self, id: u32) -> Result<&mut Stream, Error> {
        self.streams.get_mut(&id).ok_or(Error::NoStream(id))
    }

    fn queue(&mut self, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.write(&mut bytes);
        self.control.push_back(bytes);
    }

    /// Tells the end of a stream, and forgets one that is over.
    pub(super) fn settle(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if stream.wants_closed() {
            stream.closed = true;
            self.events.push_back(Event::HalfClosed(id));
        }
        if stream.is_over() {
            self.forget(id);
        }
    }
}
