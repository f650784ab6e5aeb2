//! The programs of this workspace put together: agents, a broker and clients,
//! each with a generated configuration in the test's directory.
//!
//! ```text
//! Client ──▶ [FaultProxy] ──▶ Server ──▶ [FaultProxy] ──▶ Agent
//! ```
//!
//! A relay fits wherever an address is handed over: [`Vm::address`],
//! [`Vm::rpc_port`] and [`Vm::x_port`] between broker and agent,
//! [`Login::port`] between client and broker.

mod agent;
mod client;
mod reference;
mod server;

pub use self::agent::{Agent, Desktop, call_at, under_openbox};
pub use self::client::{ENGINE_VARIABLE, Login};
pub use self::reference::{ReferenceAgent, ReferenceBroker, ReferenceClient, tunnel_with};
pub use self::server::{Inventory, Server, User, Vm};

use std::fs;

use crate::{Error, Result};

/// The name of the user who runs the tests.
///
/// # Errors
///
/// When the system's user file does not know it.
pub fn user_name() -> Result<String> {
    let id = rustix::process::geteuid().as_raw().to_string();
    let file = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let lines = file.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines
        .filter_map(|fields| match fields.as_slice() {
            [name, _, user, ..] if *user == id => Some((*name).to_owned()),
            _ => None,
        })
        .next();
    found.ok_or_else(|| Error::Invalid(format!("user {id} is not in /etc/passwd")))
}

/// Lines of a properties file.
fn properties<'a>(keys: impl IntoIterator<Item = (&'a str, String)>) -> String {
    keys.into_iter()
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect()
}

/// Why an agent of the rig starts no session for a user whom the system does
/// not know: it is configured to add nobody.
pub fn unknown_user(name: &str) -> String {
    if rustix::process::geteuid().is_root() {
        "/nonexistent/groupadd is not installed".to_owned()
    } else {
        format!("no such user: {name}")
    }
}
