//! An X11 message that is being built from the fields of an NX request.

use super::bits::Bits;
use super::cache::{Char, Int, Xids};
use super::error::bad;
use super::{CodecError, limits};

pub(super) fn size(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Rounded up to a multiple of 4.
pub(super) fn pad4(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// Low 16 bits.
pub(super) fn low16(value: u32) -> u16 {
    let [a, b, ..] = value.to_le_bytes();
    u16::from_le_bytes([a, b])
}

pub(super) fn low8(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

/// Reads a 16-bit field; 0 beyond the end.
pub(super) fn u16_at(bytes: &[u8], at: usize, big: bool) -> u16 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>());
    let field = field.copied().unwrap_or_default();
    if big {
        u16::from_be_bytes(field)
    } else {
        u16::from_le_bytes(field)
    }
}

/// Reads a 32-bit field; 0 beyond the end.
pub(super) fn u32_at(bytes: &[u8], at: usize, big: bool) -> u32 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    let field = field.copied().unwrap_or_default();
    if big {
        u32::from_be_bytes(field)
    } else {
        u32::from_le_bytes(field)
    }
}

pub(super) fn u8_at(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or_default()
}

/// Fields on their way from the bits into a message. A field beyond the
/// message's end is not written.
pub(super) struct Fields<'f, 'b> {
    pub(super) bits: &'f mut Bits<'b>,
    pub(super) message: &'f mut Vec<u8>,
    pub(super) big: bool,
}

impl Fields<'_, '_> {
    /// Makes the message `size` bytes of zeros.
    pub(super) fn resize(&mut self, size: usize) -> Result<(), CodecError> {
        if size < 4 {
            return bad("request size", u64::try_from(size).unwrap_or(0));
        }
        if size > limits::ITEM + 64 {
            return Err(CodecError::TooLarge {
                what: "request",
                value: size,
            });
        }
        self.message.clear();
        self.message.resize(size, 0);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.message.len()
    }

    pub(super) fn put8(&mut self, at: usize, value: u8) {
        if let Some(to) = self.message.get_mut(at) {
            *to = value;
        }
    }

