//! Shared folders over any connected pair of descriptors.
//!
//! - [`serve`] is the sharing end: the SFTP server of one folder, from which
//!   no path, link or race leads out, with several operations at a time.
//! - [`mount`] is the other end: a FUSE file system over a pipelined SFTP
//!   client, on which nothing hangs.
//!
//! Either end works with OpenSSH's `sftp-server` and sshfs in place of the
//! other.

#![deny(unsafe_code)]

mod channel;
pub mod mount;
mod outages;
pub mod serve;
mod sys;

pub use channel::Channel;
pub use outages::Outages;
