//! Bit strings: bytes in order, most significant bit first; numbers in them
//! least significant bit first.

use super::CodecError;

/// Reads a frame's payload.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// Goes on at bit `at`, as [`Bits::at`] gave it.
    pub(super) fn from(data: &'a [u8], at: usize) -> Self {
        Self { data, at }
    }

    /// The bit that is read next.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn left(&self) -> usize {
        (self.data.len() * 8).saturating_sub(self.at)
    }

    /// At least the next 57 bits at the top of the word, zeros after the end.
    #[inline]
    fn window(&self) -> u64 {
        let rest = self.data.get(self.at / 8..).unwrap_or_default();
        let word = match rest.first_chunk::<8>() {
            Some(eight) => u64::from_be_bytes(*eight),
            None => {
                let mut eight = [0; 8];
                for (to, from) in eight.iter_mut().zip(rest) {
                    *to = *from;
                }
                u64::from_be_bytes(eight)
            }
        };
        word << (self.at % 8)
    }

    #[inline]
    fn take(&mut self, count: u32) -> Result<u32, CodecError> {
        let mask = (1_u64 << count) - 1;
        let value = self.window().reverse_bits() & mask;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if self.left() < count {
            return Err(CodecError::Short);
        }
        self.at += count;
        Ok(u32::try_from(value).unwrap_or(u32::MAX))
    }

    /// VALUE(1).
    #[inline]
    pub(super) fn bit(&mut self) -> Result<bool, CodecError> {
        Ok(self.take(1)? == 1)
    }

    /// The zeros before the next 1, which is taken with them; `None` when
    /// there is no 1 any more.
    #[inline]
    pub(super) fn unary(&mut self) -> Option<u32> {
        let zeros = self.window().leading_zeros();
        let taken = usize::try_from(zeros).ok()? + 1;
        if taken > self.left() {
            return None;
        }
        self.at += taken;
        Some(zeros)
    }

    /// VALUE(bits, block); a `block` of 0 is one of all bits.
    pub(super) fn value(&mut self, bits: u32, block: u32) -> Result<u32, CodecError> {
        let mut block = if block == 0 { bits } else { block };
        let mut value = 0_u64;
        let mut got = 0;
        for round in 1.. {
            if round == 4 {
                block = bits;
            }
            let now = block.min(bits - got);
            value |= u64::from(self.take(now)?) << got;
            got += now;
            if got == bits {
                break;
            }
            if !self.bit()? {
                if (value >> (got - 1)) & 1 == 1 {
                    value |= ((1_u64 << bits) - 1) & !((1_u64 << got) - 1);
                }
                break;
            }
            block = (block / 2).max(2);
        }
        Ok(u32::try_from(value).unwrap_or(u32::MAX))
    }

    /// MEM(length): raw bytes from the next byte boundary on.
    pub(super) fn memory(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let start = self.at.div_ceil(8);
        let end = start.checked_add(length).ok_or(CodecError::Short)?;
        let bytes = self.data.get(start..end).ok_or(CodecError::Short)?;
        self.at = end * 8;
        Ok(bytes)
    }
}

/// Writes a frame's payload.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    word: u64,
    used: u32,
}

impl BitWriter {
    /// Writes into `bytes`, whatever was in it.
    pub(super) fn into(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self {
            bytes,
            ..Self::default()
        }
    }

    fn put(&mut self, value: u64, count: u32) {
        if count == 0 {
            return;
        }
        // First bit of the number to the top, below what is there already.
        let bits = (value & ((1_u64 << count) - 1)).reverse_bits();
        self.word |= bits >> self.used;
        self.used += count;
        while self.used >= 8 {
            self.bytes.push(self.word.to_be_bytes()[0]);
            self.word <<= 8;
            self.used -= 8;
        }
    }

    pub(super) fn bit(&mut self, bit: bool) {
        self.put(u64::from(bit), 1);
    }

    /// VALUE(bits, block), as short as it can be said.
    pub(super) fn value(&mut self, value: u32, bits: u32, block: u32) {
        let value = u64::from(value) & ((1_u64 << bits) - 1);
        let mut block = if block == 0 { bits } else { block };
        let mut got = 0;
        for round in 1.. {
            if round == 4 {
                block = bits;
            }
            let now = block.min(bits - got);
            self.put(value >> got, now);
            got += now;
            if got == bits {
                break;
            }
            let rest = value >> got;
            let same = if (value >> (got - 1)) & 1 == 1 {
                rest == (1_u64 << (bits - got)) - 1
            } else {
                rest == 0
            };
            self.bit(!same);
            if same {
                break;
            }
            block = (block / 2).max(2);
        }
    }

    /// Index code of the list index `index`.
    pub(super) fn index(&mut self, index: u32) {
        let zeros = if index < 2 { index } else { index + 1 };
        self.put(0, zeros);
        self.bit(true);
    }

    /// Index code of a miss.
    pub(super) fn miss(&mut self) {
        self.put(0b100, 3);
    }

    /// MEM.
    pub(super) fn memory(&mut self, bytes: &[u8]) {
        self.align();
        self.bytes.extend_from_slice(bytes);
    }

    fn align(&mut self) {
        if self.used > 0 {
            self.bytes.push(self.word.to_be_bytes()[0]);
            self.word = 0;
            self.used = 0;
        }
    }

    /// The payload so far, its last byte filled with zeros.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.align();
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: u32, bits: u32, block: u32) -> String {
        let mut writer = BitWriter::default();
        writer.value(value, bits, block);
        let used = writer.bytes.len() * 8 + usize::try_from(writer.used).unwrap();
        let bytes = writer.finish();
        let all: String = bytes.iter().map(|b| format!("{b:08b}")).collect();
        all[..used].to_owned()
    }

    #[test]
    fn values_look_as_written_down() {
        for (value, bits, block, wire) in [
            (5, 8, 0, "10100000"),
            (1, 16, 6, "1000000"),
            (42, 16, 6, "01010110000"),
            (100, 16, 6, "00100111000"),
            (300, 16, 4, "0011101100110000000"),
            (0xffff, 16, 8, "111111110"),
            (0x1234, 32, 9, "001011000110011000"),
            (0x8000_0000, 32, 9, "00000000010000100100000000000000001"),
        ] {
            assert_eq!(written(value, bits, block), wire, "{value} {bits} {block}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in proptest::collection::vec((any::<u32>(), 1..33_u32, 0..34_u32), 0..40)) {
            let mut writer = BitWriter::default();
            for (value, bits, block) in &values {
                writer.value(*value, *bits, *block);
                writer.memory(&value.to_be_bytes());
            }
            let bytes = writer.finish();
            let mut reader = Bits::new(&bytes);
            for (value, bits, block) in values {
                let masked = u64::from(value) & ((1_u64 << bits) - 1);
                prop_assert_eq!(u64::from(reader.value(bits, block).unwrap()), masked);
                prop_assert_eq!(reader.memory(4).unwrap(), &value.to_be_bytes()[..]);
            }
        }
    }
}
