//! What was sent and is not acknowledged.

use std::collections::VecDeque;

use crate::error::Violation;
use crate::frame::Header;
use crate::limits::{HEADER, MIN_REPLAY};

/// The numbered frames that a resume may have to send again, as their bytes.
/// Their borders are found again by their headers, so that many small frames
/// cost no more than their bytes.
#[derive(Debug)]
pub(crate) struct Replay {
    bytes: VecDeque<u8>,
    /// Position of the first byte kept.
    acknowledged: u64,
    /// Bytes, from the first kept, that this connection has been given.
    given: usize,
    limit: usize,
}

impl Replay {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            acknowledged: 0,
            given: 0,
            limit: limit.max(MIN_REPLAY),
        }
    }

    /// Bytes free below the limit.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether a frame waits to be given to this connection.
    pub(crate) fn is_behind(&self) -> bool {
        self.given < self.bytes.len()
    }

    /// Keeps a part of a frame that is new.
    pub(crate) fn push(&mut self, part: &[u8]) {
        self.bytes.extend(part);
    }

    /// Gives this connection the next frame it has not had.
    pub(crate) fn give(&mut self) {
        if let Some(length) = self.frame_at(self.given) {
            self.given = self.given.saturating_add(length).min(self.bytes.len());
        }
    }

    /// What is kept between two positions: the ring's two halves.
    pub(crate) fn between(&self, from: u64, to: u64) -> [&[u8]; 2] {
        let at = |position: u64| {
            let at = position.saturating_sub(self.acknowledged);
            usize::try_from(at).unwrap_or(usize::MAX)
        };
        let (from, to) = (at(from), at(to));
        let (front, back) = self.bytes.as_slices();
        let split = front.len();
        let first = front.get(from.min(split)..to.min(split));
        let second = back.get(from.saturating_sub(split)..to.saturating_sub(split));
        [first.unwrap_or_default(), second.unwrap_or_default()]
    }

    /// Lets go of what is before `position`.
    pub(crate) fn acknowledge(&mut self, position: u64) -> Result<(), Violation> {
        let count = self.border(position, self.given)?;
        self.bytes.drain(..count);
        self.given = self.given.saturating_sub(count);
        self.acknowledged = position;
        // A burst long gone need not hold its memory.
        if self.bytes.is_empty() && self.bytes.capacity() > MIN_REPLAY {
            self.bytes = VecDeque::new();
        }
        Ok(())
    }

    /// Begins a connection whose other end has received up to `position`.
    pub(crate) fn rewind(&mut self, position: u64) -> Result<(), Violation> {
        let count = self.border(position, self.bytes.len())?;
        self.bytes.drain(..count);
        self.given = 0;
        self.acknowledged = position;
        Ok(())
    }

    /// Gives up what this connection has not had: the session is to end.
    pub(crate) fn skip(&mut self) {
        self.given = self.bytes.len();
    }

    /// Position of the first byte kept.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Bytes this connection has been given and not acknowledged.
    pub(crate) fn under_way(&self) -> usize {
        self.given
    }

    /// Position after the last frame this connection has been given.
    pub(crate) fn given(&self) -> u64 {
        let given = u64::try_from(self.given).unwrap_or(u64::MAX);
        self.acknowledged.saturating_add(given)
    }

    /// Position after the last frame kept.
    pub(crate) fn end(&self) -> u64 {
        let kept = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        self.acknowledged.saturating_add(kept)
    }

    /// Bytes before a position that is a frame's border, among the first
    /// `among`.
    fn border(&self, position: u64, among: usize) -> Result<usize, Violation> {
        let wrong = Violation::Position(position);
        let count = position.checked_sub(self.acknowledged).ok_or(wrong)?;
        let count = usize::try_from(count).map_err(|_| wrong)?;
        if count > among {
            return Err(wrong);
        }
        let mut at = 0_usize;
        while at < count {
            at = at.saturating_add(self.frame_at(at).ok_or(wrong)?);
        }
        (at == count).then_some(count).ok_or(wrong)
    }

    /// Length of the frame that begins at `at`.
    fn frame_at(&self, at: usize) -> Option<usize> {
        let mut header = [0; HEADER];
        for (offset, byte) in header.iter_mut().enumerate() {
            *byte = *self.bytes.get(at.checked_add(offset)?)?;
        }
        HEADER.checked_add(Header::read(header).length)
    }
}
