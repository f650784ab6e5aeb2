//! Who may use which VM.
//!
//! The server asks through [`Inventory`], so that users and VMs can come from
//! somewhere else than a file. [`FileInventory`] reads one TOML file:
//!
//! ```toml
//! [[user]]
//! login = "ann"
//! # made with `qvd-server hash-password`
//! password = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$7Xk…"
//!
//! # optional: properties of every session of this user
//! [user.properties]
//! "qvd.vm.user.groups" = "audio"
//!
//! [[vm]]
//! id = 1
//! name = "desk"
//! users = ["ann"]
//! address = "10.3.15.7"
//! # the rest is optional; these are the defaults
//! rpc_port = 3030
//! display = 100
//! x_port = 4100            # 4000 + display
//! blocked = false
//! is_application = false
//!
//! # optional: properties of every session on this VM; they win over the
//! # user's, which win over what the client says
//! [vm.properties]
//! "custom.department" = "sales"
//! ```

mod file;
mod parse;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use self::file::FileInventory;
pub use self::parse::parse;

/// Users and VMs, as they are now.
pub trait Inventory: Send + Sync + 'static {
    /// A snapshot: a request is answered from one state of the inventory.
    fn snapshot(&self) -> Arc<Snapshot>;
}

/// One state of the inventory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// By login.
    pub users: BTreeMap<String, Arc<User>>,
    /// By id.
    pub vms: BTreeMap<u64, Arc<Vm>>,
}

impl Snapshot {
    /// The VMs of a user, in order of their ids.
    pub fn vms_of<'a>(&'a self, login: &'a str) -> impl Iterator<Item = &'a Arc<Vm>> {
        self.vms.values().filter(move |vm| vm.is_of(login))
    }
}

/// A user.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    /// The name the user logs in with.
    pub login: String,
    /// The hash of the password.
    pub password: PasswordHash,
    /// Properties of the user's sessions.
    pub properties: BTreeMap<String, String>,
}

/// The argon2 hash of a password, in PHC string format.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub(crate) String);

impl PasswordHash {
    /// The PHC string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// A VM: where its agent is and who may use it.
#[derive(Debug, PartialEq, Eq)]
pub struct Vm {
    /// The number clients connect by.
    pub id: u64,
    /// The name users see.
    pub name: String,
    /// Logins of those who may use it.
    pub users: Vec<String>,
    /// Address or host name.
    pub address: String,
    /// TCP port of the agent's RPC.
    pub rpc_port: u16,
    /// What its agent asks of its callers.
    pub rpc: crate::agent::Way,
    /// TCP port of the session.
    pub x_port: u16,
    /// Whether connecting is refused for now.
    pub blocked: bool,
    /// Whether it shows one application instead of a desktop.
    pub is_application: bool,
    /// Properties of the sessions on this VM.
    pub properties: BTreeMap<String, String>,
}

impl Vm {
    /// Whether the user may use it.
    #[must_use]
    pub fn is_of(&self, login: &str) -> bool {
        self.users.iter().any(|user| user == login)
    }
}
