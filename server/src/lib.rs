//! The QVD broker (L7R).
//!
//! Clients log in, list their VMs and are joined to the session of one. The
//! wire is in the protocol crates; here is who may do what ([`inventory`],
//! [`auth`]), the way to a session ([`connect`], [`agent`]), who holds which VM
//! ([`registry`]), and the connections themselves ([`dialogue`], [`serve`]).

#![forbid(unsafe_code)]

pub mod agent;
pub mod auth;
pub mod connect;
pub mod counters;
pub mod dialogue;
mod error;
pub mod inventory;
pub mod registry;
pub mod serve;
pub mod settings;
pub mod tls;
pub mod watch;

pub use error::Error;
