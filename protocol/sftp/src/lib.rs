//! SFTP version 3 with the extensions of OpenSSH that matter for a mounted
//! folder, without I/O.
//!
//! - [`Request`], [`Response`] and [`Attributes`] read and write the packets
//!   of draft-ietf-secsh-filexfer-02, which is what every peer speaks. Names
//!   and handles are bytes.
//! - [`Client`] numbers requests, keeps as many under way as its caller likes,
//!   and tells answers and passed deadlines by the caller's own tag.
//! - [`Server`] gives operations in the order in which they may be carried
//!   out; the caller does so in as many threads as it likes, and answers.
//! - [`ReadAhead`] and [`WriteBehind`] turn the reads and writes of one open
//!   file into requests that fill a long link.
//!
//! Extensions of OpenSSH: posix-rename, statvfs, fstatvfs, fsync, hardlink,
//! lsetstat, limits, copy-data. Two are our own, and a peer that does not know
//! them never sees them: `errno@qvd`, by which a status tells the system's
//! error number after its fields, where version 3 has but "failure"; and
//! `open-as@qvd`, by which the client names the handle of what it opens, and
//! so reads or writes and closes in the same round trip.

#![forbid(unsafe_code)]

mod attributes;
mod client;
mod error;
mod extension;
mod flags;
mod frame;
mod order;
mod readahead;
mod reply;
mod request;
mod response;
mod server;
mod status;
mod wire;
mod writebehind;

pub use attributes::{Attributes, FILE_TYPE, PERMISSIONS, Times};
pub use client::{Answer, Client, Event, Lapse};
pub use error::Error;
pub use extension::{Extensions, FileSystem, Limits};
pub use flags::OpenFlags;
pub use frame::{Frames, Partial};
pub use readahead::{Fetch, Piece, ReadAhead, Ready};
pub use reply::{DataReply, NamesReply, Reply};
pub use request::Request;
pub use response::{Name, Names, Response};
pub use server::{Operation, Server};
pub use status::{Failure, Status};
pub use writebehind::WriteBehind;

/// The protocol version both sides speak.
pub const VERSION: u32 = 3;

/// Most bytes of a packet, its length field left out. OpenSSH's limit too.
pub const MAX_PACKET: usize = 256 * 1024;

/// Most bytes of data in a read or write: a packet less what surrounds them,
/// as OpenSSH counts it.
pub const MAX_DATA: u32 = 255 * 1024;

/// Bytes of data in a read or write which every server takes.
pub const SAFE_DATA: u32 = 32 * 1024;

/// Most bytes of a path.
pub const MAX_PATH: usize = 4096;

/// Most bytes of a handle: the draft's limit.
pub const MAX_HANDLE: usize = 256;

/// The least handle that a client names; those that a server gives are below.
pub const NAMED_HANDLES: u64 = 1 << 63;

/// The name of the extension by which a status tells an error number.
pub const ERRNO_EXTENSION: &[u8] = b"errno@qvd";
