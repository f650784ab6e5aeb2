//! NX as bytes, without sockets and clocks: what the agent sends becomes X11
//! requests and orders, what the X server sends becomes NX.
//!
//! Facts are those of `PROTOCOL.md`. Everything the agent sends is hostile
//! until decoded: each length has a named limit in [`limits`].

#[cfg(test)]
mod agent;
mod bits;
mod cache;
mod control;
mod core_requests;
mod draw_requests;
mod encode;
mod error;
mod events;
mod frames;
mod generic;
mod handshake;
mod image;
pub mod limits;
mod message;
mod nx_requests;
mod pixels;
#[doc(hidden)]
pub mod probe;
mod raw;
mod render;
mod replay;
mod replies;
mod requests;
mod session;
mod state;
mod store;
mod text_requests;
mod x_channel;
mod x_server;

pub use control::{Control, Service};
pub use error::{CodecError, Place};
pub use handshake::{Greeting, Handshake};
pub use replay::Replay;
pub use requests::Decoded;
pub use session::{Codec, Output, Totals};
