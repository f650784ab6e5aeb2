//! What was sent and is not acknowledged.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::error::Violation;
use crate::frame::Header;
use crate::limits::{HEADER, MIN_REPLAY};
use crate::queue::{Blocks, SHARED};

/// Bytes of the blocks for what is copied, at least and at most.
const LEAST: usize = 512;
const MOST: usize = 16 * 1024;

/// The numbered frames that a resume may have to send again, as their bytes.
/// Their borders are found again by their headers.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Those before the ones in `last`; none is empty, and a header is never
    /// in two.
    parts: VecDeque<Part>,
    /// What is written to.
    last: BytesMut,
    /// Position of the first byte kept, and after the last one.
    acknowledged: u64,
    end: u64,
    /// Position after what this connection has been given.
    given: u64,
    limit: usize,
}

#[derive(Debug)]
struct Part {
    bytes: Bytes,
    /// Position after it.
    end: u64,
}

impl Replay {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            parts: VecDeque::new(),
            last: BytesMut::new(),
            acknowledged: 0,
            end: 0,
            given: 0,
            limit: limit.max(MIN_REPLAY),
        }
    }

    /// Bytes free below the limit.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.len())
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn len(&self) -> usize {
        as_bytes(self.end.saturating_sub(self.acknowledged))
    }

    /// Whether a frame waits to be given to this connection.
    pub(crate) fn is_behind(&self) -> bool {
        self.given < self.end
    }

    /// Keeps whole frames that are new, or a header.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.last.capacity().saturating_sub(self.last.len()) < bytes.len() {
            self.close_last();
            let size = bytes.len().max(self.len().clamp(LEAST, MOST));
            if !self.last.try_reclaim(size) {
                self.last = BytesMut::with_capacity(size);
            }
        }
        self.last.extend_from_slice(bytes);
        self.end = self.end.saturating_add(as_position(bytes.len()));
    }

    /// Keeps a new frame of data.
    pub(crate) fn push_data(&mut self, header: [u8; HEADER], data: Bytes) {
        self.push(&header);
        if data.len() < SHARED {
            self.push(&data);
            return;
        }
        self.close_last();
        self.end = self.end.saturating_add(as_position(data.len()));
        self.parts.push_back(Part {
            bytes: data,
            end: self.end,
        });
    }

    fn close_last(&mut self) {
        if !self.last.is_empty() {
            self.parts.push_back(Part {
                bytes: self.last.split().freeze(),
                end: self.end,
            });
        }
    }

    /// Gives this connection the next frame it has not had.
    pub(crate) fn give(&mut self) {
        if let Some(length) = self.frame_at(self.given) {
            self.given = self.given.saturating_add(length).min(self.end);
        }
    }

    /// What is kept between two positions.
    pub(crate) fn between(&self, positions: &Range<u64>) -> impl Iterator<Item = &[u8]> {
        let Range { start, end } = *positions;
        self.parts_from(start)
            .take_while(move |(_, begin)| *begin < end)
            .map(move |(bytes, begin)| {
                let from = as_bytes(start.saturating_sub(begin));
                let to = as_bytes(end.saturating_sub(begin)).min(bytes.len());
                bytes.get(from..to).unwrap_or_default()
            })
            .filter(|part| !part.is_empty())
    }

    /// The parts from the one that `position` is in, each with the position
    /// where it begins.
    fn parts_from(&self, position: u64) -> impl Iterator<Item = (&[u8], u64)> {
        let first = self.parts.partition_point(|part| part.end <= position);
        let parts = self.parts.range(first..);
        let parts = parts.map(|part| (&part.bytes[..], part.end));
        let last = std::iter::once((&self.last[..], self.end));
        parts.chain(last).map(|(bytes, end)| {
            let begin = end.saturating_sub(as_position(bytes.len()));
            (bytes, begin)
        })
    }

    /// Lets go of what is before `position`.
    pub(crate) fn acknowledge(
        &mut self,
        position: u64,
        blocks: &mut Blocks,
    ) -> Result<(), Violation> {
        self.check(position, self.given)?;
        self.let_go(position, blocks);
        Ok(())
    }

    /// Whether a connection may begin whose other end has received up to
    /// `position`.
    pub(crate) fn can_rewind(&self, position: u64) -> bool {
        self.check(position, self.end).is_ok()
    }

    /// Begins a connection whose other end has received up to `position`.
    pub(crate) fn rewind(&mut self, position: u64, blocks: &mut Blocks) -> Result<(), Violation> {
        self.check(position, self.end)?;
        self.let_go(position, blocks);
        self.given = position;
        Ok(())
    }

    fn let_go(&mut self, position: u64, blocks: &mut Blocks) {
        self.acknowledged = position;
        while self.parts.front().is_some_and(|part| part.end <= position) {
            if let Some(part) = self.parts.pop_front() {
                blocks.give(part.bytes);
            }
        }
        let (first, end) = match self.parts.front_mut() {
            Some(part) => (part.bytes.len(), part.end),
            None => (self.last.len(), self.end),
        };
        let kept = as_bytes(end.saturating_sub(position));
        let count = first.saturating_sub(kept);
        match self.parts.front_mut() {
            Some(part) => part.bytes.advance(count),
            None => self.last.advance(count),
        }
        if self.len() == 0 {
            blocks.rest();
        }
    }

    /// Gives up what this connection has not had: the session is to end.
    pub(crate) fn skip(&mut self) {
        self.given = self.end;
    }

    /// Position of the first byte kept.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Bytes this connection has been given and not acknowledged.
    pub(crate) fn under_way(&self) -> usize {
        as_bytes(self.given.saturating_sub(self.acknowledged))
    }

    /// Position after the last frame this connection has been given.
    pub(crate) fn given(&self) -> u64 {
        self.given
    }

    /// Position after the last frame kept.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Sees that a position is a frame's border, and none beyond `last`.
    fn check(&self, position: u64, last: u64) -> Result<(), Violation> {
        let wrong = Violation::Position(position);
        if position < self.acknowledged || position > last {
            return Err(wrong);
        }
        // The frames from the first on, each part looked at once.
        let mut at = self.acknowledged;
        for (bytes, begin) in self.parts_from(at) {
            let end = begin.saturating_add(as_position(bytes.len()));
            while at < end && at < position {
                let header = bytes.get(as_bytes(at.saturating_sub(begin))..);
                at = at.saturating_add(frame_length(header.unwrap_or_default()).ok_or(wrong)?);
            }
            if at >= position {
                break;
            }
        }
        (at == position).then_some(()).ok_or(wrong)
    }

    /// Length of the frame that begins at a position.
    fn frame_at(&self, position: u64) -> Option<u64> {
        let (bytes, begin) = self.parts_from(position).next()?;
        frame_length(bytes.get(as_bytes(position.checked_sub(begin)?)..)?)
    }
}

