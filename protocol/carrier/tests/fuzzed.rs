//! What fuzzing has kept, run again: inputs that each reach something of their
//! own, and those that once broke something. See `fuzz/README.md`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;

#[path = "../../../fuzz/oracles/carrier.rs"]
mod carrier;
#[path = "../../../fuzz/oracles/replay.rs"]
mod kept;

use kept::replay;

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
