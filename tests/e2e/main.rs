//! End-to-end tests: real programs on real displays.
//!
//! Each test plays in a [`qvd_tests::Scene`]; what it started is gone after it,
//! or it fails. Pictures and logs are left in `target/e2e/<test>/`.

#![forbid(unsafe_code)]

mod agent;
mod chain;
mod client;
mod harness;
mod native;
mod shares;
mod stock_nx;
mod window;
