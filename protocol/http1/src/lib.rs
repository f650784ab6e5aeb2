//! QVD's HTTP/1.1 dialect, without I/O.
//!
//! One crate serves the broker, the agent, the slave channel and the client.
//! It exists because general HTTP libraries rewrite header case (the reference
//! looks names such as `X-QVD-Slave-Key` up case-sensitively) and do not send
//! interim `102 Processing` responses before a `101 Switching Protocols`.
//!
//! - [`RequestReader`] and [`ResponseReader`] take bytes as they arrive, in any
//!   split, and give whole messages. What follows an upgrade in the same read
//!   is kept and handed over by `take_rest`: nothing read past a head is lost.
//! - [`RequestHead`], [`ResponseHead`], [`Request`] and [`Response`] write
//!   themselves with header names exactly as given.
//! - [`query`] reads and writes `key=value&…` strings.
//!
//! Framing is by `Content-Length` only; `Transfer-Encoding` is refused, since
//! no QVD peer sends it and two framings invite smuggling.

#![forbid(unsafe_code)]

mod error;
mod headers;
mod input;
mod message;
pub mod query;
mod request;
mod response;
mod status;

pub use error::Error;
pub use headers::Headers;
pub use message::{Request, RequestHead, Response, ResponseHead};
pub use request::RequestReader;
pub use response::{ResponseEvent, ResponseReader};
pub use status::Status;

/// Most bytes a head may have, request line and header lines together.
pub const MAX_HEAD: usize = 64 * 1024;

/// Most header lines a head may have.
pub const MAX_HEADERS: usize = 128;
