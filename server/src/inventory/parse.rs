use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use argon2::password_hash::phc;
use serde::Deserialize;
use toml::Spanned;

use crate::agent::{Tls, Way};

use super::{PasswordHash, Snapshot, User, Vm};
use crate::Error;

/// Port of an agent's RPC unless the inventory says otherwise.
const RPC_PORT: u16 = 3030;

/// Number of nxagent's display unless the inventory says otherwise.
const DISPLAY: u16 = 100;

/// nxagent's NX port is this many above its display.
const X_PORT_BASE: u16 = 4000;

/// Most bytes of an inventory file.
pub(super) const MAX_FILE: u64 = 64 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    user: Vec<UserTable>,
    #[serde(default)]
    vm: Vec<VmTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserTable {
    login: Spanned<String>,
    password: Spanned<String>,
    #[serde(default)]
    properties: BTreeMap<Spanned<String>, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VmTable {
    id: Spanned<u64>,
    name: Spanned<String>,
    users: Vec<Spanned<String>>,
    address: Spanned<String>,
    rpc_port: Option<u16>,
    rpc_key_file: Option<PathBuf>,
    rpc_tls: Option<Spanned<Tls>>,
    x_port: Option<u16>,
    display: Option<Spanned<u16>>,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    is_application: bool,
    #[serde(default)]
    properties: BTreeMap<Spanned<String>, String>,
}

/// Reads the text of an inventory; `file` names it in errors.
///
/// # Errors
/// [`Error::Inventory`] with the line of the first fault.
pub fn parse(text: &str, file: &Path) -> Result<Snapshot, Error> {
    let reader = Reader { text, file };
    let document: Document = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        reader.error(at, error.message())
    })?;
    let mut snapshot = Snapshot::default();
    for table in document.user {
        let user = reader.user(table, &snapshot)?;
        snapshot.users.insert(user.login.clone(), Arc::new(user));
    }
    for table in document.vm {
        let vm = reader.vm(table, &snapshot)?;
        snapshot.vms.insert(vm.id, Arc::new(vm));
    }
    Ok(snapshot)
}

struct Reader<'a> {
    text: &'a str,
    file: &'a Path,
}