    pub(super) fn put16(&mut self, at: usize, value: u16) {
        let bytes = if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        };
        if let Some(to) = self.message.get_mut(at..at + 2) {
            to.copy_from_slice(&bytes);
        }
    }

    pub(super) fn put32(&mut self, at: usize, value: u32) {
        let bytes = if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        };
        if let Some(to) = self.message.get_mut(at..at + 4) {
            to.copy_from_slice(&bytes);
        }
    }

    pub(super) fn get16(&self, at: usize) -> u16 {
        u16_at(self.message, at, self.big)
    }

    pub(super) fn get32(&self, at: usize) -> u32 {
        u32_at(self.message, at, self.big)
    }

    pub(super) fn value(&mut self, bits: u32, block: u32) -> Result<u32, CodecError> {
        self.bits.value(bits, block)
    }

    /// VALUE as a count or length.
    pub(super) fn count(&mut self, bits: u32, block: u32) -> Result<usize, CodecError> {
        Ok(size(self.bits.value(bits, block)?))
    }

    pub(super) fn bool(&mut self, at: usize) -> Result<(), CodecError> {
        let bit = self.bits.bit()?;
        self.put8(at, u8::from(bit));
        Ok(())
    }

    pub(super) fn value8(&mut self, at: usize, bits: u32) -> Result<(), CodecError> {
        let value = self.bits.value(bits, 0)?;
        self.put8(at, low8(value));
        Ok(())
    }

    pub(super) fn value16(&mut self, at: usize, block: u32) -> Result<(), CodecError> {
        let value = self.bits.value(16, block)?;
        self.put16(at, low16(value));
        Ok(())
    }

    pub(super) fn value32(&mut self, at: usize, bits: u32, block: u32) -> Result<(), CodecError> {
        let value = self.bits.value(bits, block)?;
        self.put32(at, value);
        Ok(())
    }

    pub(super) fn char(&mut self, at: usize, cache: &mut Char) -> Result<u8, CodecError> {
        let value = cache.read(self.bits, 8)?;
        self.put8(at, value);
        Ok(value)
    }

    pub(super) fn int<const N: usize>(
        &mut self,
        cache: &mut Int<N>,
        bits: u32,
        block: u32,
    ) -> Result<u32, CodecError> {
        cache.read(self.bits, bits, block)
    }

    pub(super) fn int16<const N: usize>(
        &mut self,
        at: usize,
        cache: &mut Int<N>,
        block: u32,
    ) -> Result<(), CodecError> {
        let value = cache.read(self.bits, 16, block)?;
        self.put16(at, low16(value));
        Ok(())
    }

    pub(super) fn int32<const N: usize>(
        &mut self,
        at: usize,
        cache: &mut Int<N>,
        bits: u32,
        block: u32,
    ) -> Result<u32, CodecError> {
        let value = cache.read(self.bits, bits, block)?;
        self.put32(at, value);
        Ok(value)
    }

    /// Consecutive 16-bit fields, each with a cache of its own.
    pub(super) fn ints16<const N: usize>(
        &mut self,
        at: usize,
        caches: &mut [Int<N>],
        block: u32,
    ) -> Result<(), CodecError> {
        for (k, cache) in caches.iter_mut().enumerate() {
            self.int16(at + 2 * k, cache, block)?;
        }
        Ok(())
    }

    pub(super) fn xid(&mut self, at: usize, cache: &mut Xids) -> Result<(), CodecError> {
        let value = cache.read(self.bits)?;
        self.put32(at, value);
        Ok(())
    }

    /// ACC: a session variable that grows by what comes.
    pub(super) fn acc<const N: usize>(
        &mut self,
        at: usize,
        variable: &mut u16,
        cache: &mut Int<N>,
        block: u32,
    ) -> Result<(), CodecError> {
        let by = cache.read(self.bits, 16, block)?;
        *variable = variable.wrapping_add(low16(by));
        self.put16(at, *variable);
        Ok(())
    }

    /// The same upon the message's own field.
    pub(super) fn grow<const N: usize>(
        &mut self,
        at: usize,
        cache: &mut Int<N>,
        block: u32,
    ) -> Result<(), CodecError> {
        let mut own = self.get16(at);
        self.acc(at, &mut own, cache, block)
    }

    /// DIFF: as ACC, and one more.
    pub(super) fn diff<const N: usize>(
        &mut self,
        at: usize,
        variable: &mut u16,
        cache: &mut Int<N>,
    ) -> Result<(), CodecError> {
        let by = cache.read(self.bits, 16, 11)?;
        *variable = variable.wrapping_add(low16(by)).wrapping_add(1);
        self.put16(at, *variable);
        Ok(())
    }

    /// DIFF upon the message's own field.
    pub(super) fn diff_own<const N: usize>(
        &mut self,
        at: usize,
        cache: &mut Int<N>,
    ) -> Result<(), CodecError> {
        let mut own = self.get16(at);
        self.diff(at, &mut own, cache)
    }

    /// MEM(length)@at.
    pub(super) fn memory(&mut self, at: usize, length: usize) -> Result<(), CodecError> {
        if length > limits::ITEM {
            return Err(CodecError::TooLarge {
                what: "raw item",
                value: length,
            });
        }
        let bytes = self.bits.memory(length)?;
        if let Some(to) = self.message.get_mut(at..at + length) {
            to.copy_from_slice(bytes);
        }
        Ok(())
    }

    /// MEM of everything from `at` on, left out altogether when that is
    /// nothing.
    pub(super) fn rest(&mut self, at: usize) -> Result<(), CodecError> {
        match self.len().checked_sub(at) {
            Some(length) if length > 0 => self.memory(at, length),
            _ => Ok(()),
        }
    }

    /// MEM of everything from `at` on, which aligns also when it is empty.
    pub(super) fn rest_always(&mut self, at: usize) -> Result<(), CodecError> {
        self.memory(at, self.len().saturating_sub(at))
    }
}
