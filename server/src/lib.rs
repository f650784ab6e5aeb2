//! The QVD broker (L7R): authenticates users and joins them to their VMs.
//!
//! One task per client connection speaks the dialogue ([`serve`] accepts it,
//! then requests are answered in order); `connect_to_vm` takes the VM over
//! from a contending connection, starts its session by the agent, answers 101
//! and leaves the connection to a small task that only relays bytes.
//!
//! | module | concern |
//! |---|---|
//! | [`settings`] | the configuration file |
//! | [`inventory`] | users and VMs, behind a trait |
//! | [`auth`] | passwords, tokens, throttling |
//! | [`tls`] | the certificate |
//! | [`serve`] | listening, signals, reloading, draining |
//! | `dialogue` | one client's requests |
//! | `connect`, `stop` | what two of them take |
//! | [`agent`] | calls to the agent in a VM |
//! | [`takeover`] | one connection per VM |
//! | `tunnel` | a joined session |
//! | [`counters`] | numbers |
//! | [`cli`] | the command line |

#![forbid(unsafe_code)]

pub mod agent;
pub mod auth;
pub mod broker;
pub mod cli;
mod connect;
pub mod counters;
mod dialogue;
mod error;
pub mod inventory;
pub mod log;
mod metrics;
mod ready;
pub mod serve;
pub mod settings;
mod stop;
mod stream;
pub mod takeover;
pub mod tls;
mod tunnel;
mod watch;

pub use broker::Broker;
pub use error::Error;
