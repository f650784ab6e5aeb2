//! The client's end of the slave channel.
//!
//! Every function here takes a connected stream, so that a running client can
//! use its own channel, and the command line program the port that the client
//! has written down ([`Session`]):
//!
//! - [`share`] offers a folder; [`Sharing::serve`] serves it until either end
//!   ends it.
//! - [`fetch`] asks for a folder of the VM's; the stream is then an SFTP
//!   server, which [`qvd_share::mount`] mounts.
//! - [`Record`] is where a running client writes its session down.
//! - [`service`] answers what the VM asks of the client.
//! - [`open`] opens a file of a shared folder in the session.

#![forbid(unsafe_code)]

mod again;
pub mod cli;
mod error;
mod left;
mod line;
mod record;
mod register;
mod request;
pub mod service;
mod session;

pub use again::Again;
pub use error::{Error, STATUSES};
pub use left::{is_deserted, is_gone};
pub use line::Line;
pub use record::{About, Record};
pub use register::{Entry, Registered, Registry};
pub use request::{Fetched, Offer, Sharing, fetch, open, share};
pub use session::Session;

pub use qvd_share::serve::Stopper;
pub use qvd_slave::Key;
