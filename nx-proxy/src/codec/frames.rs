//! Frames, and the compressed stream around them.

use std::ops::Range;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{CodecError, limits};

/// Bytes inflated at once: a small input must not become a large buffer before
/// somebody looks at it.
const STEP: usize = 64 * 1024;

/// The least that is read at once.
const LITTLE: usize = 4 * 1024;

/// Room that is kept when no part of a frame is left.
const KEPT: usize = 512 * 1024;

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
    /// Frames up to `end`, and room behind them: as large as it was needed once,
    /// so that it is cleared once.
    plain: Vec<u8>,
    at: usize,
    end: usize,
    /// Bytes that the frame at `at` lacks, where that is known.
    lacks: usize,
    /// Those of it that are there.
    there: usize,
    /// Bytes of the frame at `at`, of which the beginning was taken before the
    /// whole of it was there; 0 where a frame begins.
    left: usize,
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
            end: 0,
            lacks: 0,
            there: 0,
            left: 0,
            payload: 0..0,
            unpacked: 0,
        }
    }

    /// What the last data frame holds.
    pub(super) fn payload(&self) -> &[u8] {
        self.plain.get(self.payload.clone()).unwrap_or_default()
    }

    pub(super) fn receive(&mut self, mut bytes: &[u8]) {
        if self.inflate.is_some() {
            self.packed.drain(..self.packed_at);
            self.packed_at = 0;
            self.packed.extend_from_slice(bytes);
            return;
        }
        while !bytes.is_empty() {
            let room = self.room().unwrap_or_default();
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            if let Some(room) = room.get_mut(..now.len()) {
                room.copy_from_slice(now);
            }
            self.filled(now.len());
            bytes = later;
        }
    }

    /// Where the next bytes go, unless they are compressed: no more of them
    /// than the frame that has begun lacks, so that a large one is alone here.
    pub(super) fn room(&mut self) -> Option<&mut [u8]> {
        if self.inflate.is_some() {
            return None;
        }
        let most = match self.lacks {
            0 => STEP,
            lacks => lacks.clamp(LITTLE, STEP),
        };
        Some(self.space(most))
    }

    /// Notes that so many bytes were put into the room.
    pub(super) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.plain.len());
        self.lacks = self.lacks.saturating_sub(count);
    }

    /// Room for so many bytes behind the frames.
    fn space(&mut self, count: usize) -> &mut [u8] {
        self.compact();
        let end = self.end + count;
        if self.plain.len() < end {
            // A frame as large as this one is no reason to have twice the room.
            self.plain.reserve_exact(end - self.plain.len());
            self.plain.resize(end, 0);
        }
        self.plain.get_mut(self.end..end).unwrap_or_default()
    }

    /// Whether no part of a frame is left.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.end && self.left == 0 && self.packed_at == self.packed.len()
    }

    /// Forgets what is read, but for a payload that may still be looked at.
    fn compact(&mut self) {
        let read = match self.payload.is_empty() {
            true => self.at,
            false => self.payload.start,
        };
        if read > 0 {
            self.plain.copy_within(read..self.end, 0);
            self.at -= read;
            self.end -= read;
        }
        if self.end == 0 && self.plain.len() > KEPT {
            self.plain = Vec::new();
        }
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
        if self.inflate.is_none() {
            return Ok(false);
        }
        self.space(STEP);
        let Some(inflate) = &mut self.inflate else {
            return Ok(false);
        };
        let before = (inflate.total_in(), inflate.total_out());
        let input = self.packed.get(self.packed_at..).unwrap_or_default();
        let room = self.plain.get_mut(self.end..).unwrap_or_default();
        let status = inflate
            .decompress(input, room, FlushDecompress::Sync)
            .map_err(|_| CodecError::Inflate)?;
        let taken = inflate.total_in() - before.0;
        let given = inflate.total_out() - before.1;
        self.packed_at += usize::try_from(taken).unwrap_or(usize::MAX);
        self.filled(usize::try_from(given).unwrap_or(usize::MAX));
        if status == Status::StreamEnd {
            return Err(CodecError::Inflate);
        }
        Ok(taken > 0 || given > 0)
    }

    /// What is there of the payload of a large data frame that is not there as a
    /// whole. Asked for after [`Reader::poll`] gave nothing.
    pub(super) fn begun(&self) -> &[u8] {
        if self.left == 0 && self.there + self.lacks < limits::PIECE {
            return &[];
        }
        // The last byte, which is no payload, is not among them.
        let from = self.end - self.there;
        self.plain.get(from..self.end).unwrap_or_default()
    }

    /// Takes so many bytes of what has begun: the frame goes on behind them.
    pub(super) fn skip(&mut self, count: usize) {
        let count = count.min(self.there);
        if count > 0 {
            self.left = self.there + self.lacks - count;
            self.there -= count;
            let at = self.end - self.there;
            self.unpacked += u64::try_from(at - self.at).unwrap_or(0);
            self.at = at;
        }
    }

    fn cut(&mut self) -> Result<Option<Frame>, CodecError> {
        (self.lacks, self.there) = (0, 0);
        let rest = self.plain.get(self.at..self.end).unwrap_or_default();
        if self.left > 0 {
            return Ok(self.data(rest.len(), self.left));
        }
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
        Ok(self.data(rest.len(), length))
    }

    /// A frame of `length` bytes, of which and behind which there are `there`.
    fn data(&mut self, there: usize, length: usize) -> Option<Frame> {
        let Some(after) = there.checked_sub(length) else {
            (self.lacks, self.there) = (length - there, there);
            return None;
        };
        let at = self.end - after;
        // The last byte is no payload.
        self.payload = at - length..at - 1;
        self.unpacked += u64::try_from(at - self.at).unwrap_or(0);
        self.at = at;
        self.left = 0;
        Some(Frame::Data)
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
        let groups = (length.max(1).ilog2() / 7) + 1;
        if length > STEP {
            // A large one is rare, and no reason to have twice the room.
            self.plain.reserve_exact(length + 8);
        }
        for group in (0..groups).rev() {
            let bits = u8::try_from(length >> (7 * group) & 0x7f).unwrap_or(0);
            self.plain.push(if group > 0 { bits | 0x80 } else { bits });
        }
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
            if out.is_empty() {
                std::mem::swap(out, &mut self.plain);
            } else {
                out.append(&mut self.plain);
            }
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
