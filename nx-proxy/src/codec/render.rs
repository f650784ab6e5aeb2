//! RENDER (delta=1).

use super::CodecError;
use super::cache::Xids;
use super::message::{Fields, low16, size, u8_at};
use super::state::{RenderCaches, State};

/// LEN: `base` bytes and as many words as come.
fn length(c: &mut RenderCaches, f: &mut Fields<'_, '_>, base: usize) -> Result<(), CodecError> {
    let words = f.int(&mut c.len, 16, 5)?;
    f.resize(base + 4 * size(words))
}

fn new_picture(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    let id = s
        .ids
        .xid(f.bits, &mut s.render.src, &mut s.render.free_pic)?;
    f.put32(4, id);
    Ok(())
}

fn new_glyphs(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    let id = s.ids.int(f.bits, &mut s.render.gs, &mut s.render.free_gs)?;
    f.put32(4, id);
    Ok(())
}

/// The minor opcode and all its fields.
pub(super) fn full(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    let Some(minor) = s.render_op.read(f.bits)? else {
        return Err(CodecError::Short);
    };
    fields(minor, s, f)?;
    f.put8(1, minor);
    Ok(())
}

fn fields(minor: u8, s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    let c = &mut s.render;
    match minor {
        4 => {
            length(c, f, 20)?;
            new_picture(s, f)?;
            f.xid(8, &mut s.draw)?;
            f.int32(12, &mut s.render.fmt, 32, 0)?;
            f.int32(16, &mut s.render.vm, 32, 0)?;
            f.rest_always(20)
        }
        5 => {
            length(c, f, 8)?;
            f.xid(4, &mut c.src)?;
            f.rest_always(8)
        }
        6 => {
            length(c, f, 12)?;
            f.xid(4, &mut c.src)?;
            f.diff(8, &mut c.at.0, &mut c.x)?;
            f.diff(10, &mut c.at.1, &mut c.y)?;
            f.rest_always(12)
        }
        7 => {
            f.resize(8)?;
            f.int32(4, &mut c.free_pic, 29, 0).map(drop)
        }
        8 => composite(c, f),
        10 | 11 => {
            length(c, f, 24)?;
            f.char(4, &mut c.op)?;
            f.xid(8, &mut c.src)?;
            f.xid(12, &mut c.dst)?;
            f.int32(16, &mut c.fmt, 32, 0)?;
            f.diff(20, &mut c.at.0, &mut c.x)?;
            f.diff(22, &mut c.at.1, &mut c.y)?;
            f.rest(24)
        }
        17 => {
            f.resize(12)?;
            new_glyphs(s, f)?;
            f.int32(8, &mut s.render.fmt, 32, 0).map(drop)
        }
        19 => {
            f.resize(8)?;
            f.int32(4, &mut c.free_gs, 29, 0).map(drop)
        }
        20 => {
            length(c, f, 12)?;
            f.int32(4, &mut c.gs, 29, 0)?;
            f.int32(8, &mut c.ng, 32, 8)?;
            f.rest_always(12)
        }
        23..=25 => glyphs(c, f),
        26 => {
            length(c, f, 12)?;
            f.char(4, &mut c.op)?;
            f.xid(8, &mut c.src)?;
            f.rest_always(12)
        }
        28 => {
            f.resize(44)?;
            f.xid(4, &mut c.src)?;
            f.memory(8, 36)
        }
        30 => {
            length(c, f, 12)?;
            f.xid(4, &mut c.src)?;
            let n = f.int(&mut c.len, 16, 5)?;
            f.put16(8, low16(n));
            f.rest_always(12)
        }
        _ => {
            length(c, f, 0)?;
            f.rest_always(4)
        }
    }
}

fn composite(c: &mut RenderCaches, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    f.resize(36)?;
    f.char(4, &mut c.op)?;
    f.xid(8, &mut c.src)?;
    f.xid(12, &mut c.mask)?;
    f.xid(16, &mut c.dst)?;
    for at in [20, 24, 28] {
        f.diff(at, &mut c.at.0, &mut c.x)?;
        f.diff(at + 2, &mut c.at.1, &mut c.y)?;
    }
    f.int16(32, &mut c.w, 11)?;
    f.int16(34, &mut c.h, 11)
}

fn glyphs(c: &mut RenderCaches, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    length(c, f, 28)?;
    f.char(4, &mut c.op)?;
    f.xid(8, &mut c.src)?;
    f.xid(12, &mut c.dst)?;
    f.int32(16, &mut c.fmt, 32, 0)?;
    f.int32(20, &mut c.gs, 29, 0)?;
    f.diff(24, &mut c.glyph_at.0, &mut c.gx)?;
    f.diff(26, &mut c.glyph_at.1, &mut c.gy)?;
    if f.len() < 36 {
        return f.rest(28);
    }
    let count = f.int(&mut c.ng, 8, 0)?;
    f.put8(28, super::message::low8(count));
    if f.bits.bit()? {
        f.diff(32, &mut c.glyph_at.0, &mut c.gx)?;
        f.diff(34, &mut c.glyph_at.1, &mut c.gy)?;
    } else {
        let first = f.get32(24);
        f.put32(32, first);
    }
    f.rest_always(36)
}

/// What changes in a stored message.
pub(super) fn hit(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    let c = &mut s.render;
    let two = |f: &mut Fields<'_, '_>, src: &mut Xids, dst: &mut Xids| {
        f.xid(8, src)?;
        f.xid(12, dst)
    };
    match u8_at(f.message, 1) {
        4 => {
            new_picture(s, f)?;
            f.xid(8, &mut s.draw)
        }
        5 | 28 | 30 => f.xid(4, &mut c.src),
        6 => {
            f.xid(4, &mut c.src)?;
            f.diff_own(8, &mut c.x)?;
            f.diff_own(10, &mut c.y)
        }
        7 => f.int32(4, &mut c.free_pic, 29, 0).map(drop),
        8 => {
            two(f, &mut c.src, &mut c.mask)?;
            f.xid(16, &mut c.dst)?;
            f.diff_own(28, &mut c.x)?;
            f.diff_own(30, &mut c.y)
        }
        10 | 11 => {
            two(f, &mut c.src, &mut c.dst)?;
            f.diff_own(20, &mut c.x)?;
            f.diff_own(22, &mut c.y)
        }
        17 => new_glyphs(s, f),
        19 => f.int32(4, &mut c.free_gs, 29, 0).map(drop),
        20 => f.int32(4, &mut c.gs, 29, 0).map(drop),
        23..=25 => {
            two(f, &mut c.src, &mut c.dst)?;
            f.int32(20, &mut c.gs, 29, 0)?;
            f.diff_own(24, &mut c.gx)?;
            f.diff_own(26, &mut c.gy)?;
            if f.len() < 36 {
                return Ok(());
            }
            if f.bits.bit()? {
                f.diff_own(32, &mut c.gx)?;
                f.diff_own(34, &mut c.gy)
            } else {
                let first = f.get32(24);
                f.put32(32, first);
                Ok(())
            }
        }
        26 => f.xid(8, &mut c.src),
        _ => {
            for (i, cache) in c.data.iter_mut().enumerate() {
                if 4 + 2 * i < f.len() {
                    f.int16(4 + 2 * i, cache, 0)?;
                }
            }
            Ok(())
        }
    }
}
