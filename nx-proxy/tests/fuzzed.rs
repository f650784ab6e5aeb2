//! What fuzzing has kept, run again: inputs that each reach something of their
//! own, and those that once broke something. See `fuzz/README.md`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

#[path = "../../fuzz/oracles/nx.rs"]
mod nx;

fn replay(target: &str, oracle: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let mut count = 0;
    for kind in ["corpus", "regressions"] {
        let folder = root.join(kind).join(target);
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            // The name of one that breaks is told by the panic's own lines.
            let outcome = std::panic::catch_unwind(|| oracle(&input));
            assert!(outcome.is_ok(), "{}", path.display());
            count += 1;
        }
    }
    assert!(count > 10, "{target}: {count} inputs");
}

#[test]
fn frames_however_they_are_cut() {
    replay("nx_frames", nx::frames);
}

#[test]
fn requests_are_whole() {
    replay("nx_requests", nx::requests);
}

#[test]
fn images_are_as_large_as_they_say() {
    replay("nx_images", nx::images);
}

#[test]
fn what_the_x_server_sends_is_survived() {
    replay("nx_events", nx::events);
}
