//! `cargo xtask fuzz carrier_peer`.

#![no_main]

#[path = "../oracles/carrier.rs"]
#[allow(dead_code, reason = "each target has its own part")]
mod carrier;

libfuzzer_sys::fuzz_target!(|data: &[u8]| carrier::peer(data));
