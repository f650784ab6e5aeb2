//! Shared folders with real mounts, beside OpenSSH's `sftp-server` and sshfs
//! in every pairing.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod chaos;
mod conform;
mod differ;
mod ends;
mod escape;
mod fsx;
mod pairings;
mod pipeline;
mod posix;
mod programs;
mod raw;
mod rig;
