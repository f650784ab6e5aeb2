//! Requests about windows, properties, grabs, fonts and colours (delta=1).

use super::CodecError;
use super::message::{Fields, low16, pad4};
use super::state::State;

/// Ids named by a request that has nothing else, and its length.
fn one_xid(f: &mut Fields<'_, '_>, cache: &mut super::cache::Xids) -> Result<(), CodecError> {
    f.resize(8)?;
    f.xid(4, cache)
}

/// Reads all fields of `op`; false when it is none of these.
pub(super) fn full(op: u8, s: &mut State, f: &mut Fields<'_, '_>) -> Result<bool, CodecError> {
    let c = &mut s.core;
    match op {
        1 => create_window(s, f)?,
        2 => {
            let n = f.count(4, 0)?;
            f.resize(12 + 4 * n)?;
            f.xid(4, &mut s.win)?;
            let mask = f.int32(8, &mut c.cw_mask, 15, 0)?;
            window_values(s, f, mask, 12)?;
        }
        3 | 5 | 8 | 9 | 10 | 15 | 38 => one_xid(f, &mut s.win)?,
        4 => {
            f.resize(8)?;
            f.int32(4, &mut s.free_win, 29, 0)?;
        }
        7 => {
            f.resize(16)?;
            f.xid(4, &mut s.win)?;
            f.xid(8, &mut s.win)?;
            f.value16(12, 11)?;
            f.value16(14, 11)?;
        }
        12 => configure_window(s, f)?,
        14 => one_xid(f, &mut s.draw)?,
        16 => {
            let n = f.count(16, 6)?;
            f.resize(8 + pad4(n))?;
            f.put16(4, u16::try_from(n).unwrap_or(0));
            f.bool(1)?;
            f.memory(8, n)?;
        }
        17 => {
            f.resize(8)?;
            f.value32(4, 29, 9)?;
        }
        18 => change_property(s, f)?,
        19 => {
            f.resize(12)?;
            f.xid(4, &mut s.win)?;
            f.value32(8, 29, 9)?;
        }
        20 => {
            f.resize(24)?;
            f.bool(1)?;
            f.xid(4, &mut s.win)?;
            f.value32(8, 29, 9)?;
            f.value32(12, 29, 9)?;
            f.value32(16, 32, 2)?;
            f.value32(20, 32, 8)?;
        }
        22 => {
            f.resize(16)?;
            f.int32(4, &mut c.ss_owner, 29, 9)?;
            f.int32(8, &mut c.sel, 29, 9)?;
            f.int32(12, &mut c.ss_time, 32, 9)?;
        }
        23 => {
            f.resize(8)?;
            f.int32(4, &mut c.sel, 29, 9)?;
        }
        24 => {
            f.resize(24)?;
            f.int32(4, &mut c.cs_req, 29, 9)?;
            for (k, cache) in c.cs_atom.iter_mut().enumerate() {
                f.int32(8 + 4 * k, cache, 29, 9)?;
            }
            c.cs_time = c.cs_time.wrapping_add(f.value(32, 4)?);
            f.put32(20, c.cs_time);
        }
        25 => send_event(s, f)?,
        26 | 28 => {
            f.resize(24)?;
            f.bool(1)?;
            f.xid(4, &mut s.win)?;
            f.int16(8, &mut c.gb_mask, 0)?;
            f.bool(10)?;
            f.bool(11)?;
            f.int32(12, &mut c.gb_conf, 29, 9)?;
            f.int32(16, &mut c.cursor, 29, 9)?;
            if op == 28 {
                f.char(20, &mut c.gb_but)?;
                f.int16(22, &mut c.gb_mod, 0)?;
            } else {
                c.grab_time = c.grab_time.wrapping_add(f.value(32, 4)?);
                f.put32(20, c.grab_time);
            }
        }
        31 => {
            f.resize(16)?;
            f.bool(1)?;
            f.xid(4, &mut s.win)?;
            c.grab_time = c.grab_time.wrapping_add(f.value(32, 4)?);
            f.put32(8, c.grab_time);
            f.bool(12)?;
            f.bool(13)?;
        }
        36 | 37 | 43 | 99 | 103 | 117 | 119 | 127 => f.resize(4)?,
        40 => {
            f.resize(16)?;
            f.int32(4, &mut c.tc_s, 29, 9)?;
            f.int32(8, &mut c.tc_d, 29, 9)?;
            f.int16(12, &mut c.tc_x, 8)?;
            f.int16(14, &mut c.tc_y, 8)?;
        }
        45 => {
            let n = f.count(16, 7)?;
            f.resize(pad4(12 + n))?;
            f.put16(8, u16::try_from(n).unwrap_or(0));
            font(s, f)?;
            f.memory(12, n)?;
        }
        46 | 47 => {
            f.resize(8)?;
            font(s, f)?;
        }
        49 => {
            let n = f.count(16, 6)?;
            f.resize(8 + pad4(n))?;
            f.put16(6, u16::try_from(n).unwrap_or(0));
            f.value16(4, 6)?;
            f.memory(8, n)?;
        }
        84 | 85 | 88 | 91 | 92 => colours(op, s, f)?,
        95 => {
            f.resize(8)?;
            f.int32(4, &mut c.cursor, 29, 9)?;
        }
        97 => {
            f.resize(12)?;
            f.value8(1, 2)?;
            f.xid(4, &mut s.draw)?;
            f.value16(8, 8)?;
            f.value16(10, 8)?;
        }
        101 => {
            f.resize(8)?;
            f.value8(4, 8)?;
            f.value8(5, 8)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads what changes in a stored message of `op`; false when it is none of
/// these.
pub(super) fn hit(op: u8, s: &mut State, f: &mut Fields<'_, '_>) -> Result<bool, CodecError> {
    match op {
        12 | 16 | 20 | 40 => {}
        18 => f.xid(4, &mut s.win)?,
        25 => {
            f.bool(1)?;
            event_window(s, f)?;
            f.int32(8, &mut s.core.se_mask, 32, 0)?;
            event_head(s, f)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn create_window(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    f.resize(32)?;
    f.char(1, &mut s.depth)?;
    f.xid(8, &mut s.win)?;
    let id = s.ids.xid(f.bits, &mut s.win, &mut s.free_win)?;
    f.put32(4, id);
    f.ints16(12, &mut s.core.cw_geom, 8)?;
    f.int32(24, &mut s.core.visual, 29, 0)?;
    let mask = f.int32(28, &mut s.core.cw_mask, 15, 0)?;
    extend(f, mask, 15);
    window_values(s, f, mask, 32)
}

/// Makes room for one word per bit of `mask`.
pub(super) fn extend(f: &mut Fields<'_, '_>, mask: u32, bits: u32) {
    let words = (mask & ((1 << bits) - 1)).count_ones();
    let words = usize::try_from(words).unwrap_or(0);
    f.message.resize(f.len() + 4 * words, 0);
}

fn window_values(
    s: &mut State,
    f: &mut Fields<'_, '_>,
    mask: u32,
    mut at: usize,
) -> Result<(), CodecError> {
    for (i, cache) in s.core.cw_attr.iter_mut().enumerate() {
        if (mask >> i) & 1 == 1 {
            f.int32(at, cache, 32, 0)?;
            at += 4;
        }
    }
    Ok(())
}

fn configure_window(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    f.resize(12)?;
    f.xid(4, &mut s.win)?;
    let mask = f.int(&mut s.core.cfg_mask, 7, 0)?;
    f.put16(8, low16(mask));
    extend(f, mask, 7);
    let widths = [16, 16, 16, 16, 16, 29, 3];
    let mut at = 12;
    for (i, (cache, bits)) in s.core.cfg.iter_mut().zip(widths).enumerate() {
        if (mask >> i) & 1 == 1 {
            f.int32(at, cache, bits, 8)?;
            at += 4;
        }
    }
    Ok(())
}

fn change_property(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    let c = &mut s.core;
    let format = c.cp_fmt.read(f.bits, 8)?;
    let n = f.count(32, 6)?;
    let unit = usize::from(format / 8);
    f.resize(pad4(n.saturating_mul(unit)).saturating_add(24))?;
    f.put8(16, format);
    f.put32(20, u32::try_from(n).unwrap_or(u32::MAX));
    f.value8(1, 2)?;
    f.xid(4, &mut s.win)?;
    f.int32(8, &mut c.cp_prop, 29, 9)?;
    f.int32(12, &mut c.cp_type, 29, 9)?;
    match format {
        8 => f.memory(24, n)?,
        32 => {
            for k in 0..n {
                f.int32(24 + 4 * k, &mut c.cp_data, 32, 0)?;
            }
        }
        _ => {
            for k in 0..n {
                f.value16(24 + 2 * k, 0)?;
            }
        }
    }
    Ok(())
}

fn event_window(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    if f.bits.bit()? {
        let value = f.bits.bit()?;
        f.put32(4, u32::from(value));
        Ok(())
    } else {
        f.xid(4, &mut s.win)
    }
}

fn event_head(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    let c = &mut s.core;
    f.char(12, &mut c.se_code)?;
    f.char(13, &mut c.se_byte)?;
    c.se_seq = c.se_seq.wrapping_add(low16(f.value(16, 4)?));
    f.put16(14, c.se_seq);
    f.int32(16, &mut c.se_int, 32, 0)?;
    Ok(())
}

fn send_event(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    f.resize(44)?;
    f.bool(1)?;
    event_window(s, f)?;
    f.int32(8, &mut s.core.se_mask, 32, 9)?;
    event_head(s, f)?;
    for at in 20..44 {
        f.char(at, &mut s.core.se_ev)?;
    }
    Ok(())
}

fn font(s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    let by = f.value(29, 5)?;
    s.core.font = s.core.font.wrapping_add(by) & 0x1fff_ffff;
    f.put32(4, s.core.font);
    Ok(())
}

fn colours(op: u8, s: &mut State, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    let c = &mut s.core;
    match op {
        84 => {
            f.resize(16)?;
            f.int32(4, &mut c.cmap, 29, 0)?;
            f.ints16(8, &mut c.ac_rgb, 4)?;
        }
        88 => {
            let n = f.count(16, 4)?;
            f.resize(12 + 4 * n)?;
            f.int32(4, &mut c.cmap, 29, 0)?;
            f.value32(8, 32, 4)?;
            for k in 0..n {
                f.value32(12 + 4 * k, 32, 8)?;
            }
        }
        91 => {
            f.bits.bit()?;
            let n = f.count(16, 5)?;
            f.resize(8 + 4 * n)?;
            f.int32(4, &mut c.cmap, 29, 0)?;
            let mut expected = c.qc_pix;
            for k in 0..n {
                let pixel = if f.bits.bit()? {
                    expected
                } else {
                    f.value(32, 9)?
                };
                if k == 0 {
                    c.qc_pix = pixel;
                }
                f.put32(8 + 4 * k, pixel);
                expected = pixel.wrapping_add(1);
            }
        }
        // 85, 92
        _ => {
            let n = f.count(16, 6)?;
            f.resize(12 + pad4(n))?;
            f.put16(8, u16::try_from(n).unwrap_or(0));
            f.int32(4, &mut c.cmap, 29, 0)?;
            f.memory(12, n)?;
        }
    }
    Ok(())
}
