//! What fuzzing has kept, run again: inputs that each reach something of their
//! own, and those that once broke something. See `fuzz/README.md`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../../fuzz/oracles/replay.rs"]
mod kept;
#[path = "../../../fuzz/oracles/sftp.rs"]
mod sftp;

use kept::replay;

#[test]
fn the_server_keeps_to_its_rules() {
    replay("sftp_server", sftp::server);
}

#[test]
fn the_client_keeps_to_its_rules() {
    replay("sftp_client", sftp::client);
}

#[test]
fn a_file_is_as_its_model() {
    replay("sftp_file", sftp::file);
}