/// Length of the frame that begins with these bytes.
fn frame_length(bytes: &[u8]) -> Option<u64> {
    let header = bytes.first_chunk::<HEADER>()?;
    let length = HEADER.checked_add(Header::read(*header).length)?;
    Some(as_position(length))
}

fn as_position(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn as_bytes(positions: u64) -> usize {
    usize::try_from(positions).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Frame;
    use crate::queue::Queue;

    #[derive(Debug, Clone)]
    enum Act {
        Write(usize),
        Give(usize),
        Acknowledge(usize),
        Rewind(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (1_usize..16_000).prop_map(Act::Write),
            (1_usize..40).prop_map(Act::Write),
            (1_usize..9).prop_map(Act::Give),
            (0_usize..9).prop_map(Act::Acknowledge),
            (0_usize..9).prop_map(Act::Rewind),
        ]
    }

    proptest! {
        /// Against all that was ever written, and where its frames end.
        #[test]
        fn what_is_given_is_what_was_kept(acts in prop::collection::vec(act(), 1..80)) {
            let mut replay = Replay::new(usize::MAX);
            let (mut queue, mut blocks) = (Queue::default(), Blocks::default());
            let (mut all, mut ends) = (Vec::new(), vec![0_u64]);
            let mut first = 0_usize;
            for (number, act) in acts.into_iter().enumerate() {
                let seed = u8::try_from(number).unwrap();
                let at = |position: u64| as_bytes(position);
                match act {
                    Act::Write(count) => {
                        let data: Vec<u8> = (0..count).map(|n| seed ^ n.to_le_bytes()[0]).collect();
                        queue.push(&data, &mut blocks);
                        while !queue.is_empty() {
                            let count = queue.front().len();
                            let data = queue.take(count);
                            let header = Frame::data_header(1, count);
                            all.extend_from_slice(&header);
                            all.extend_from_slice(&data);
                            ends.push(as_position(all.len()));
                            replay.push_data(header, data);
                        }
                    }
                    Act::Give(frames) => {
                        for _ in 0..frames {
                            replay.give();
                        }
                        prop_assert!(ends.contains(&replay.given()));
                    }
                    Act::Acknowledge(frames) => {
                        let position = ends[(first + frames).min(ends.len() - 1)];
                        let good = position <= replay.given();
                        prop_assert!(replay.acknowledge(position + 1, &mut blocks).is_err());
                        let taken = replay.acknowledge(position, &mut blocks);
                        prop_assert_eq!(taken.is_ok(), good);
                    }
                    Act::Rewind(frames) => {
                        let position = ends[(first + frames).min(ends.len() - 1)];
                        prop_assert!(replay.rewind(position, &mut blocks).is_ok());
                        prop_assert_eq!(replay.given(), position);
                    }
                }
                let kept = replay.acknowledged();
                first = ends.iter().position(|end| *end == kept).unwrap();
                prop_assert_eq!(replay.end(), as_position(all.len()));
                prop_assert_eq!(replay.is_behind(), replay.given() < replay.end());
                for range in [kept..replay.given(), replay.given()..replay.end(), kept + 1..replay.end()] {
                    let given: Vec<u8> = replay.between(&range).flatten().copied().collect();
                    let expected = all.get(at(range.start)..at(range.end)).unwrap_or_default();
                    prop_assert!(given == expected, "{range:?}");
                }
            }
        }
    }
}
