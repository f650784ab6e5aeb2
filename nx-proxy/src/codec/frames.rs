//! Frames, and the compressed stream around them.

use std::ops::Range;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{CodecError, limits};

/// Bytes inflated at once: a small input must not become a large buffer before
/// somebody looks at it.
const STEP: usize = 64 * 1024;

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Control(u8, u8),
    /// Its payload is [`Reader::payload`] until the next frame is asked for.
    Data,
}

/// Cuts the agent's bytes into frames.
#[derive(Debug)]
pub(super) struct Reader {
    inflate: Option<Decompress>,
    packed: Vec<u8>,
    packed_at: usize,
    plain: Vec<u8>,
    at: usize,
    /// The payload of the last data frame.
    payload: Range<usize>,
    /// Bytes of frames, unpacked.
    pub(super) unpacked: u64,
}

impl Reader {
    pub(super) fn new(compressed: bool) -> Self {
        Self {
            inflate: compressed.then(|| Decompress::new(true)),
            packed: Vec::new(),
            packed_at: 0,
            plain: Vec::new(),
            at: 0,
            payload: 0..0,
            unpacked: 0,
        }
    }

    /// What the last data frame holds.
    pub(super) fn payload(&self) -> &[u8] {
        self.plain.get(self.payload.clone()).unwrap_or_default()
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        if self.inflate.is_some() {
            self.packed.drain(..self.packed_at);
            self.packed_at = 0;
            self.packed.extend_from_slice(bytes);
        } else {
            self.compact();
            self.plain.extend_from_slice(bytes);
        }
    }

    /// Whether no part of a frame is left.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.plain.len() && self.packed_at == self.packed.len()
    }

    /// Forgets what is read, but for a payload that may still be looked at.
    fn compact(&mut self) {
        let read = match self.payload.is_empty() {
            true => self.at,
            false => self.payload.start,
        };
        self.plain.drain(..read);
        self.at -= read;
        self.payload = match self.payload.is_empty() {
            true => 0..0,
            false => 0..self.payload.end - read,
        };
    }

    /// The next whole frame.
    pub(super) fn poll(&mut self) -> Result<Option<Frame>, CodecError> {
        self.payload = 0..0;
        loop {
            if let Some(frame) = self.cut()? {
                return Ok(Some(frame));
            }
            if !self.unpack()? {
                return Ok(None);
            }
        }
    }

    /// Inflates a step; false when there is nothing more.
    fn unpack(&mut self) -> Result<bool, CodecError> {
        self.compact();
        let Some(inflate) = &mut self.inflate else {
            return Ok(false);
        };
        self.plain.reserve(STEP);
        let before = (inflate.total_in(), self.plain.len());
        let input = self.packed.get(self.packed_at..).unwrap_or_default();
        let status = inflate
            .decompress_vec(input, &mut self.plain, FlushDecompress::Sync)
            .map_err(|_| CodecError::Inflate)?;
        let taken = inflate.total_in() - before.0;
        self.packed_at += usize::try_from(taken).unwrap_or(usize::MAX);
        if status == Status::StreamEnd {
            return Err(CodecError::Inflate);
        }
        Ok(taken > 0 || self.plain.len() > before.1)
    }

    fn cut(&mut self) -> Result<Option<Frame>, CodecError> {
        let rest = self.plain.get(self.at..).unwrap_or_default();
        let mut length = 0_usize;
        let mut bytes = rest.iter();
        loop {
            let Some(byte) = bytes.next() else {
                return Ok(None);
            };
            length = length << 7 | usize::from(byte & 0x7f);
            if length > limits::FRAME {
                return Err(CodecError::TooLarge {
                    what: "frame",
                    value: length,
                });
            }
            if byte & 0x80 == 0 {
                break;
            }
            if length == 0 {
                return super::error::bad("frame length", *byte);
            }
        }
        let rest = bytes.as_slice();
        if length == 0 {
            let Some([code, argument]) = rest.first_chunk::<2>() else {
                return Ok(None);
            };
            let frame = Frame::Control(*code, *argument);
            self.at += 3;
            self.unpacked += 3;
            return Ok(Some(frame));
        }
        let Some(data) = rest.get(..length) else {
            return Ok(None);
        };
        let after = rest.len() - length;
        let at = self.plain.len() - after;
        // The last byte is no payload.
        self.payload = at - data.len()..at - 1;
        self.unpacked += u64::try_from(at - self.at).unwrap_or(0);
        self.at = at;
        Ok(Some(Frame::Data))
    }
}

/// Writes frames to the agent.
#[derive(Debug)]
pub(super) struct Writer {
    deflate: Option<Compress>,
    plain: Vec<u8>,
    /// Bytes of frames before they are packed, of what was flushed.
    pub(super) unpacked: u64,
}

impl Writer {
    pub(super) fn new(level: u32) -> Self {
        Self {
            deflate: (level > 0).then(|| Compress::new(Compression::new(level), true)),
            plain: Vec::new(),
            unpacked: 0,
        }
    }

    pub(super) fn control(&mut self, code: u8, argument: u8) {
        self.plain.extend([0, code, argument]);
    }

    pub(super) fn data(&mut self, payload: &[u8]) {
        let length = payload.len() + 1;
        let mut groups = Vec::new();
        let mut rest = length;
        loop {
            let group = u8::try_from(rest & 0x7f).unwrap_or(0);
            groups.push(if groups.is_empty() {
                group
            } else {
                group | 0x80
            });
            rest >>= 7;
            if rest == 0 {
                break;
            }
        }
        self.plain.extend(groups.iter().rev());
        self.plain.extend_from_slice(payload);
        self.plain.push(0);
    }

    /// Bytes that are to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.plain.len()
    }

    /// What is to be sent now, appended to `out`.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        if self.plain.is_empty() {
            return Ok(());
        }
        self.unpacked += u64::try_from(self.plain.len()).unwrap_or(0);
        let Some(deflate) = &mut self.deflate else {
            out.append(&mut self.plain);
            return Ok(());
        };
        let mut at = 0;
        loop {
            out.reserve(STEP);
            let before = deflate.total_in();
            let input = self.plain.get(at..).unwrap_or_default();
            deflate
                .compress_vec(input, out, FlushCompress::Sync)
                .map_err(|_| CodecError::Inflate)?;
            at += usize::try_from(deflate.total_in() - before).unwrap_or(0);
            // Room left over says that nothing is held back.
            if at >= self.plain.len() && out.len() < out.capacity() {
                break;
            }
        }
        self.plain.clear();
        Ok(())
    }
}
