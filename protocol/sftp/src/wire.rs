//! The fields of a packet: big-endian numbers, and strings with their length.

use crate::Error;

/// Reads fields off the front of a packet.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    kind: u8,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(kind: u8, rest: &'a [u8]) -> Self {
        Self { rest, kind }
    }

    fn malformed(&self) -> Error {
        Error::Malformed { kind: self.kind }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(Error::Malformed { kind: self.kind })?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    /// A string of at most `most` bytes.
    pub(crate) fn string(&mut self, most: usize) -> Result<&'a [u8], Error> {
        let length = usize::try_from(self.u32()?).map_err(|_| self.malformed())?;
        if length > most {
            return Err(self.malformed());
        }
        let (string, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Error::Malformed { kind: self.kind })?;
        self.rest = rest;
        Ok(string)
    }

    /// A path: no NUL in it, since no system call could take it.
    pub(crate) fn path(&mut self) -> Result<&'a [u8], Error> {
        let path = self.string(crate::MAX_PATH)?;
        if path.contains(&0) {
            return Err(self.malformed());
        }
        Ok(path)
    }

    pub(crate) fn handle(&mut self) -> Result<&'a [u8], Error> {
        self.string(crate::MAX_HANDLE)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left, for what is read later.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// Begins a packet: room for the length, and the type.
pub(crate) fn begin(kind: u8, capacity: usize) -> Vec<u8> {
    let mut packet = Vec::with_capacity(capacity.saturating_add(16));
    packet.extend_from_slice(&[0, 0, 0, 0, kind]);
    packet
}

/// Writes the length of a packet into its first four bytes.
pub(crate) fn finish(mut packet: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(packet.len().saturating_sub(4)).unwrap_or(u32::MAX);
    if let Some(room) = packet.first_chunk_mut() {
        *room = length.to_be_bytes();
    }
    packet
}

pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn put_string(out: &mut Vec<u8>, value: &[u8]) {
    put_u32(out, u32::try_from(value.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(value);
}
