//! The carrier beneath NX: prioritised streams on one connection, and a
//! session that survives its connections, without I/O. The wire is written
//! down in `PROTOCOL.md`.
//!
//! How a program drives it, with nothing but buffers; what is copied here goes
//! over a socket there:
//!
//! ```
//! use std::time::Instant;
//! use qvd_carrier::{Carrier, Config, Event, Kind, Role, Token};
//!
//! /// What a loop does when a socket is ready, or the deadline has come.
//! fn turn(from: &mut Carrier, to: &mut Carrier, now: Instant) {
//!     from.timeout(now);
//!     let mut out = Vec::new();
//!     from.output(now, &mut out, 64 * 1024);
//!     let mut bytes = bytes::Bytes::from(out);
//!     while !bytes.is_empty() {
//!         to.input(&mut bytes, now);
//!     }
//! }
//!
//! let now = Instant::now();
//! let mut client = Carrier::new(Role::Client, Config::default());
//! let mut agent = Carrier::new(Role::Agent, Config::default());
//! let nx = client.open(Kind::Nx, b"")?;
//! client.write(nx, b"NXPROXY-3.5.0")?;
//!
//! // A connection is there. The token is random in earnest.
//! agent.greet(Token::new([7; 16]), now)?;
//! client.connect(now)?;
//! let mut heard = Vec::new();
//! for _ in 0..5 {
//!     turn(&mut agent, &mut client, now);
//!     turn(&mut client, &mut agent, now);
//!     while let Some(event) = agent.event() {
//!         match event {
//!             Event::Opened { stream, kind: Kind::Nx, .. } => agent.accept(stream, b"")?,
//!             Event::Readable(stream) => {
//!                 // As much as nxagent's socket takes; the rest stays.
//!                 let bytes = agent.readable(stream);
//!                 heard.extend_from_slice(bytes);
//!                 let written = bytes.len();
//!                 agent.consume(stream, written);
//!             }
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(heard, b"NXPROXY-3.5.0");
//! # Ok::<(), qvd_carrier::Error>(())
//! ```

#![forbid(unsafe_code)]

mod announce;
mod carrier;
mod error;
mod event;
mod frame;
mod hello;
mod kind;
pub mod limits;
mod liveness;
mod pace;
mod queue;
mod reason;
mod replay;
mod road;
mod stream;
mod token;

pub use announce::{CARRIER, RESUME, announced, resumes};
pub use carrier::Carrier;
pub use error::{Error, Violation};
pub use event::{Config, Event, KindStats, Loss, Role, Stats, StreamStats};
pub use frame::Frame;
pub use hello::{Detected, HELLO, MAGIC, Offer, Refusal, detect, greeting, offer};
pub use kind::{Kind, Priority};
pub use reason::{Code, Reason};
pub use road::{ROAD_VARIABLE, Road};
pub use token::Token;
