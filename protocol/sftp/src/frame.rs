use std::collections::VecDeque;

use crate::{Error, MAX_PACKET};

/// Splits a stream of bytes, however it arrives, into packets: the length
/// field is taken off, type and fields are left.
#[derive(Debug, Default)]
pub struct Frames {
    /// The length field, as far as it has arrived.
    length: Vec<u8>,
    /// The packet that is arriving.
    partial: Option<Partial>,
    whole: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// A packet that is arriving, to be read into without a copy.
#[derive(Debug)]
pub struct Partial {
    packet: Vec<u8>,
    length: usize,
}

impl Partial {
    /// The packet so far. Its capacity is the whole of it: whatever is appended
    /// within that is of this packet.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.packet
    }

    fn left(&self) -> usize {
        self.length.saturating_sub(self.packet.len())
    }
}

impl Frames {
    /// No bytes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes as they arrive.
    ///
    /// # Errors
    /// [`Error::PacketTooLong`], and [`Error::Malformed`] for an empty packet.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let Some(mut partial) = self.partial.take() else {
                bytes = self.receive_length(bytes)?;
                continue;
            };
            let wanted = partial.left().min(bytes.len());
            let (part, rest) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
            partial.packet.extend_from_slice(part);
            bytes = rest;
            self.receive_partial(partial);
        }
        Ok(())
    }

    /// The packet that is arriving, if at least so many bytes of it are still
    /// to come. Give it back with [`receive_partial`](Self::receive_partial)
    /// before anything else is received.
    pub fn take_partial(&mut self, least: usize) -> Option<Partial> {
        self.partial.take_if(|partial| {
            partial.left() >= least.max(1) && partial.packet.capacity() == partial.length
        })
    }

    /// Takes the packet that is arriving back, with more of it.
    pub fn receive_partial(&mut self, partial: Partial) {
        if partial.left() > 0 {
            self.partial = Some(partial);
        } else {
            self.bytes = self.bytes.saturating_add(partial.packet.len());
            self.whole.push_back(partial.packet);
        }
    }

    /// Takes what belongs to the length field, and gives the rest.
    fn receive_length<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Error> {
        let wanted = 4_usize.saturating_sub(self.length.len()).min(bytes.len());
        let (part, rest) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
        self.length.extend_from_slice(part);
        if let Some(field) = self.length.first_chunk() {
            let length = u32::from_be_bytes(*field);
            let fits = usize::try_from(length).ok().filter(|n| *n <= MAX_PACKET);
            let bytes = fits.ok_or(Error::PacketTooLong { length })?;
            if bytes == 0 {
                return Err(Error::Malformed { kind: 0 });
            }
            self.length.clear();
            self.partial = Some(Partial {
                packet: Vec::with_capacity(bytes),
                length: bytes,
            });
        }
        Ok(rest)
    }

    /// The next whole packet.
    pub fn poll(&mut self) -> Option<Vec<u8>> {
        let packet = self.whole.pop_front()?;
        self.bytes = self.bytes.saturating_sub(packet.len());
        Some(packet)
    }

    /// Bytes of the packets that are whole and not taken yet.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However the bytes arrive, and whether they are read into the packets
        /// or not, the packets are the same.
        #[test]
        fn packets_are_whole_however_they_arrive(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 1..10),
            pieces in proptest::collection::vec((1_usize..200, any::<bool>()), 1..50),
        ) {
            let mut stream = Vec::new();
            for packet in &packets {
                stream.extend_from_slice(&u32::try_from(packet.len()).unwrap().to_be_bytes());
                stream.extend_from_slice(packet);
            }
            let mut frames = Frames::new();
            let mut rest = stream.as_slice();
            let mut arrived = Vec::new();
            for (length, into) in pieces.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let partial = into.then(|| frames.take_partial(20)).flatten();
                if let Some(mut partial) = partial {
                    let room = partial.packet.capacity() - partial.packet.len();
                    prop_assert!(room >= 20);
                    let (part, left) = rest.split_at(room.min(*length).min(rest.len()));
                    partial.buffer().extend_from_slice(part);
                    rest = left;
                    frames.receive_partial(partial);
                } else {
                    let (part, left) = rest.split_at((*length).min(rest.len()));
                    frames.receive(part).unwrap();
                    rest = left;
                }
                arrived.extend(std::iter::from_fn(|| frames.poll()));
            }
            prop_assert_eq!(arrived, packets);
            prop_assert_eq!(frames.buffered(), 0);
        }
    }
}
