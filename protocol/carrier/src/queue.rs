//! Bytes that wait, in blocks that what follows can share instead of copying.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::limits::{BLOCK, FULL_BLOCK};

/// Bytes of the first block; the largest are [`BLOCK`]. A block is held until
/// the last byte of it is let go, by the queue and by who shares it.
const LEAST: usize = 4096;

/// Bytes at the end of a block that are not written to.
const UNUSED: usize = BLOCK - FULL_BLOCK;

/// Data of so many bytes is not copied but shared with who has written it, and
/// keeps the block it lies in: eight times as much at most. Less is copied, so
/// that many small frames cost no more than their bytes.
pub(crate) const SHARED: usize = 8 * 1024;

/// Blocks of the largest size that are kept to be used again, and of them when
/// nothing is under way: the allocator would give them back to the kernel and
/// fetch them again, page by page.
const KEPT: usize = 8;
const KEPT_AT_REST: usize = 2;

/// Blocks that nobody shares any more.
#[derive(Debug, Default)]
pub(crate) struct Blocks(Vec<BytesMut>);

impl Blocks {
    /// Keeps what these bytes lie in, if they were the last there.
    pub(crate) fn give(&mut self, bytes: Bytes) {
        if self.0.len() < KEPT
            && let Ok(mut block) = bytes.try_into_mut()
        {
            block.clear();
            if block.try_reclaim(BLOCK) {
                self.0.push(block);
            }
        }
    }

    /// Nothing is under way.
    pub(crate) fn rest(&mut self) {
        self.0.truncate(KEPT_AT_REST);
    }

    /// One of the largest size.
    pub(crate) fn largest(&mut self) -> BytesMut {
        let kept = self.0.pop();
        kept.unwrap_or_else(|| BytesMut::with_capacity(BLOCK))
    }

    fn take(&mut self, size: usize) -> BytesMut {
        match size {
            BLOCK => self.largest(),
            _ => BytesMut::with_capacity(size),
        }
    }
}

/// Bytes in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Those before the ones in `last`; none is empty.
    full: VecDeque<Bytes>,
    /// What is written to.
    last: BytesMut,
    len: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy.
    pub(crate) fn push(&mut self, mut bytes: &[u8], blocks: &mut Blocks) {
        if self.is_empty() && self.spare() < bytes.len() {
            // What is written at once goes in one frame, as far as it can.
            self.make_room(bytes.len(), blocks);
        }
        while !bytes.is_empty() {
            let spare = self.spare();
            if spare == 0 {
                self.make_room(bytes.len(), blocks);
                continue;
            }
            let (now, later) = bytes.split_at_checked(spare).unwrap_or((bytes, &[]));
            self.last.extend_from_slice(now);
            self.len = self.len.saturating_add(now.len());
            bytes = later;
        }
    }

    /// Appends without a copy.
    pub(crate) fn share(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.close_last();
        self.len = self.len.saturating_add(bytes.len());
        self.full.push_back(bytes);
    }

    fn spare(&self) -> usize {
        let free = self.last.capacity().saturating_sub(self.last.len());
        free.saturating_sub(UNUSED)
    }

    fn close_last(&mut self) {
        if !self.last.is_empty() {
            self.full.push_back(self.last.split().freeze());
        }
    }

    /// A block for so many bytes, or as many as one has; the one before is
    /// taken again when nobody shares it.
    fn make_room(&mut self, wanted: usize, blocks: &mut Blocks) {
        self.close_last();
        let size = wanted.max(self.len).saturating_add(UNUSED);
        let size = size.clamp(LEAST, BLOCK);
        if !self.last.try_reclaim(size) {
            self.last = blocks.take(size);
        }
    }

    /// The first bytes, of all in one block.
    pub(crate) fn front(&self) -> &[u8] {
        self.full.front().map_or(&self.last, |block| block)
    }

    /// All of them, in the parts they lie in; none is empty.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let last = std::iter::once(&self.last[..]);
        let last = last.filter(|part| !part.is_empty());
        self.full.iter().map(|block| &block[..]).chain(last)
    }

    /// Takes the first `count` bytes, at most those of [`Queue::front`].
    pub(crate) fn take(&mut self, count: usize) -> Bytes {
        let taken = match self.full.front_mut() {
            Some(block) => block.split_to(count.min(block.len())),
            None => self.last.split_to(count.min(self.last.len())).freeze(),
        };
        self.taken(taken.len());
        taken
    }

    /// Lets go of the first `count` bytes, at most of all.
    pub(crate) fn skip(&mut self, count: usize, blocks: &mut Blocks) {
        let mut left = count.min(self.len);
        self.len = self.len.saturating_sub(left);
        while left > 0 {
            let Some(block) = self.full.pop_front() else {
                self.last.advance(left);
                return;
            };
            match left.checked_sub(block.len()) {
                Some(more) => {
                    left = more;
                    blocks.give(block);
                }
                None => {
                    self.full.push_front(block.slice(left..));
                    return;
                }
            }
        }
    }

    fn taken(&mut self, count: usize) {
        self.len = self.len.saturating_sub(count);
        if self.full.front().is_some_and(Bytes::is_empty) {
            self.full.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Act {
        Push(usize),
        Share(usize),
        Take(usize),
        Skip(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        let count = prop_oneof![0_usize..40, 0_usize..3000, 0_usize..200_000];
        count.prop_flat_map(|count| {
            prop_oneof![
                Just(Act::Push(count)),
                Just(Act::Share(count)),
                Just(Act::Take(count)),
                Just(Act::Skip(count))
            ]
        })
    }

    /// These bytes, in a block where they have room in one.
    fn read_into(bytes: Vec<u8>, blocks: &mut Blocks) -> Bytes {
        if bytes.len() > BLOCK {
            return bytes.into();
        }
        let mut block = blocks.largest();
        block.extend_from_slice(&bytes);
        block.freeze()
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_was_pushed(acts in prop::collection::vec(act(), 1..60)) {
            let mut queue = Queue::default();
            let mut blocks = Blocks::default();
            let mut model = VecDeque::new();
            let mut shared = Vec::new();
            let mut next = 0_u8;
            for act in acts {
                match act {
                    Act::Push(count) | Act::Share(count) => {
                        let bytes: Vec<u8> = (0..count)
                            .map(|_| { next = next.wrapping_mul(5).wrapping_add(3); next })
                            .collect();
                        model.extend(&bytes);
                        match act {
                            Act::Share(_) => queue.share(read_into(bytes, &mut blocks)),
                            _ => queue.push(&bytes, &mut blocks),
                        }
                    }
                    Act::Take(count) => {
                        let taken = queue.take(count);
                        let expected: Vec<u8> = model.drain(..taken.len()).collect();
                        prop_assert_eq!(&taken[..], &expected[..]);
                        if expected.len().is_multiple_of(3) {
                            blocks.give(taken);
                        } else {
                            shared.push((taken, expected));
                        }
                    }
                    Act::Skip(count) => {
                        queue.skip(count, &mut blocks);
                        model.drain(..count.min(model.len()));
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.is_empty(), queue.front().is_empty());
                prop_assert!(queue.parts().all(|part| !part.is_empty()));
                prop_assert!(queue.parts().next().unwrap_or_default() == queue.front());
                let parts = queue.parts().collect::<Vec<_>>();
                prop_assert!(parts.concat() == *model.make_contiguous());
            }
            // What was shared has not been written over.
            for (taken, expected) in shared {
                prop_assert_eq!(&taken[..], &expected[..]);
            }
        }
    }
}
