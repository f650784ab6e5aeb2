//! What fuzzing has kept, run again: inputs that each reach something of their
//! own, and those that once broke something. See `fuzz/README.md`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use proptest::prelude::*;

#[path = "../../../fuzz/oracles/carrier.rs"]
mod carrier;

fn replay(target: &str, oracle: fn(&[u8])) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
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
fn peers_that_fuzzing_found_are_withstood() {
    replay("carrier_peer", carrier::peer);
}

#[test]
fn hellos_that_fuzzing_found_are_withstood() {
    replay("carrier_hellos", carrier::hellos);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn peers_of_any_kind_are_withstood(acts in proptest::collection::vec(any::<u8>(), 0..400)) {
        carrier::peer(&acts);
        carrier::hellos(&acts);
    }
}
