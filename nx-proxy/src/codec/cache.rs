//! The caches of NX: lists in which a value that is used moves to the front.

use super::CodecError;
use super::bits::{BitWriter, Bits};
use super::error::bad;

/// Where an index code points.
enum Found {
    At(usize),
    Miss,
}

fn index(bits: &mut Bits<'_>) -> Result<Found, CodecError> {
    match bits.unary() {
        None => Err(CodecError::Short),
        Some(zeros) => found(zeros),
    }
}

fn found(zeros: u32) -> Result<Found, CodecError> {
    let at = match zeros {
        2 => return Ok(Found::Miss),
        0 | 1 => zeros,
        _ => zeros - 1,
    };
    match usize::try_from(at) {
        Ok(at) => Ok(Found::At(at)),
        Err(_) => bad("cache index", at),
    }
}

/// A list that holds at most `N` values.
#[derive(Debug, Clone)]
struct Front<T, const N: usize> {
    list: [T; N],
    len: usize,
}

impl<T: Copy + Default, const N: usize> Default for Front<T, N> {
    fn default() -> Self {
        Self {
            list: [T::default(); N],
            len: 0,
        }
    }
}

impl<T: Copy, const N: usize> Front<T, N> {
    fn hit(&mut self, at: usize) -> Result<T, CodecError> {
        let here = self.list.get_mut(..self.len).unwrap_or_default();
        let Some(moved) = here.get_mut(at / 2..=at) else {
            return bad("cache index", u64::try_from(at).unwrap_or(u64::MAX));
        };
        moved.rotate_right(1);
        match moved.first() {
            Some(value) => Ok(*value),
            None => Err(CodecError::Short),
        }
    }

    fn insert(&mut self, at: usize, value: T) {
        let at = at.min(self.len);
        self.len = (self.len + 1).min(N);
        if let Some(moved) = self.list.get_mut(at..self.len) {
            moved.rotate_right(1);
            if let Some(first) = moved.first_mut() {
                *first = value;
            }
        }
    }
}

/// INT: numbers, coded as differences on a miss.
#[derive(Debug, Clone, Default)]
pub(super) struct Int<const N: usize = 8> {
    front: Front<u32, N>,
    last: u32,
    diff: u32,
    pred: u32,
}

fn mask(bits: u32) -> u32 {
    u32::MAX >> (32 - bits.clamp(1, 32))
}

impl<const N: usize> Int<N>
where
    [u32; N]: Sized,
{
    fn block(&self, block: u32) -> u32 {
        if block > 0 {
            self.pred.min(block)
        } else {
            self.pred
        }
    }

    /// Notes the difference `d`; the value it leads to.
    fn step(&mut self, d: u32, bits: u32) -> u32 {
        if d != self.diff & mask(bits) {
            self.diff = d;
            let turns = (d ^ (d << 1)) & mask(bits) & !1;
            let highest = 31_u32.saturating_sub(turns.leading_zeros());
            self.pred = if turns == 0 { 2 } else { (highest + 1).max(2) };
        }
        self.last = self.last.wrapping_add(d) & mask(bits);
        self.last
    }

    /// CI(self, bits, block).
    #[inline]
    pub(super) fn read(
        &mut self,
        from: &mut Bits<'_>,
        bits: u32,
        block: u32,
    ) -> Result<u32, CodecError> {
        match index(from)? {
            Found::At(at) => Ok(self.front.hit(at)? & mask(bits)),
            Found::Miss => {
                let d = from.value(bits, self.block(block))?;
                let value = self.step(d, bits);
                self.front.insert(2, value);
                Ok(value)
            }
        }
    }

    /// CI(self, bits, block): a hit where the value is in the list.
    pub(super) fn write(&mut self, to: &mut BitWriter, value: u32, bits: u32, block: u32) {
        let value = value & mask(bits);
        let known = self.front.list.get(..self.front.len).unwrap_or_default();
        if let Some(at) = known.iter().position(|v| *v == value) {
            to.index(u32::try_from(at).unwrap_or(0));
            // It is there.
            let _ = self.front.hit(at);
            return;
        }
        to.miss();
        let d = value.wrapping_sub(self.last) & mask(bits);
        to.value(d, bits, self.block(block));
        let value = self.step(d, bits);
        self.front.insert(2, value);
    }

    pub(super) fn push(&mut self, value: u32) {
        self.front.insert(0, value);
    }
}

