//! Thin tokio drivers for QVD's programs.
#![forbid(unsafe_code)]

pub mod relay;
pub mod socket;
