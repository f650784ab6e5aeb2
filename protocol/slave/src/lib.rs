//! The slave channel: what client and VM ask of each other beside the
//! desktop, without I/O.
//!
//! Each connection carries one request. [`VmRequest`] goes from the client to
//! the VM's slave server: share a folder, fetch a folder, open a file.
//! [`ClientRequest`] goes from the VM to the client's slave server: print,
//! connect to an announced port. Both are read from and written as heads of
//! [`qvd_http1`].
//!
//! Paths are raw bytes on the line, as the reference sends them: neither
//! percent-encoded nor decoded. [`mount_name`] is the one place that makes a
//! directory name of what a peer sent.

#![forbid(unsafe_code)]

mod client;
mod error;
mod key;
mod name;
mod vm;

pub use client::{ClientRequest, is_printer};
pub use error::Error;
pub use key::Key;
pub use name::{MAX_NAME, ROOT_NAME, mount_name};
pub use vm::VmRequest;

/// The protocol of a shared folder, as in `Upgrade: qvd:sftp/1.0`.
pub const SFTP: &str = "qvd:sftp/1.0";

/// The protocol of a USB device, as in `Upgrade: qvd:usbip/1.0`.
pub const USBIP: &str = "qvd:usbip/1.0";

/// The header with the name a shared folder is mounted under.
pub const TICKET: &str = "X-QVD-Share-Ticket";

/// Most bytes of a path in a request: `PATH_MAX` of Linux.
pub const MAX_PATH: usize = 4096;

/// Largest body of a request that has none to speak of. Print jobs are read
/// by their own limit.
pub const MAX_BODY: usize = 64 * 1024;
