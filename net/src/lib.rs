//! Thin tokio drivers shared by QVD's programs: HTTP connections, byte relays,
//! the carrier and socket options. The protocols themselves are in the protocol crates.

#![forbid(unsafe_code)]

pub mod carrier;
pub mod http;
pub mod relay;
pub mod socket;