/// CHAR: bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Char {
    front: Front<u8, 7>,
}

impl Char {
    fn take(&mut self, found: &Found, from: &mut Bits<'_>, block: u32) -> Result<u8, CodecError> {
        match found {
            Found::At(at) => self.front.hit(*at),
            Found::Miss => {
                let value = u8::try_from(from.value(8, block)?).unwrap_or(u8::MAX);
                self.front.insert(2, value);
                Ok(value)
            }
        }
    }

    /// CC(self, block).
    pub(super) fn read(&mut self, from: &mut Bits<'_>, block: u32) -> Result<u8, CodecError> {
        let found = index(from)?;
        self.take(&found, from, block)
    }

    /// CC(self, block).
    pub(super) fn write(&mut self, to: &mut BitWriter, value: u8, block: u32) {
        let known = self.front.list.get(..self.front.len).unwrap_or_default();
        if let Some(at) = known.iter().position(|v| *v == value) {
            to.index(u32::try_from(at).unwrap_or(0));
            let _ = self.front.hit(at);
            return;
        }
        to.miss();
        to.value(u32::from(value), 8, block);
        self.front.insert(2, value);
    }
}

/// OPCODE: a byte, expected after the one before.
#[derive(Debug, Clone)]
pub(super) struct Opcodes {
    lists: Vec<Char>,
    slot: u8,
}

impl Default for Opcodes {
    fn default() -> Self {
        Self {
            lists: vec![Char::default(); 256],
            slot: 0,
        }
    }
}

impl Opcodes {
    /// OP(self), or `None` at the end of the payload.
    pub(super) fn read(&mut self, from: &mut Bits<'_>) -> Result<Option<u8>, CodecError> {
        let Some(zeros) = from.unary() else {
            return Ok(None);
        };
        let Some(list) = self.lists.get_mut(usize::from(self.slot)) else {
            return Err(CodecError::Short);
        };
        self.slot = list.take(&found(zeros)?, from, 8)?;
        Ok(Some(self.slot))
    }

    pub(super) fn write(&mut self, to: &mut BitWriter, value: u8) {
        if let Some(list) = self.lists.get_mut(usize::from(self.slot)) {
            list.write(to, value, 8);
        }
        self.slot = value;
    }
}

/// XID: ids, expected after the one before.
#[derive(Debug, Clone)]
pub(super) struct Xids {
    /// One for each low byte of an id, as far as they were needed: a session
    /// has dozens of these, of which it uses some.
    lists: Vec<Int>,
    slot: u32,
    last: u32,
    bits: u32,
}

impl Default for Xids {
    fn default() -> Self {
        Self::of(29)
    }
}

impl Xids {
    fn of(bits: u32) -> Self {
        Self {
            lists: Vec::new(),
            slot: 0,
            last: 0,
            bits,
        }
    }

    fn list(&mut self) -> Result<&mut Int, CodecError> {
        // It is a byte.
        let slot = usize::try_from(self.slot & 0xff).unwrap_or(0);
        if slot >= self.lists.len() {
            self.lists.resize_with(slot + 1, Int::default);
        }
        self.lists.get_mut(slot).ok_or(CodecError::Short)
    }

    /// XI(self).
    pub(super) fn read(&mut self, from: &mut Bits<'_>) -> Result<u32, CodecError> {
        let bits = self.bits;
        let t = self.list()?.read(from, bits, 0)?;
        self.last = self.last.wrapping_add(t) & mask(bits);
        self.slot = self.last & 0xff;
        Ok(self.last)
    }

