//! Shared folders over the whole chain: the client shares, the VM mounts.

mod folders;
mod service;
mod stage;
