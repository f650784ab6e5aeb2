//! `cargo xtask fuzz nx_requests`.

#![no_main]

#[path = "../oracles/nx.rs"]
#[allow(dead_code, reason = "each target has its own part")]
mod nx;

libfuzzer_sys::fuzz_target!(|data: &[u8]| nx::requests(data));
