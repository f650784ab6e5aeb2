//! Caches and variables that the requests of a session share.

use super::CodecError;
use super::bits::Bits;
use super::cache::{Char, Int, Opcodes, Xids};

/// An INT cache of 16 values.
pub(super) type Wide = Int<16>;

/// INT caches of GC values, by their width.
#[derive(Debug, Default)]
pub(super) struct GcValues {
    pub(super) narrow: [Int; 23],
    pub(super) wide: [Wide; 23],
}

/// Names are those of the protocol's tables.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) req_op: Opcodes,
    pub(super) render_op: Opcodes,
    pub(super) res: Char,
    pub(super) depth: Char,
    pub(super) method: Char,
    pub(super) set_cache: Int,
    pub(super) win: Xids,
    pub(super) draw: Xids,
    pub(super) gc: Xids,
    pub(super) ids: NewIds,
    pub(super) free_win: Wide,
    pub(super) free_draw: Wide,
    pub(super) free_gc: Wide,
    pub(super) core: CoreCaches,
    pub(super) gc_attr: GcValues,
    pub(super) drawing: DrawCaches,
    pub(super) image: ImageCaches,
    pub(super) text: TextCaches,
    pub(super) generic: GenericCaches,
    pub(super) shape: GenericCaches,
    pub(super) render: RenderCaches,
}

#[derive(Debug, Default)]
pub(super) struct CoreCaches {
    pub(super) cursor: Wide,
    pub(super) cmap: Wide,
    pub(super) visual: Wide,
    pub(super) cw_geom: [Int; 6],
    pub(super) cw_mask: Int,
    pub(super) cw_attr: [Int; 15],
    pub(super) cfg_mask: Int<4>,
    pub(super) cfg: [Int; 7],
    pub(super) cp_fmt: Char,
    pub(super) cp_prop: Wide,
    pub(super) cp_type: Wide,
    pub(super) cp_data: Wide,
    pub(super) se_mask: Wide,
    pub(super) se_int: Wide,
    pub(super) se_code: Char,
    pub(super) se_byte: Char,
    pub(super) se_ev: Char,
    pub(super) se_seq: u16,
    pub(super) ss_owner: Int,
    pub(super) ss_time: Int,
    pub(super) sel: Int,
    pub(super) cs_req: Wide,
    pub(super) cs_atom: [Int; 3],
    pub(super) cs_time: u32,
    pub(super) gb_mask: Int,
    pub(super) gb_conf: Int,
    pub(super) gb_but: Char,
    pub(super) gb_mod: Int,
    pub(super) grab_time: u32,
    pub(super) tc_s: Int,
    pub(super) tc_d: Int,
    pub(super) tc_x: Int,
    pub(super) tc_y: Int,
    pub(super) font: u32,
    pub(super) ac_rgb: [Int; 3],
    pub(super) qc_pix: u32,
}

#[derive(Debug, Default)]
pub(super) struct DrawCaches {
    pub(super) cp_x: Int,
    pub(super) cp_y: Int,
    pub(super) gc_mask: Int,
    pub(super) sc_x: Int,
    pub(super) sc_y: Int,
    pub(super) sc_g: [Int; 4],
    pub(super) sd_len: Int,
    pub(super) sd_off: Int,
    pub(super) sd_d: [Char; 2],
    pub(super) ca_g: [Int; 4],
    pub(super) cy_g: [Int; 6],
    pub(super) cpl_g: [Int; 6],
    pub(super) cpl_p: Int,
    pub(super) points: [Int; 2],
    pub(super) points_y: [Int; 2],
    pub(super) lines: [Int; 2],
    pub(super) lines_y: [Int; 2],
    pub(super) ps_x: Int,
    pub(super) ps_y: Int,
    pub(super) ps_last: [(u16, u16); 2],
    pub(super) ps_next: bool,
    pub(super) pr_g: [Int; 4],
    pub(super) pa: [[Int; 6]; 2],
    pub(super) pfa: [[Int; 6]; 2],
    pub(super) pfr: [[Int; 4]; 4],
    pub(super) fp_n: Int,
    pub(super) fp_rel: [(Int, Int); 10],
    pub(super) fp_abs: [(Int, Int); 10],
    pub(super) fp_recent: [(u16, u16); 8],
    pub(super) fp_next: usize,
}

#[derive(Debug, Default)]
pub(super) struct ImageCaches {
    pub(super) x: Int,
    pub(super) y: Int,
    pub(super) w: Int,
    pub(super) h: Int,
    pub(super) pad: Char,
    pub(super) gi_pm: Int,
    pub(super) at_x: u16,
    pub(super) at_y: u16,
    pub(super) pp_src: Wide,
    pub(super) pp_dst: Wide,
}

#[derive(Debug, Default)]
pub(super) struct TextCaches {
    pub(super) pt_x: Int,
    pub(super) pt_y: Int,
    pub(super) pt_font: Int,
    pub(super) pt_delta: Char,
    pub(super) it_len: Int,
    pub(super) it_x: Int,
    pub(super) it_y: Int,
    pub(super) text: (u16, u16),
    pub(super) itext: (u16, u16),
}

#[derive(Debug, Default)]
pub(super) struct GenericCaches {
    pub(super) op: Char,
    pub(super) data: [Int; 8],
}

#[derive(Debug, Default)]
pub(super) struct RenderCaches {
    pub(super) src: Xids,
    pub(super) mask: Xids,
    pub(super) dst: Xids,
    pub(super) free_pic: Wide,
    pub(super) free_gs: Wide,
    pub(super) gs: Wide,
    pub(super) len: Wide,
    pub(super) fmt: Wide,
    pub(super) vm: Int,
    pub(super) op: Char,
    pub(super) x: Wide,
    pub(super) y: Wide,
    pub(super) w: Wide,
    pub(super) h: Wide,
    pub(super) gx: Wide,
    pub(super) gy: Wide,
    pub(super) ng: Int,
    pub(super) data: [Wide; 16],
    pub(super) at: (u16, u16),
    pub(super) glyph_at: (u16, u16),
}

/// NEW: ids that the client makes one after the other.
#[derive(Debug, Default)]
pub(super) struct NewIds {
    cache: Wide,
    last: u32,
}

impl NewIds {
    fn next(&mut self, bits: &mut Bits<'_>, free: &mut Wide) -> Result<u32, CodecError> {
        let by = self.cache.read(bits, 29, 0)?;
        self.last = self.last.wrapping_add(by).wrapping_add(1) & 0x1fff_ffff;
        free.push(self.last);
        Ok(self.last)
    }

    pub(super) fn xid(
        &mut self,
        bits: &mut Bits<'_>,
        cache: &mut Xids,
        free: &mut Wide,
    ) -> Result<u32, CodecError> {
        let id = self.next(bits, free)?;
        cache.created(id)?;
        Ok(id)
    }

    pub(super) fn int(
        &mut self,
        bits: &mut Bits<'_>,
        cache: &mut Wide,
        free: &mut Wide,
    ) -> Result<u32, CodecError> {
        let id = self.next(bits, free)?;
        cache.push(id);
        Ok(id)
    }
}
