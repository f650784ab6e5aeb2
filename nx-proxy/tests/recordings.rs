//! Recorded sessions, decoded: the X11 bytes are those that nxproxy sent.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

use std::path::Path;

use nx_proxy::codec::{Decoded, Replay};
use proptest::prelude::*;

fn read(name: &str, file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("recordings")
        .join(name)
        .join(format!("{file}.xz"));
    let packed = std::fs::read(&path).unwrap();
    let mut plain = Vec::new();
    lzma_rs::xz_decompress(&mut packed.as_slice(), &mut plain).unwrap();
    plain
}

fn replay(name: &str, chunk: usize) -> Replay {
    let mut replay = Replay::new(&read(name, "x11.0.t2c")).unwrap();
    for bytes in read(name, "nx.0.t2c").chunks(chunk) {
        if let Err(error) = replay.receive(bytes) {
            compare(name, &replay);
            panic!("{name}: {error}");
        }
    }
    replay
}

fn length(request: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([request[2], request[3]])) * 4
}

fn word(request: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([request[at], request[at + 1]]))
}

/// Whether byte `at` of a request is padding: it is whatever was in nxproxy's
/// memory.
fn padding(request: &[u8], wire: Decoded, at: usize) -> bool {
    let nx = wire.opcode >= 230;
    let unused_byte_1 = matches!(request[0], 2..=5 | 7..=10 | 12 | 14 | 15 | 17 | 19 | 21..=24
        | 27 | 29 | 31..=32 | 34 | 36..=38 | 40 | 43..=49 | 52 | 54..=58 | 60 | 62 | 63 | 66..=71
        | 74 | 75 | 79..=101 | 103 | 104 | 107..=110 | 113 | 114 | 116..=127)
        && request[0] != 78;
    let after = |used: usize| at >= used;
    if at == 1 {
        return nx || unused_byte_1;
    }
    match request[0] {
        12 => matches!(at, 10 | 11),
        16 => matches!(at, 6 | 7) || after(8 + word(request, 4)),
        45 => matches!(at, 10 | 11) || after(12 + word(request, 8)),
        49 => after(8 + word(request, 6)),
        85 | 92 => matches!(at, 10 | 11) || after(12 + word(request, 8)),
        98 => matches!(at, 6 | 7) || after(8 + word(request, 4)),
        18 => {
            let unit = usize::from(request[16]) / 8;
            matches!(at, 17..=19) || after(24 + word(request, 20) * unit)
        }
        58 => after(12 + word(request, 10)),
        76 => after(16 + usize::from(request[1])),
        77 => after(16 + 2 * usize::from(request[1])),
        74 | 75 => at >= 16 && request[at..].iter().all(|b| *b == 0) && at + 4 > request.len(),
        28 => at == 21,
        31 | 69 | 84 => matches!(at, 14 | 15),
        101 => matches!(at, 6 | 7),
        72 => matches!(at, 22 | 23),
        _ => match wire.render {
            Some(8 | 10 | 11 | 26) => matches!(at, 5..=7),
            Some(23..=25) => {
                matches!(at, 5..=7) || matches!(at, 29..=31) || request.len() == 32 && at == 28
            }
            Some(30) => matches!(at, 10 | 11),
            _ => false,
        },
    }
}

/// Compares with the recorded X11 bytes.
fn compare(name: &str, replay: &Replay) {
    let expected = read(name, "x11.0.c2t");
    assert_eq!(replay.x11[..12], expected[..12], "{name}: setup");
    let mut at = 12;
    let mut beside = 0;
    for (k, wire) in replay.trace.iter().enumerate() {
        assert_eq!(at, wire.offset, "{name}: request {k}");
        let ours = &replay.x11[at..];
        let ours = &ours[..length(ours)];
        let Some(theirs) = expected.get(at..at + ours.len()) else {
            panic!("{name}: request {k} {wire:?} is longer than what was recorded");
        };
        for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
            if a == b || i != 2 && i != 3 && padding(ours, *wire, i) {
                continue;
            }
            // Without alpha the byte beside the colours is whatever was in
            // nxproxy's memory.
            if wire.image.is_some() && i >= 24 && (i % 4) == 3 && *a == 0 {
                assert!(ours[0] == 72);
                beside += 1;
                continue;
            }
            panic!(
                "{name}: request {k} {wire:?} byte {i}\n ours  {:?}\n theirs {:?}",
                &ours[..ours.len().min(64)],
                &theirs[..theirs.len().min(64)],
            );
        }
        at += ours.len();
    }
    println!(
        "{name}: {} requests, {beside} bytes beside colours",
        replay.trace.len()
    );
}

fn whole(name: &str, requests: usize) {
    let replay = replay(name, usize::MAX);
    compare(name, &replay);
    assert!(replay.whole(), "{name}: something is left");
    assert_eq!(replay.trace.len(), requests, "{name}");
    assert_eq!(replay.x11.len(), read(name, "x11.0.c2t").len(), "{name}");
}

#[test]
fn lan() {
    whole("lan", 2552);
}

#[test]
fn lan_rich() {
    whole("lan-rich", 94981);
}

#[test]
fn lan_channels() {
    whole("lan-channels", 738);
}

#[test]
fn adsl_channels() {
    whole("adsl-channels", 738);
}

#[test]
fn adsl() {
    whole("adsl", 90920);
}

#[test]
fn modem() {
    whole("modem", 91935);
}

