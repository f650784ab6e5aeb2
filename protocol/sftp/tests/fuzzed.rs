//! What fuzzing has kept, run again: inputs that each reach something of their
//! own, and those that once broke something. See `fuzz/README.md`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/oracles/sftp.rs"]
mod sftp;

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
