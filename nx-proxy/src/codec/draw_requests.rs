//! Requests that draw, and those about what they draw with (delta=1).

use super::cache::Int;
use super::core_requests::extend;
use super::message::{Fields, low16};
use super::state::State;
use super::{CodecError, limits};

/// Width in bits of each GC value.
const GC_WIDTHS: [u32; 23] = [
    4, 32, 32, 32, 16, 2, 2, 2, 2, 1, 29, 29, 16, 16, 29, 1, 1, 16, 16, 29, 16, 8, 1,
];

/// Drawable and GC.
pub(super) fn drawn(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    f.xid(4, &mut s.draw)?;
    f.xid(8, &mut s.gc)
}

/// Reads all fields of `op`; false when it is none of these.
pub(super) fn full(op: u8, s: &mut State, f: &mut Fields<'_, '_>) -> Result<bool, CodecError> {
    match op {
        53 => {
            f.resize(16)?;
            f.char(1, &mut s.depth)?;
            let id = s.ids.xid(f.bits, &mut s.draw, &mut s.free_draw)?;
            f.put32(4, id);
            f.xid(8, &mut s.win)?;
            f.int16(12, &mut s.drawing.cp_x, 8)?;
            f.int16(14, &mut s.drawing.cp_y, 8)?;
        }
        54 => {
            f.resize(8)?;
            f.int32(4, &mut s.free_draw, 29, 0)?;
        }
        55 => {
            f.resize(16)?;
            new_gc(s, f)?;
            f.xid(8, &mut s.draw)?;
            let mask = f.int32(12, &mut s.drawing.gc_mask, 23, 0)?;
            gc_values(s, f, mask, 16)?;
        }
        56 => {
            f.resize(12)?;
            f.xid(4, &mut s.gc)?;
            let mask = f.int32(8, &mut s.drawing.gc_mask, 23, 0)?;
            gc_values(s, f, mask, 12)?;
        }
        57 => {
            f.resize(16)?;
            f.xid(4, &mut s.gc)?;
            f.xid(8, &mut s.gc)?;
            f.int32(12, &mut s.drawing.gc_mask, 23, 0)?;
        }
        58 => {
            let n = f.int(&mut s.drawing.sd_len, 16, 5)?;
            let length = usize::from(low16(n));
            f.resize(12 + super::message::pad4(length))?;
            f.put16(10, low16(n));
            f.xid(4, &mut s.gc)?;
            f.int16(8, &mut s.drawing.sd_off, 5)?;
            let [even, odd] = &mut s.drawing.sd_d;
            for k in 0..length {
                let cache = if k & 1 == 0 { &mut *even } else { &mut *odd };
                let dash = cache.read(f.bits, 5)?;
                f.put8(12 + k, dash);
            }
        }
        59 => {
            let n = f.count(15, 4)?;
            f.resize(12 + 8 * n)?;
            f.value8(1, 2)?;
            f.xid(4, &mut s.gc)?;
            f.int16(8, &mut s.drawing.sc_x, 8)?;
            f.int16(10, &mut s.drawing.sc_y, 8)?;
            for k in 0..n {
                f.ints16(12 + 8 * k, &mut s.drawing.sc_g, 8)?;
            }
        }
        60 => {
            f.resize(8)?;
            f.int32(4, &mut s.free_gc, 29, 0)?;
        }
        61 => {
            f.resize(16)?;
            f.bool(1)?;
            f.xid(4, &mut s.win)?;
            f.ints16(8, &mut s.drawing.ca_g, 8)?;
        }
        62 => {
            f.resize(28)?;
            copied(s, f)?;
            f.ints16(16, &mut s.drawing.cy_g, 8)?;
        }
        63 => {
            f.resize(32)?;
            copied(s, f)?;
            f.ints16(16, &mut s.drawing.cpl_g, 8)?;
            f.int32(28, &mut s.drawing.cpl_p, 32, 10)?;
        }
        64 | 65 => points(op, s, f)?,
        66 => segments(s, f)?,
        67 => {
            let n = f.count(16, 3)?;
            f.resize(12 + 8 * n)?;
            drawn(s, f)?;
            for k in 0..n {
                f.ints16(12 + 8 * k, &mut s.drawing.pr_g, 8)?;
            }
        }
        68 => {
            f.resize(12)?;
            drawn(s, f)?;
            list(f, &mut s.drawing.pa)?;
        }
        69 => polygon(s, f)?,
        70 => {
            f.resize(12)?;
            drawn(s, f)?;
            list(f, &mut s.drawing.pfr)?;
        }
        71 => {
            f.resize(12)?;
            drawn(s, f)?;
            list(f, &mut s.drawing.pfa)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads what changes in a stored message of `op`; false when it is none of
/// these.
pub(super) fn hit(op: u8, s: &mut State, f: &mut Fields<'_, '_>) -> Result<bool, CodecError> {
    match op {
        53 => {
            let id = s.ids.xid(f.bits, &mut s.draw, &mut s.free_draw)?;
            f.put32(4, id);
        }
        // The drawable is the stored one: it is part of what is compared.
        55 => new_gc(s, f)?,
        56 | 59 => f.xid(4, &mut s.gc)?,
        61 => {}
        62 => copied(s, f)?,
        64..=66 | 68 | 70 | 71 => drawn(s, f)?,
        69 => {
            drawn(s, f)?;
            if let (true, Some((x, y))) = (f.len() >= 20, s.drawing.fp_abs.first_mut()) {
                f.int16(16, x, 8)?;
                f.int16(18, y, 8)?;
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn new_gc(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    let id = s.ids.xid(f.bits, &mut s.gc, &mut s.free_gc)?;
    f.put32(4, id);
    Ok(())
}

fn copied(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    f.xid(4, &mut s.draw)?;
    f.xid(8, &mut s.draw)?;
    f.xid(12, &mut s.gc)
}

fn gc_values(
    s: &mut State,
    f: &mut Fields<'_, '_>,
    mask: u32,
    mut at: usize,
) -> Result<(), CodecError> {
    extend(f, mask, 23);
    let caches = s.gc_attr.narrow.iter_mut().zip(&mut s.gc_attr.wide);
    for (i, ((narrow, wide), bits)) in caches.zip(GC_WIDTHS).enumerate() {
        if (mask >> i) & 1 == 0 {
            continue;
        }
        let value = match bits {
            ..=4 => f.value(bits, 0)?,
            5..16 => f.int(narrow, bits, 0)?,
            _ => f.int(wide, bits, 0)?,
        };
        f.put32(at, value);
        at += 4;
    }
    Ok(())
}

fn points(op: u8, s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    let n = f.count(16, 4)?;
    f.resize(12 + 4 * n)?;
    f.bool(1)?;
    drawn(s, f)?;
    let d = &mut s.drawing;
    let (xs, ys) = if op == 64 {
        (&mut d.points, &mut d.points_y)
    } else {
        (&mut d.lines, &mut d.lines_y)
    };
    let ([even_x, odd_x], [even_y, odd_y]) = (xs, ys);
    let (mut x, mut y) = (0, 0);
    for k in 0..n {
        let at = 12 + 4 * k;
        if k & 1 == 0 {
            f.acc(at, &mut x, even_x, 8)?;
            f.acc(at + 2, &mut y, even_y, 8)?;
        } else {
            f.acc(at, &mut x, odd_x, 8)?;
            f.acc(at + 2, &mut y, odd_y, 8)?;
        }
    }
    Ok(())
}

fn segments(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    let n = f.count(16, 4)?;
    f.resize(12 + 8 * n)?;
    drawn(s, f)?;
    let d = &mut s.drawing;
    for k in 0..2 * n {
        let [first, second] = d.ps_last;
        let (last_x, last_y) = if f.bits.bit()? { second } else { first };
        let x = low16(f.int(&mut d.ps_x, 16, 6)?).wrapping_add(last_x);
        let y = low16(f.int(&mut d.ps_y, 16, 6)?).wrapping_add(last_y);
        f.put16(12 + 4 * k, x);
        f.put16(14 + 4 * k, y);
        let [first, second] = &mut d.ps_last;
        *(if d.ps_next { second } else { first }) = (x, y);
        d.ps_next = !d.ps_next;
    }
    Ok(())
}

/// LIST: elements of `K` numbers, coded with `P` sets of caches in turn.
fn list<const K: usize, const P: usize>(
    f: &mut Fields<'_, '_>,
    caches: &mut [[Int; K]; P],
) -> Result<(), CodecError> {
    let mut last = [0; K];
    loop {
        for set in caches.iter_mut() {
            for (cache, last) in set.iter_mut().zip(&mut last) {
                let at = f.len();
                f.message.extend([0; 2]);
                f.acc(at, last, cache, 8)?;
            }
            if f.len() > limits::REQUEST {
                return Err(CodecError::TooLarge {
                    what: "request",
                    value: f.len(),
                });
            }
            if !f.bits.bit()? {
                return Ok(());
            }
        }
    }
}

fn polygon(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    let n = usize::from(low16(f.int(&mut s.drawing.fp_n, 16, 4)?));
    f.resize(16 + 4 * n)?;
    drawn(s, f)?;
    f.value8(12, 2)?;
    let relative = f.bits.bit()?;
    f.put8(13, u8::from(relative));
    let d = &mut s.drawing;
    let mut k = 0;
    while k < n {
        for ((rel_x, rel_y), (abs_x, abs_y)) in d.fp_rel.iter_mut().zip(&mut d.fp_abs).take(n - k) {
            let (x, y) = if relative {
                (f.int(rel_x, 16, 8)?, f.int(rel_y, 16, 8)?)
            } else if f.bits.bit()? {
                let again = f.count(3, 0)?;
                let (x, y) = d.fp_recent.get(again).copied().unwrap_or_default();
                (u32::from(x), u32::from(y))
            } else {
                let (x, y) = (f.int(abs_x, 16, 8)?, f.int(abs_y, 16, 8)?);
                if let Some(recent) = d.fp_recent.get_mut(d.fp_next) {
                    *recent = (low16(x), low16(y));
                }
                d.fp_next = (d.fp_next + 1) % 8;
                (x, y)
            };
            f.put16(16 + 4 * k, low16(x));
            f.put16(18 + 4 * k, low16(y));
            k += 1;
        }
    }
    Ok(())
}
