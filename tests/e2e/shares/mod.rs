//! Shared folders over the whole chain: the client shares, the VM mounts.

mod carrier;
mod ends;
mod folders;
mod media;
mod outages;
mod programs;
mod service;
mod stage;
mod users;
