//! Shared folders over the whole chain: the client shares, the VM mounts.

mod carrier;
pub(crate) mod copies;
mod ends;
mod folders;
mod media;
mod outages;
mod programs;
mod service;
pub(crate) mod stage;
mod users;
