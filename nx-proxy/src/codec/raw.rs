//! Requests that are passed on as they are, of sessions without delta coding:
//! as far as they are there.

use super::bits::Bits;
use super::error::bad;
use super::message::u16_at;
use super::requests::Requests;
use super::x_channel::XChannel;
use super::{CodecError, limits};

/// Bytes in which any opcode and a request's first four bytes have room.
const HEAD: usize = 64;

impl Requests {
    /// Decodes what is there of a frame that is not there as a whole, as long as
    /// it is passed on as it is: so a picture need not be held. Gives the bytes
    /// that were taken.
    pub(super) fn part(
        &mut self,
        payload: &[u8],
        channel: &mut XChannel,
        out: &mut Vec<u8>,
    ) -> Result<usize, CodecError> {
        let mut bits = Bits::new(payload);
        let mut taken = 0;
        loop {
            let there = payload.len().saturating_sub(taken);
            let lacking = channel.raw.saturating_sub(there);
            channel.raw -= lacking;
            pass_on(&mut bits, channel, out)?;
            channel.raw += lacking;
            taken = bits.at().div_ceil(8);
            let there = payload.len().saturating_sub(taken);
            if channel.raw > 0 || there < HEAD || out.len() >= limits::PIECE {
                return Ok(taken);
            }
            if !self.begin(&mut bits, channel, out)? {
                return Ok(taken);
            }
            taken = bits.at().div_ceil(8);
        }
    }

    /// Begins a request that is passed on as it is; false, and nothing is taken,
    /// when it is another one.
    fn begin(
        &mut self,
        bits: &mut Bits<'_>,
        channel: &mut XChannel,
        out: &mut Vec<u8>,
    ) -> Result<bool, CodecError> {
        if self.delta || !channel.setup {
            return Ok(false);
        }
        // Of another one there may be too little.
        let mut req_op = self.state.req_op.clone();
        let Some(op) = req_op.read(bits)? else {
            return Ok(false);
        };
        if matches!(op, 98 | 99 | 230..=252) || op == 72 && channel.split {
            return Ok(false);
        }
        self.state.req_op = req_op;
        self.count += 1;
        self.mapped |= matches!(op, 8 | 9);
        channel.sequence = channel.sequence.wrapping_add(1);
        self.note(op, None, out.len(), false);
        plain(op, bits.memory(4)?, channel, out)?;
        Ok(true)
    }
}

/// The head of a request that is passed on as it is.
pub(super) fn plain(
    op: u8,
    head: &[u8],
    channel: &mut XChannel,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let words = u16_at(head, 2, channel.big);
    let Some(rest) = (usize::from(words) * 4).checked_sub(4) else {
        return bad("request length", words);
    };
    let [_, data, low, high] = *head else {
        return Err(CodecError::Short);
    };
    out.extend([op, data, low, high]);
    channel.raw = rest;
    Ok(())
}

/// Passes on what is left of a request as it is, as far as it belongs into this
/// piece.
pub(super) fn pass_on(
    bits: &mut Bits<'_>,
    channel: &mut XChannel,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    if channel.raw == 0 {
        // Even nothing would be read from a whole byte on.
        return Ok(());
    }
    let now = channel.raw.min(limits::PIECE.saturating_sub(out.len()));
    out.reserve_exact(now);
    out.extend_from_slice(bits.memory(now)?);
    channel.raw -= now;
    Ok(())
}