impl Reader<'_> {
    fn user(&self, table: UserTable, earlier: &Snapshot) -> Result<User, Error> {
        let at = table.login.span().start;
        let login = table.login.into_inner();
        if login.is_empty() || login.contains(':') || login.chars().any(char::is_control) {
            return Err(self.error(at, "login is empty, or has a colon or a control character"));
        }
        if earlier.users.contains_key(&login) {
            return Err(self.error(at, &format!("user {login} is defined twice")));
        }
        let hash = table.password.get_ref();
        if !phc::PasswordHash::new(hash)
            .is_ok_and(|hash| hash.algorithm.as_str().starts_with("argon2"))
        {
            let reason = format!(
                "password of user {login} is not an argon2 hash: make one with hash-password"
            );
            return Err(self.error(table.password.span().start, &reason));
        }
        Ok(User {
            properties: self.properties(table.properties)?,
            password: PasswordHash(table.password.into_inner()),
            login,
        })
    }

    fn vm(&self, table: VmTable, earlier: &Snapshot) -> Result<Vm, Error> {
        let at = table.id.span().start;
        let id = table.id.into_inner();
        if earlier.vms.contains_key(&id) {
            return Err(self.error(at, &format!("vm {id} is defined twice")));
        }
        for user in &table.users {
            if !earlier.users.contains_key(user.get_ref()) {
                let reason = format!("vm {id} is of user {}, who is not defined", user.get_ref());
                return Err(self.error(user.span().start, &reason));
            }
        }
        if table.address.get_ref().is_empty() {
            return Err(self.error(
                table.address.span().start,
                &format!("vm {id} has no address"),
            ));
        }
        if table.name.get_ref().is_empty() {
            return Err(self.error(table.name.span().start, &format!("vm {id} has no name")));
        }
        let display_port = match table.display {
            None => X_PORT_BASE + DISPLAY,
            Some(display) => X_PORT_BASE.checked_add(*display.get_ref()).ok_or_else(|| {
                self.error(display.span().start, &format!("vm {id}: no such display"))
            })?,
        };
        Ok(Vm {
            id,
            name: table.name.into_inner(),
            users: table.users.into_iter().map(Spanned::into_inner).collect(),
            address: table.address.into_inner(),
            rpc_port: table.rpc_port.unwrap_or(RPC_PORT),
            rpc: Way {
                key_file: table.rpc_key_file,
                tls: table.rpc_tls.map(|tls| self.tls(id, tls)).transpose()?,
            },
            x_port: table.x_port.unwrap_or(display_port),
            blocked: table.blocked,
            is_application: table.is_application,
            properties: self.properties(table.properties)?,
        })
    }

    fn tls(&self, vm: u64, tls: Spanned<Tls>) -> Result<Tls, Error> {
        let at = tls.span().start;
        let tls = tls.into_inner();
        if tls.cert.is_some() != tls.key.is_some() {
            return Err(self.error(at, &format!("vm {vm}: cert and key go together")));
        }
        Ok(tls)
    }

    fn properties(
        &self,
        table: BTreeMap<Spanned<String>, String>,
    ) -> Result<BTreeMap<String, String>, Error> {
        table
            .into_iter()
            .map(|(key, value)| {
                if key.get_ref().starts_with("qvd.slave.") {
                    let reason = format!("property {} is set by the server", key.get_ref());
                    return Err(self.error(key.span().start, &reason));
                }
                Ok((key.into_inner(), value))
            })
            .collect()
    }

    fn error(&self, at: usize, reason: &str) -> Error {
        let before = self.text.get(..at).unwrap_or_default();
        Error::Inventory {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            // toml's messages may have several lines.
            reason: reason.lines().map(str::trim).collect::<Vec<_>>().join("; "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$\
                        QQ0AAZEWy0Bu6Cf61ZVqf9rj65fJKiqUFiF2RH8+zOI";

    fn read(text: &str) -> Result<Snapshot, String> {
        let text = text.replace("HASH", HASH);
        parse(&text, Path::new("inventory.toml")).map_err(|e| e.to_string())
    }

    const SMALL: &str = r#"
[[user]]
login = "ann"
password = "HASH"
properties = { "qvd.vm.user.groups" = "audio" }

[[vm]]
id = 1
name = "desk"
users = ["ann"]
address = "10.3.15.7"
"#;

    #[test]
    fn defaults_are_the_ports_of_display_100() {
        let snapshot = read(SMALL).unwrap();
        let vm = snapshot.vms_of("ann").next().unwrap();
        assert_eq!((vm.rpc_port, vm.x_port), (3030, 4100));
        assert!(!vm.blocked && !vm.is_application);
        assert!(snapshot.vms_of("anne").next().is_none());
        assert_eq!(
            snapshot.users["ann"].properties["qvd.vm.user.groups"],
            "audio"
        );
    }

    #[test]
    fn the_x_port_follows_the_display_unless_given() {
        let with = |more: &str| read(&format!("{SMALL}{more}\n")).unwrap().vms[&1].x_port;
        assert_eq!(with("display = 7"), 4007);
        assert_eq!(with("display = 7\nx_port = 5000"), 5000);
    }

    #[test]
    fn faults_are_named_with_their_line() {
        for (text, expected) in [
            ("x = ", "inventory.toml:1: "),
            (
                "\n[[user]]\nlogin = \"a\"\n",
                "inventory.toml:2: missing field `password`",
            ),
            (
                "[[user]]\nlogin = \"a:b\"\npassword = \"HASH\"",
                "inventory.toml:2: login is empty",
            ),
            (
                "[[user]]\nlogin = \"a\"\npassword = \"plain\"",
                "inventory.toml:3: password of user a is not an argon2 hash",
            ),
            (
                "[[vm]]\nid = 1\nname = \"n\"\nusers = [\"bob\"]\naddress = \"h\"",
                "inventory.toml:4: vm 1 is of user bob, who is not defined",
            ),
            (
                "[[vm]]\nid = 1\nname = \"n\"\nusers = []\naddress = \"h\"\ncolour = 1",
                "inventory.toml:6: unknown field `colour`",
            ),
            (
                "[[vm]]\nid = 1\nname = \"n\"\nusers = []\naddress = \"h\"\nrpc_tls = { ca = \"/c\", key = \"/k\" }",
                "inventory.toml:6: vm 1: cert and key go together",
            ),
            (
                "[[vm]]\nid = 1\nname = \"n\"\nusers = []\naddress = \"h\"\ndisplay = 65000",
                "inventory.toml:6: vm 1: no such display",
            ),
            (
                "[[vm]]\nid = 1\nname = \"n\"\nusers = []\naddress = \"h\"\nproperties = { \"qvd.slave.key\" = \"x\" }",
                "inventory.toml:6: property qvd.slave.key is set by the server",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.starts_with(&format!("inventory {expected}")),
                "{error}"
            );
            assert!(!error.contains('\n'), "{error}");
        }
        let error = read(&format!("{SMALL}{SMALL}")).unwrap_err();
        assert!(error.contains("user ann is defined twice"), "{error}");
    }

    #[test]
    fn hashes_stay_out_of_debug_output() {
        assert!(!format!("{:?}", read(SMALL).unwrap()).contains("argon2"));
    }
}