    /// An id that the client has just made.
    pub(super) fn created(&mut self, id: u32) -> Result<(), CodecError> {
        let t = id.wrapping_sub(self.last) & mask(self.bits);
        self.last = id;
        self.slot = id & 0xff;
        self.list()?.push(t);
        Ok(())
    }

    fn write(&mut self, to: &mut BitWriter, value: u32) {
        let bits = self.bits;
        let t = value.wrapping_sub(self.last) & mask(bits);
        if let Ok(list) = self.list() {
            list.write(to, t, bits, 0);
        }
        self.last = value & mask(bits);
        self.slot = self.last & 0xff;
    }
}

/// What happens to a store's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Hit(usize),
    Added(usize),
    Discarded,
    Removed(usize),
}

/// ACTION: what happens in a store, and where.
#[derive(Debug, Clone)]
pub(super) struct Actions(Xids);

impl Default for Actions {
    fn default() -> Self {
        Self(Xids::of(15))
    }
}

impl Actions {
    pub(super) fn read(&mut self, from: &mut Bits<'_>) -> Result<Action, CodecError> {
        let value = self.0.read(from)?;
        let at = usize::try_from(value & 0x1fff).unwrap_or(usize::MAX);
        Ok(match value >> 13 {
            0 => Action::Hit(at),
            1 => Action::Added(at),
            2 => Action::Discarded,
            _ => Action::Removed(at),
        })
    }

    /// Says that a message is not kept.
    pub(super) fn discard(&mut self, to: &mut BitWriter) {
        self.0.write(to, 2 << 13);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_moves_as_written_down() {
        let mut cache = Int::<8>::default();
        let steps: [(u32, &[u32]); 9] = [
            (10, &[10]),
            (20, &[10, 20]),
            (30, &[10, 20, 30]),
            (10, &[10, 20, 30]),
            (40, &[10, 20, 40, 30]),
            (20, &[20, 10, 40, 30]),
            (41, &[20, 10, 41, 40, 30]),
            (30, &[20, 10, 30, 41, 40]),
            (5, &[20, 10, 5, 30, 41, 40]),
        ];
        for (value, list) in steps {
            cache.write(&mut BitWriter::default(), value, 16, 8);
            assert_eq!(&cache.front.list[..cache.front.len], list);
        }
        assert_eq!((cache.last, cache.diff, cache.pred), (5, 0xffdc, 7));
    }

    proptest! {
        #[test]
        fn caches_of_both_ends_agree(values in proptest::collection::vec(any::<u32>().prop_map(|v| v % 64 * 77_777), 0..200)) {
            let mut writer = BitWriter::default();
            let (mut ints, mut chars, mut ops, mut ids) =
                (Int::<16>::default(), Char::default(), Opcodes::default(), Xids::default());
            for value in &values {
                ints.write(&mut writer, *value, 32, 9);
                chars.write(&mut writer, value.to_le_bytes()[0], 5);
                ops.write(&mut writer, value.to_le_bytes()[1]);
                ids.write(&mut writer, *value);
            }
            let bytes = writer.finish();
            let mut bits = Bits::new(&bytes);
            let (mut ints, mut chars, mut ops, mut ids) =
                (Int::<16>::default(), Char::default(), Opcodes::default(), Xids::default());
            for value in values {
                prop_assert_eq!(ints.read(&mut bits, 32, 9).unwrap(), value);
                prop_assert_eq!(chars.read(&mut bits, 5).unwrap(), value.to_le_bytes()[0]);
                prop_assert_eq!(ops.read(&mut bits).unwrap(), Some(value.to_le_bytes()[1]));
                prop_assert_eq!(ids.read(&mut bits).unwrap(), value);
            }
        }
    }
}
