//! As the program fsx does: random reads, writes, truncations and mappings of
//! one file by several descriptors, beside a model of it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::rig::{Mounter, Rig, Sharer, is_soak, noise};

/// Most bytes of the file.
const MOST: u64 = 300_000;

/// Operations of one run, and how often as many in the long form of the tests.
const STEPS: u64 = 2000;
const LONG: u64 = 20;

fn open(path: &Path) -> File {
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

fn read(file: &File, at: u64, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    let mut got = 0;
    while got < length {
        let place = at + u64::try_from(got).unwrap();
        match file.read_at(&mut data[got..], place).unwrap() {
            0 => break,
            count => got += count,
        }
    }
    data.truncate(got);
    data
}

/// What a mapping of the file shows there, after it was changed by that mapping
/// to one byte where `byte` is given. A program does it: to map a file is not
/// safe.
fn mapped(path: &Path, at: usize, length: usize, byte: Option<u8>) -> Vec<u8> {
    let program = "import mmap, sys
f = open(sys.argv[1], 'r+b')
m = mmap.mmap(f.fileno(), 0)
a, n = int(sys.argv[2]), int(sys.argv[3])
if len(sys.argv) > 4:
    m[a:a + n] = bytes([int(sys.argv[4])]) * n
sys.stdout.buffer.write(m[a:a + n])";
    let output = std::process::Command::new("python3")
        .args(["-c", program])
        .arg(path)
        .args([at.to_string(), length.to_string()])
        .args(byte.map(|byte| byte.to_string()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    output.stdout
}

fn exercise(sharer: Sharer, mounter: Mounter, descriptors: usize) {
    let steps = if is_soak() { STEPS * LONG } else { STEPS };
    let rig = Rig::new(sharer, mounter);
    let path = rig.at("fsx");
    let mut files: Vec<_> = (0..descriptors).map(|_| open(&path)).collect();
    let mut model: Vec<u8> = Vec::new();
    let mut history = VecDeque::new();
    for step in 0..steps {
        let random = noise(step + 1, 32);
        let number = |n: usize| u64::from_le_bytes(random[n * 8..][..8].try_into().unwrap());
        let (what, at, length) = (number(0) % 100, number(1) % MOST, number(2) % 40_000 + 1);
        let which = usize::try_from(number(3)).unwrap_or_default() % descriptors;
        history.push_back((what, at, length, which, model.len()));
        if history.len() > 8 {
            history.pop_front();
        }
        let from = usize::try_from(at).unwrap();
        let to = from + usize::try_from(length).unwrap();
        let expected = model[from.min(model.len())..to.min(model.len())].to_vec();
        match what {
            0..40 => {
                let got = read(&files[which], at, to - from);
                let differs = got.iter().zip(&expected).position(|(a, b)| a != b);
                assert!(
                    got == expected,
                    "{sharer:?}, {mounter:?}, step {step}: read {at}+{length}: {} bytes of {}, \
                     which differ from {differs:?}, after {history:?}",
                    got.len(),
                    expected.len()
                );
            }
            40..80 => {
                let data = noise(step, to - from);
                files[which].write_all_at(&data, at).unwrap();
                model.resize(model.len().max(to), 0);
                model[from..to].copy_from_slice(&data);
            }
            80..90 => {
                files[which].set_len(at).unwrap();
                model.resize(from, 0);
            }
            90..95 => files[which] = open(&path),
            95..98 => files[which].sync_all().unwrap(),
            98 => {
                let size = fs::metadata(&path).unwrap().len();
                assert_eq!(size, u64::try_from(model.len()).unwrap(), "step {step}");
            }
            _ if expected.is_empty() => {}
            _ if step % 2 == 0 => {
                let got = mapped(&path, from, expected.len(), None);
                assert!(
                    got == expected,
                    "step {step}: mapped {at}+{length}, after {history:?}"
                );
            }
            _ => {
                let byte = u8::try_from(step % 251).unwrap();
                mapped(&path, from, expected.len(), Some(byte));
                model[from..from + expected.len()].fill(byte);
            }
        }
    }
    drop(files);
    assert!(fs::read(rig.shared().join("fsx")).unwrap() == model);
}

#[test]
fn a_file_of_ours_is_as_its_model() {
    exercise(Sharer::Ours, Mounter::Ours, 2);
}

#[test]
fn a_file_of_the_reference_is_as_its_model() {
    exercise(Sharer::OpenSsh, Mounter::Ours, 3);
}

#[test]
fn a_file_of_ours_mounted_by_the_reference_is_as_its_model() {
    exercise(Sharer::Ours, Mounter::Sshfs, 1);
}
