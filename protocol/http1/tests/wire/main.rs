//! The dialect against recordings of the reference and against bad input.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod grammar;
mod recordings;
