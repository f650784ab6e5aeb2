//! The requests that NX adds (230–252), in both codings.

use super::CodecError;
use super::draw_requests::drawn;
use super::message::{Fields, pad4, size, u8_at};
use super::state::State;

/// What an NX request without a message of its own asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Simple {
    Nothing,
    UnpackMethods,
    StartSplit,
    EndSplit,
    Expose([bool; 3]),
    FreeUnpack(u8),
    SharedMemory(u8),
    FontServer,
}

/// Reads an NX request that is kept in no store; `None` when `op` is not one.
pub(super) fn simple(
    op: u8,
    s: &mut State,
    f: &mut Fields<'_, '_>,
) -> Result<Option<Simple>, CodecError> {
    Ok(Some(match op {
        230..=232 => Simple::Nothing,
        233 => Simple::UnpackMethods,
        234 | 235 | 248..=250 => {
            s.res.read(f.bits, 8)?;
            match op {
                234 => Simple::StartSplit,
                235 => Simple::EndSplit,
                _ => Simple::Nothing,
            }
        }
        240 => Simple::Expose([f.bits.bit()?, f.bits.bit()?, f.bits.bit()?]),
        245 => {
            let stage = super::message::low8(f.value(2, 0)?);
            if stage == 0 {
                f.bits.bit()?;
                f.bits.bit()?;
                f.value(29, 9)?;
                f.value(29, 9)?;
            }
            Simple::SharedMemory(stage)
        }
        247 => Simple::FreeUnpack(s.res.read(f.bits, 8)?),
        251 => Simple::FontServer,
        252 => {
            s.set_cache.read(f.bits, 32, 0)?;
            Simple::Nothing
        }
        _ => return Ok(None),
    }))
}

/// Reads all fields of a stored NX request.
pub(super) fn full(op: u8, s: &mut State, f: &mut Fields<'_, '_>) -> Result<bool, CodecError> {
    match op {
        241 => {
            f.resize(24)?;
            f.char(1, &mut s.res)?;
            for at in 4..10 {
                f.char(at, &mut s.depth)?;
            }
            for at in [12, 16, 20] {
                f.value32(at, 32, 0)?;
            }
        }
        242 | 246 => {
            let packed = f.value(32, 9)?;
            let length = pad4(size(packed));
            f.resize(length.saturating_add(16))?;
            f.put32(8, packed);
            f.char(1, &mut s.res)?;
            f.char(4, &mut s.method)?;
            f.value32(12, 32, 9)?;
            f.rest(16)?;
        }
        243 => {
            f.resize(40)?;
            let resource = s.res.read(f.bits, 8)?;
            let length = 4 * f.count(16, 10)?;
            if length < 40 {
                return super::error::bad("packed image's size", u8_at(&[op], 0));
            }
            f.resize(length)?;
            f.put8(1, resource);
            drawn(s, f)?;
            f.char(12, &mut s.method)?;
            f.value8(13, 2)?;
            f.char(14, &mut s.depth)?;
            f.char(15, &mut s.depth)?;
            let i = &mut s.image;
            f.int32(16, &mut i.pp_src, 24, 0)?;
            f.int32(20, &mut i.pp_dst, 24, 0)?;
            for at in [24, 32] {
                f.acc(at, &mut i.at_x, &mut i.x, 8)?;
                f.acc(at + 2, &mut i.at_y, &mut i.y, 8)?;
                f.int16(at + 4, &mut i.w, 8)?;
                f.int16(at + 6, &mut i.h, 8)?;
            }
            f.rest(40)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads what changes in a stored NX request.
pub(super) fn hit(op: u8, s: &mut State, f: &mut Fields<'_, '_>) -> Result<bool, CodecError> {
    match op {
        241 | 242 | 246 => {
            f.char(1, &mut s.res)?;
        }
        243 => {
            f.char(1, &mut s.res)?;
            drawn(s, f)?;
            let i = &mut s.image;
            f.grow(32, &mut i.x, 8)?;
            f.grow(34, &mut i.y, 8)?;
            f.int16(36, &mut i.w, 8)?;
            f.int16(38, &mut i.h, 8)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}
