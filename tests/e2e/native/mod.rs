//! The native engine with real nxagent and displays.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod chain;
mod channels;
mod drawing;
mod input;
mod pixels;
mod program;
mod recorded;
mod resume;
mod session;
mod soak;
mod words;
