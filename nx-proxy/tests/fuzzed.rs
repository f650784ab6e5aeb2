//! What fuzzing has kept, run again: inputs that each reach something of their
//! own, and those that once broke something. See `fuzz/README.md`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../fuzz/oracles/replay.rs"]
mod kept;
#[path = "../../fuzz/oracles/nx.rs"]
mod nx;

use kept::replay;

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
