//! Fields out of the bits into a message of which not every byte is known.

use std::collections::BTreeMap;

use super::super::CodecError;
use super::super::bits::Bits;
use super::super::cache::{Action, Actions, Char, Int};
use super::super::message::{low16, size, u16_at, u32_at};

/// A message, and which of its bytes were carried.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    pub(super) known: Vec<bool>,
}

impl Message {
    pub(super) fn of(length: usize) -> Self {
        Self {
            bytes: vec![0; length],
            known: vec![false; length],
        }
    }

    pub(super) fn resize(&mut self, length: usize) {
        self.bytes.resize(length, 0);
        self.known.resize(length, false);
    }

    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.known[at..at + bytes.len()].fill(true);
    }

    pub(super) fn u16(&self, at: usize) -> u16 {
        u16_at(&self.bytes, at, false)
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32_at(&self.bytes, at, false)
    }

    /// Fills the length in that the agent knows of a reply.
    pub(super) fn words(&mut self, length: usize) {
        self.resize(length);
        let words = u32::try_from((length - 32) / 4).unwrap();
        self.put(4, &words.to_le_bytes());
    }
}

pub(super) type Done = Result<(), CodecError>;

pub(super) struct In<'i, 'b> {
    pub(super) bits: &'i mut Bits<'b>,
    pub(super) m: Message,
}

impl In<'_, '_> {
    pub(super) fn bool(&mut self, at: usize) -> Done {
        let bit = self.bits.bit()?;
        self.m.put(at, &[u8::from(bit)]);
        Ok(())
    }

    pub(super) fn count(&mut self, bits: u32, block: u32) -> Result<usize, CodecError> {
        Ok(size(self.bits.value(bits, block)?))
    }

    pub(super) fn v8(&mut self, at: usize, bits: u32, block: u32) -> Done {
        let value = self.bits.value(bits, block)?;
        self.m.put(at, &value.to_le_bytes()[..1]);
        Ok(())
    }

    pub(super) fn v16(&mut self, at: usize, block: u32) -> Result<u16, CodecError> {
        let value = low16(self.bits.value(16, block)?);
        self.m.put(at, &value.to_le_bytes());
        Ok(value)
    }

    pub(super) fn v32(&mut self, at: usize, bits: u32, block: u32) -> Result<u32, CodecError> {
        let value = self.bits.value(bits, block)?;
        self.m.put(at, &value.to_le_bytes());
        Ok(value)
    }

    pub(super) fn c(&mut self, at: usize, cache: &mut Char) -> Result<u8, CodecError> {
        let value = cache.read(self.bits, 8)?;
        self.m.put(at, &[value]);
        Ok(value)
    }

    pub(super) fn i16<const N: usize>(
        &mut self,
        at: usize,
        cache: &mut Int<N>,
        block: u32,
    ) -> Done {
        let value = low16(cache.read(self.bits, 16, block)?);
        self.m.put(at, &value.to_le_bytes());
        Ok(())
    }

    /// Consecutive fields of 16 bits, each with a cache of its own.
    pub(super) fn row(&mut self, at: usize, caches: &mut [Int], block: u32) -> Done {
        for (k, cache) in caches.iter_mut().enumerate() {
            self.i16(at + 2 * k, cache, block)?;
        }
        Ok(())
    }

    pub(super) fn i32<const N: usize>(
        &mut self,
        at: usize,
        cache: &mut Int<N>,
        bits: u32,
        block: u32,
    ) -> Done {
        let value = cache.read(self.bits, bits, block)?;
        self.m.put(at, &value.to_le_bytes());
        Ok(())
    }

    pub(super) fn mem(&mut self, at: usize, length: usize) -> Done {
        let bytes = self.bits.memory(length)?;
        self.m.put(at, bytes);
        Ok(())
    }

    /// MEM of everything from byte 32 on, if there is anything.
    pub(super) fn data(&mut self) -> Done {
        match self.m.bytes.len() - 32 {
            0 => Ok(()),
            length => self.mem(32, length),
        }
    }

    /// Whether the flag is set that says the same as before.
    pub(super) fn same(&mut self) -> Result<bool, CodecError> {
        self.bits.bit()
    }
}

/// A store of replies.
#[derive(Debug, Default)]
pub(super) struct Kept {
    actions: Actions,
    messages: BTreeMap<usize, Message>,
}

/// What is to be read of a reply with a store.
pub(super) enum Read {
    Stored(usize),
    Full(Option<usize>),
}

impl Kept {
    pub(super) fn action(&mut self, bits: &mut Bits<'_>) -> Result<Read, CodecError> {
        loop {
            match self.actions.read(bits)? {
                Action::Removed(at) => {
                    self.messages.remove(&at).expect("something to remove");
                }
                Action::Hit(at) => return Ok(Read::Stored(at)),
                Action::Added(at) => return Ok(Read::Full(Some(at))),
                Action::Discarded => return Ok(Read::Full(None)),
            }
        }
    }

    pub(super) fn stored(&self, at: usize) -> Message {
        self.messages.get(&at).expect("a stored reply").clone()
    }

    pub(super) fn put(&mut self, at: Option<usize>, message: &Message) {
        if let Some(at) = at {
            self.messages.insert(at, message.clone());
        }
    }
}
