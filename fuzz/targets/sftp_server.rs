//! `cargo xtask fuzz sftp_server`.

#![no_main]

#[path = "../oracles/sftp.rs"]
#[allow(dead_code, reason = "each target has its own part")]
mod sftp;

libfuzzer_sys::fuzz_target!(|data: &[u8]| sftp::server(data));
