//! Whether a device holds nothing, by reading it.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::{fault, probe};

/// A device up to this size is read whole, in bytes.
const WHOLE: u64 = 64 << 20;

/// Of a greater one this much is read at its beginning and at its end, where
/// formats have their marks, in bytes.
const EDGE: u64 = 4 << 20;

/// And this many blocks between, at even distances.
const SAMPLES: u64 = 1024;

/// Bytes read at once; the size of a sample.
const BLOCK: usize = 64 << 10;

/// Refuses a device that holds anything.
///
/// # Errors
/// One sentence.
pub fn require(path: &Path) -> Result<(), String> {
    require_between(path, 0)
}

/// Refuses a device that holds anything but for its first and last bytes, as
/// many as `ends`.
///
/// # Errors
/// One sentence.
pub fn require_between(path: &Path, ends: u64) -> Result<(), String> {
    let found = File::open(path).and_then(|mut device| {
        let size = device.seek(SeekFrom::End(0))?;
        first_byte(&device, ends, size.saturating_sub(ends))
    });
    match found {
        Ok(None) => Ok(()),
        Ok(Some(place)) => Err(probe::refused(
            path,
            &format!("data of an unknown kind at byte {place}"),
        )),
        Err(e) => Err(fault(path, &e)),
    }
}

/// Where the first byte was seen that is not zero.
fn first_byte(device: &File, from: u64, to: u64) -> io::Result<Option<u64>> {
    if to <= from + WHOLE {
        return scan(device, from, to);
    }
    let (begin, end) = (from + EDGE, to - EDGE);
    if let Some(place) = scan(device, from, begin)? {
        return Ok(Some(place));
    }
    let distance = (end - begin) / SAMPLES;
    let block = BLOCK as u64;
    for sample in 0..SAMPLES {
        // At a multiple of what is read, where things begin.
        let place = (begin + sample * distance) / block * block;
        if let Some(place) = scan(device, place, (place + block).min(end))? {
            return Ok(Some(place));
        }
    }
    scan(device, end, to)
}

fn scan(device: &File, from: u64, to: u64) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; BLOCK];
    let mut place = from;
    while place < to {
        let wanted = usize::try_from(to - place).map_or(BLOCK, |left| left.min(BLOCK));
        let part = buffer.get_mut(..wanted).unwrap_or_default();
        device.read_exact_at(part, place)?;
        if let Some(at) = part.iter().position(|byte| *byte != 0) {
            return Ok(Some(place + at as u64));
        }
        place += wanted as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_byte_at(size: u64, place: Option<u64>) -> Option<u64> {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        if let Some(place) = place {
            file.write_all_at(b"x", place).unwrap();
        }
        first_byte(&file, 0, size).unwrap()
    }

    #[test]
    fn a_byte_is_seen_anywhere_on_a_small_device_and_at_the_edges_of_a_great_one() {
        let small = WHOLE - 512;
        let great = (4 << 30) + 512;
        assert_eq!(with_byte_at(small, None), None);
        assert_eq!(with_byte_at(great, None), None);
        for place in [0, 1, 511, 1 << 20, (33 << 20) + 7, small - 1] {
            assert_eq!(with_byte_at(small, Some(place)), Some(place));
        }
        for place in [0, 1024, EDGE - 1, great - EDGE, great - 512, great - 1] {
            assert_eq!(with_byte_at(great, Some(place)), Some(place));
        }
    }

    #[test]
    fn data_in_the_middle_of_a_great_device_is_seen() {
        let file = tempfile::tempfile().unwrap();
        let size = 8 << 30;
        file.set_len(size).unwrap();
        let text = vec![b'x'; 16 << 20];
        file.write_all_at(&text, 3 << 30).unwrap();
        assert!(first_byte(&file, 0, size).unwrap().is_some());
    }
}
