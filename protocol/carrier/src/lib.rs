//! The carrier beneath NX: prioritised streams on one connection, and a
//! session that survives its connections, without I/O. The wire is written
//! down in `PROTOCOL.md`.

#![forbid(unsafe_code)]

mod carrier;
mod error;
mod event;
mod frame;
mod hello;
mod kind;
pub mod limits;
mod liveness;
mod reason;
mod replay;
mod stream;
mod token;

pub use carrier::Carrier;
pub use error::{Error, Violation};
pub use event::{Config, Event, Loss, Role, Stats, StreamStats};
pub use frame::Frame;
pub use hello::{Detected, MAGIC, Refusal, detect};
pub use kind::{Kind, Priority};
pub use reason::{Code, Reason};
pub use token::Token;