#[test]
fn coverage_adsl() {
    whole("coverage-adsl", 3032);
}

#[test]
fn coverage_lan() {
    whole("coverage-lan", 3032);
}

#[test]
fn the_split_of_the_input_does_not_matter() {
    for (name, chunks) in [
        ("lan", &[1, 1000][..]),
        ("lan-channels", &[1, 2, 3, 7, 1000]),
        ("adsl-channels", &[1, 2, 3, 7, 1000]),
        ("coverage-adsl", &[1, 5]),
    ] {
        let whole = replay(name, usize::MAX);
        for chunk in chunks {
            let split = replay(name, *chunk);
            assert_eq!(split.x11, whole.x11, "{name} in pieces of {chunk}");
            assert_eq!(split.trace, whole.trace);
        }
    }
}

/// The agent's bytes of a recording as they would be without compression.
fn plain(name: &str) -> Vec<u8> {
    let packed = read(name, "nx.0.t2c");
    let spaces = packed.iter().enumerate().filter(|(_, b)| **b == b' ');
    let (end, _) = spaces.clone().nth(2).unwrap();
    let (words, frames) = packed.split_at(end + 1);
    let words = String::from_utf8(words.to_vec()).unwrap();
    let mut bytes = words.replace("stream=4", "stream=0").into_bytes();
    assert_ne!(bytes, words.into_bytes());
    let mut inflate = flate2::Decompress::new(true);
    let mut out = Vec::with_capacity(16 << 20);
    inflate
        .decompress_vec(frames, &mut out, flate2::FlushDecompress::Sync)
        .unwrap();
    bytes.extend(out);
    bytes
}

#[test]
fn without_compression_the_same_comes_out() {
    let name = "coverage-adsl";
    let mut replay = Replay::new(&read(name, "x11.0.t2c")).unwrap();
    replay.receive(&plain(name)).unwrap();
    compare(name, &replay);
    assert!(replay.whole());
    assert_eq!(replay.trace.len(), 3032);
}

#[test]
fn the_program_replays_and_dumps_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["nx.0.t2c", "x11.0.t2c"] {
        std::fs::write(folder.path().join(file), read("lan", file)).unwrap();
    }
    let run = |args: &[&std::ffi::OsStr]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_qvd-nxproxy"))
            .args(args)
            .output()
            .unwrap()
    };
    let out = folder.path().join("x11");
    let args = ["--replay".as_ref(), folder.path().as_os_str()];
    let replayed = run(&[args[0], args[1], "--out".as_ref(), out.as_os_str()]);
    assert!(replayed.status.success(), "{replayed:?}");
    assert_eq!(std::fs::read(&out).unwrap(), replay("lan", 4096).x11);
    let dumped = run(&["--dump".as_ref(), args[1]]);
    assert_eq!(
        String::from_utf8(dumped.stdout).unwrap().lines().count(),
        2552
    );

    // A stream that is cut off is not decoded.
    let whole = read("lan", "nx.0.t2c");
    std::fs::write(folder.path().join("nx.0.t2c"), &whole[..100_001]).unwrap();
    let cut = run(&["--dump".as_ref(), args[1]]);
    assert!(!cut.status.success());
    let said = String::from_utf8(cut.stderr).unwrap();
    assert!(
        said.contains("inside a frame") && said.contains(" requests and "),
        "{said}"
    );
    assert_eq!(run(&[]).status.code(), Some(64));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A damaged stream ends with an error or with other pictures, never with
    /// a panic.
    #[test]
    fn damaged_streams_are_survived(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        name in prop::sample::select(vec!["coverage-lan", "coverage-adsl", "adsl-channels"]),
    ) {
        let mut replay = Replay::new(&read(name, "x11.0.t2c")).unwrap();
        let mut bytes = match name {
            "coverage-lan" => read(name, "nx.0.t2c"),
            _ => plain(name),
        };
        let frames = &mut bytes[200..];
        for (place, value) in damage {
            *place.get_mut(frames) ^= value;
        }
        for chunk in bytes.chunks(5000) {
            if replay.receive(chunk).is_err() {
                break;
            }
        }
    }
}

/// Requests by opcode: how many came in sessions without delta coding, and with
/// it in full and as changes of stored ones.
#[test]
fn the_coverage_table_is_kept() {
    use std::fmt::Write as _;
    let mut seen = std::collections::BTreeMap::<(u8, Option<u8>), [u32; 3]>::new();
    for (name, delta) in [
        ("lan", false),
        ("lan-rich", false),
        ("coverage-lan", false),
        ("adsl", true),
        ("modem", true),
        ("adsl-channels", true),
        ("coverage-adsl", true),
    ] {
        for request in replay(name, usize::MAX).trace {
            let column = usize::from(delta) + usize::from(delta && request.hit);
            seen.entry((request.opcode, request.render)).or_default()[column] += 1;
        }
    }
    let mut table = String::new();
    for ((opcode, render), [plain, full, hit]) in seen {
        let minor = render.map_or_else(String::new, |minor| format!(" RENDER {minor}"));
        writeln!(table, "| {opcode}{minor} | {plain} | {full} | {hit} |").unwrap();
    }
    println!("{table}");
    let kept = include_str!("../PROTOCOL.md");
    assert!(
        kept.contains(&table),
        "PROTOCOL.md has another table than this:\n{table}"
    );
}
