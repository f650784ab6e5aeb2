//! One stream: what waits to be sent, what waits to be read, and the credit
//! for either.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::{Error, Violation};
use crate::frame;
use crate::kind::Kind;
use crate::limits::{FULL_CHUNK, MAX_CREDIT, MAX_WINDOW, SEND_BUFFER};
use crate::queue::{Blocks, Queue};

/// Data of so many bytes, a full frame's, stays where it was read to until the
/// program takes it, and keeps that block: four times as much at most. Less is
/// copied.
const SHARED: usize = FULL_CHUNK;

/// Where a stream is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Opened here, not yet answered.
    Asked,
    /// Opened there, not yet answered.
    Offered,
    /// Both know of it.
    Open,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) kind: Kind,
    pub(crate) state: State,
    /// Bytes the program has written.
    pub(crate) unsent: Queue,
    /// Bytes that may be sent.
    pub(crate) credit: u32,
    /// The program has written its last.
    pub(crate) finishing: bool,
    /// HALF-CLOSE has been sent.
    pub(crate) finished: bool,
    /// A write found no room; its program wants to know when there is.
    pub(crate) blocked: bool,
    /// Bytes the program has not read.
    pub(crate) unread: Queue,
    /// What is kept granted.
    pub(crate) window: u32,
    /// Bytes the other end may still send.
    pub(crate) granted: u32,
    /// Bytes that were read and not granted again.
    pub(crate) ungranted: u32,
    /// When the last were.
    pub(crate) granted_at: Option<Instant>,
    /// HALF-CLOSE has been received.
    pub(crate) closing: bool,
    /// The program has been told of it, after the last byte.
    pub(crate) closed: bool,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Stream {
    pub(crate) fn new(kind: Kind, state: State, credit: u32, window: u32) -> Self {
        Self {
            kind,
            state,
            unsent: Queue::default(),
            credit,
            finishing: false,
            finished: false,
            blocked: false,
            unread: Queue::default(),
            window,
            granted: window,
            ungranted: 0,
            granted_at: None,
            closing: false,
            closed: false,
            sent: 0,
            received: 0,
        }
    }

    /// Bytes the program may write.
    pub(crate) fn room(&self) -> usize {
        if self.finishing {
            return 0;
        }
        SEND_BUFFER.saturating_sub(self.unsent.len())
    }

    /// Sees that the program may write.
    pub(crate) fn check_writable(&self, id: u32) -> Result<(), Error> {
        if self.finishing || self.state == State::Offered {
            return Err(Error::State(id));
        }
        Ok(())
    }

    /// Bytes that could be sent now.
    pub(crate) fn sendable(&self) -> usize {
        if self.state != State::Open {
            return 0;
        }
        let credit = usize::try_from(self.credit).unwrap_or(usize::MAX);
        self.unsent.len().min(credit)
    }

    /// Whether HALF-CLOSE is due.
    pub(crate) fn wants_half_close(&self) -> bool {
        self.state == State::Open && self.finishing && !self.finished && self.unsent.is_empty()
    }

    /// Whether enough was read to grant more. A quarter of the window, so that
    /// there are few CREDITs and never a pause.
    pub(crate) fn wants_credit(&self) -> bool {
        self.state == State::Open
            && !self.closing
            && self.ungranted > 0
            && self.ungranted >= self.window / 4
    }

    /// Takes the credit to grant, to an end that is so far away, if that is
    /// known. A window that is used up before more can be there is too small: it
    /// may grow by `most`, and what it has grown by is told.
    pub(crate) fn grant(&mut self, far: Option<Duration>, most: u32, now: Instant) -> (u32, u32) {
        let since = self.granted_at.replace(now);
        let took = since.map(|since| now.saturating_duration_since(since));
        let short = far.zip(took).is_some_and(|(far, took)| took < far / 2);
        let more = if short {
            let room = MAX_WINDOW.saturating_sub(self.window);
            self.window.min(room).min(most)
        } else {
            0
        };
        self.window = self.window.saturating_add(more);
        let bytes = std::mem::take(&mut self.ungranted).saturating_add(more);
        self.granted = self.granted.saturating_add(bytes);
        (bytes, more)
    }

    /// Credit came.
    pub(crate) fn add_credit(&mut self, bytes: u32) -> Result<(), Violation> {
        let credit = self.credit.saturating_add(bytes);
        if credit > MAX_CREDIT {
            return Err(Violation::Window);
        }
        self.credit = credit;
        Ok(())
    }

    /// Data came, in `input`. Says whether there was none to read before.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        input: &Bytes,
        blocks: &mut Blocks,
    ) -> Result<bool, Violation> {
        if self.state != State::Open || self.closing {
            return Err(Violation::Place(frame::DATA));
        }
        let count = u32::try_from(bytes.len()).map_err(|_| Violation::Credit)?;
        self.granted = self.granted.checked_sub(count).ok_or(Violation::Credit)?;
        self.received = self.received.saturating_add(u64::from(count));
        let first = self.unread.is_empty();
        if bytes.len() < SHARED {
            self.unread.push(bytes, blocks);
        } else {
            self.unread.share(input.slice_ref(bytes));
        }
        Ok(first)
    }

    /// The program has read so many bytes: at most what there were.
    pub(crate) fn consume(&mut self, count: usize, blocks: &mut Blocks) {
        let count = count.min(self.unread.len());
        self.unread.skip(count, blocks);
        // No more than the window lies unread.
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.ungranted = self.ungranted.saturating_add(count);
    }

    /// Whether the end of what comes is due to be told.
    pub(crate) fn wants_closed(&self) -> bool {
        self.closing && !self.closed && self.unread.is_empty()
    }

    /// Whether neither side has anything more to say.
    pub(crate) fn is_over(&self) -> bool {
        self.finished && self.closed
    }
}
