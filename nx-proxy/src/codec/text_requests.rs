//! Images in plain form, and text (delta=1).

use super::draw_requests::drawn;
use super::message::{Fields, low8, pad4};
use super::state::State;
use super::{CodecError, limits};

/// Reads all fields of `op`; false when it is none of these.
pub(super) fn full(op: u8, s: &mut State, f: &mut Fields<'_, '_>) -> Result<bool, CodecError> {
    match op {
        72 => {
            let size = 4 * f.count(16, 8)?;
            f.resize(size)?;
            f.value8(1, 2)?;
            drawn(s, f)?;
            let i = &mut s.image;
            f.int16(12, &mut i.w, 8)?;
            f.int16(14, &mut i.h, 8)?;
            f.acc(16, &mut i.at_x, &mut i.x, 8)?;
            f.acc(18, &mut i.at_y, &mut i.y, 8)?;
            f.char(20, &mut i.pad)?;
            f.char(21, &mut s.depth)?;
            f.rest(24)?;
        }
        73 => {
            f.resize(20)?;
            f.value8(1, 2)?;
            f.xid(4, &mut s.draw)?;
            let i = &mut s.image;
            f.acc(8, &mut i.at_x, &mut i.x, 8)?;
            f.acc(10, &mut i.at_y, &mut i.y, 8)?;
            f.int16(12, &mut i.w, 8)?;
            f.int16(14, &mut i.h, 8)?;
            f.int32(16, &mut i.gi_pm, 32, 5)?;
        }
        74 | 75 => {
            f.resize(16)?;
            drawn(s, f)?;
            let t = &mut s.text;
            f.acc(12, &mut t.text.0, &mut t.pt_x, 0)?;
            f.acc(14, &mut t.text.1, &mut t.pt_y, 0)?;
            items(if op == 74 { 1 } else { 2 }, s, f)?;
        }
        76 | 77 => {
            let n = low8(f.int(&mut s.text.it_len, 8, 4)?);
            let length = usize::from(n) * if op == 76 { 1 } else { 2 };
            f.resize(16 + pad4(length))?;
            f.put8(1, n);
            drawn(s, f)?;
            let t = &mut s.text;
            f.acc(12, &mut t.itext.0, &mut t.it_x, 0)?;
            f.acc(14, &mut t.itext.1, &mut t.it_y, 0)?;
            f.memory(16, length)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads what changes in a stored message of `op`; false when it is none of
/// these.
pub(super) fn hit(op: u8, s: &mut State, f: &mut Fields<'_, '_>) -> Result<bool, CodecError> {
    match op {
        72 => {
            drawn(s, f)?;
            f.grow(16, &mut s.image.x, 8)?;
            f.grow(18, &mut s.image.y, 8)?;
        }
        73 => f.xid(4, &mut s.draw)?,
        74 | 75 => {
            drawn(s, f)?;
            f.grow(12, &mut s.text.pt_x, 0)?;
            f.grow(14, &mut s.text.pt_y, 0)?;
        }
        76 | 77 => {
            drawn(s, f)?;
            f.grow(12, &mut s.text.it_x, 0)?;
            f.grow(14, &mut s.text.it_y, 0)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The items of a PolyText whose characters are `unit` bytes.
fn items(unit: usize, s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    let t = &mut s.text;
    while f.bits.bit()? {
        let n = low8(f.value(8, 0)?);
        f.message.push(n);
        if n == 255 {
            // A font; its id is big-endian whatever the client's order.
            let font = f.int(&mut t.pt_font, 29, 0)?;
            f.message.extend(font.to_be_bytes());
        } else {
            let delta = t.pt_delta.read(f.bits, 8)?;
            f.message.push(delta);
            let text = f.bits.memory(usize::from(n) * unit)?;
            f.message.extend(text);
        }
        if f.len() > limits::REQUEST {
            return Err(CodecError::TooLarge {
                what: "request",
                value: f.len(),
            });
        }
    }
    let padded = pad4(f.len());
    f.message.resize(padded, 0);
    Ok(())
}
