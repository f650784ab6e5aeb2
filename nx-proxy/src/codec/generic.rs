//! SHAPE, and every request that has no coding of its own (delta=1).

use super::CodecError;
use super::message::Fields;
use super::state::GenericCaches;

/// Reads all fields.
pub(super) fn full(c: &mut GenericCaches, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    let size = 4 * f.count(16, 10)?;
    f.resize(size)?;
    f.char(1, &mut c.op)?;
    words(c, f)?;
    f.rest(20)
}

/// The 16-bit fields behind the header.
pub(super) fn words(c: &mut GenericCaches, f: &mut Fields<'_, '_>) -> Result<(), CodecError> {
    for (i, cache) in c.data.iter_mut().enumerate() {
        if 4 + 2 * i < f.len() {
            f.int16(4 + 2 * i, cache, 0)?;
        }
    }
    Ok(())
}
