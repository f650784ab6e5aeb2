use std::collections::VecDeque;

use crate::{Error, MAX_PACKET};

/// Splits a stream of bytes, however it arrives, into packets: the length
/// field is taken off, type and fields are left.
#[derive(Debug, Default)]
pub struct Frames {
    /// The length field, as far as it has arrived.
    length: Vec<u8>,
    /// The packet that is arriving, and how many bytes it will have.
    partial: Option<(Vec<u8>, usize)>,
    whole: VecDeque<Vec<u8>>,
    bytes: usize,
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
            let Some((packet, length)) = &mut self.partial else {
                bytes = self.receive_length(bytes)?;
                continue;
            };
            let wanted = length.saturating_sub(packet.len()).min(bytes.len());
            let (part, rest) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
            packet.extend_from_slice(part);
            bytes = rest;
            if packet.len() >= *length
                && let Some((packet, _)) = self.partial.take()
            {
                self.bytes = self.bytes.saturating_add(packet.len());
                self.whole.push_back(packet);
            }
        }
        Ok(())
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
            self.partial = Some((Vec::with_capacity(bytes), bytes));
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
