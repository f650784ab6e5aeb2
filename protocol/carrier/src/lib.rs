//! The carrier beneath NX: prioritised streams on one connection, and a
//! session that survives its connections, without I/O. The wire is written
//! down in `PROTOCOL.md`.

#![forbid(unsafe_code)]

mod error;
mod frame;
mod hello;
mod kind;
pub mod limits;
mod reason;
mod token;

pub use error::{Error, Violation};
pub use frame::Frame;
pub use hello::{Detected, MAGIC, Refusal, detect};
pub use kind::{Kind, Priority};
pub use reason::{Code, Reason};
pub use token::Token;
