//! The user of a session, looked up where the system looks users up, and made
//! where it knows none.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, getgrouplist};
use qvd_config::VmaConfig;

use super::account::{Account, LOWEST_ID, NO_ID};
use super::journal::{Journal, Step};
use super::program::Program;
use crate::control::User;

/// Finds a user; `None` when the system knows none of that name.
///
/// # Errors
/// When the agent has no privileges and is not that user, or the system could
/// not find out: a user whose directory does not answer must not be made anew.
pub fn find(name: &str) -> Result<Option<User>, String> {
    let own = rustix::process::geteuid();
    let found = answer(nix::unistd::User::from_name(name), "user", name)?;
    let other = |user: &nix::unistd::User| user.uid.as_raw() != own.as_raw();
    if !own.is_root() && found.as_ref().is_some_and(other) {
        return Err(format!(
            "the agent runs without privileges and cannot start a session for user {name}"
        ));
    }
    Ok(found.map(|user| User {
        name: name.to_owned(),
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        known: Vec::new(),
        groups: Vec::new(),
        home: user.dir,
        shell: user.shell,
    }))
}

/// What the name service says.
fn answer<T>(
    found: Result<Option<T>, Errno>,
    what: &str,
    name: impl std::fmt::Display,
) -> Result<Option<T>, String> {
    match found {
        // "no such entry", by a service that has no better way to say it.
        Err(Errno::ESRCH) => Ok(None),
        other => other.map_err(|e| format!("{what} {name} cannot be looked up: {}", e.desc())),
    }
}

fn group(name: &str) -> Result<Option<Group>, String> {
    answer(Group::from_name(name), "group", name)
}

/// Makes a user, without home.
///
/// # Errors
/// One sentence. What is half made is in the journal.
pub fn make(config: &VmaConfig, account: &Account, journal: &mut Journal) -> Result<User, String> {
    Plan::of(account)?.carry_out(config, account, journal)
}

/// Removes a user or group that was left half made.
///
/// # Errors
/// One sentence.
pub fn undo(config: &VmaConfig, step: &Step) -> Result<(), String> {
    let command = &config.command;
    let (program, name) = match step {
        Step::User { name } if find(name)?.is_some() => (&command.userdel, name),
        // userdel removes a group of the user's name itself.
        Step::Group { name } if group(name)?.is_some() => (&command.groupdel, name),
        _ => return Ok(()),
    };
    tracing::warn!("removing {name}, who was not added whole");
    Program::new(program.as_path()).arg(name.as_str()).run()?;
    Ok(())
}

/// How a user is to be made.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    uid: Option<u32>,
    /// Name of the primary group.
    group: String,
    /// Whether that group is to be made, and with which id.
    new_group: Option<Option<u32>>,
}

impl Plan {
    fn of(account: &Account) -> Result<Self, String> {
        let name = &account.name;
        for other in &account.groups {
            if group(other)?.is_none() {
                return Err(format!(
                    "user {name} cannot be added: no such group: {other}"
                ));
            }
        }
        // A home that outlived the user: on a drive, while the rest of the VM
        // begins anew each time. The user gets his old ids.
        let owner = fs::metadata(&account.home).ok();
        let owner = owner.map(|home| (home.uid(), home.gid()));
        let uid = match (account.uid, owner) {
            (Some(uid), _) => {
                if let Some(other) = user_of(uid)? {
                    let id = format!("id {uid} belongs to {other}");
                    return Err(format!("user {name} cannot be added: {id}"));
                }
                Some(uid)
            }
            (None, Some((uid, _))) if is_free(uid) && user_of(uid)?.is_none() => Some(uid),
            (None, _) => None,
        };
        let primary = account.primary();
        let (group, new_group) = match (group(primary)?, account.gid) {
            (Some(known), Some(gid)) if known.gid.as_raw() != gid => {
                let ids = format!("group {primary} has id {}, not {gid}", known.gid);
                return Err(format!("user {name} cannot be added: {ids}"));
            }
            (Some(_), _) => (primary.to_owned(), None),
            (None, Some(gid)) => match group_of(gid)? {
                // Only its id was asked for.
                Some(known) if account.group.is_none() => (known, None),
                Some(known) => {
                    let id = format!("group id {gid} belongs to {known}, not {primary}");
                    return Err(format!("user {name} cannot be added: {id}"));
                }
                None => (primary.to_owned(), Some(Some(gid))),
            },
            (None, None) => {
                let old = owner.map(|(_, gid)| gid).filter(|gid| is_free(*gid));
                let free = match old {
                    Some(gid) if group_of(gid)?.is_none() => Some(gid),
                    _ => None,
                };
                (primary.to_owned(), Some(free))
            }
        };
        Ok(Self {
            uid,
            group,
            new_group,
        })
    }

    fn carry_out(
        &self,
        config: &VmaConfig,
        account: &Account,
        journal: &mut Journal,
    ) -> Result<User, String> {
        let command = &config.command;
        if let Some(gid) = self.new_group {
            journal.begin(Step::Group {
                name: self.group.clone(),
            })?;
            let mut groupadd = Program::new(command.groupadd.as_path());
            if let Some(gid) = gid {
                groupadd = groupadd.args(["-g", &gid.to_string()]);
            }
            groupadd.arg(self.group.as_str()).run()?;
        }
        journal.begin(Step::User {
            name: account.name.clone(),
        })?;
        // The home is made when the user is there, and whole or not at all.
        let mut useradd = Program::new(command.useradd.as_path())
            .args(["-M", "-d"])
            .arg(account.home.as_os_str())
            .args(["-g", &self.group, "-s"])
            .arg(config.user.shell.as_os_str());
        if !account.groups.is_empty() {
            useradd = useradd.args(["-G", &account.groups.join(",")]);
        }
        if let Some(uid) = self.uid {
            useradd = useradd.args(["-u", &uid.to_string()]);
        }
        useradd.arg(account.name.as_str()).run()?;
        find(&account.name)?.ok_or_else(|| {
            format!(
                "{} has added user {}, whom the system does not know",
                command.useradd.as_path().display(),
                account.name
            )
        })
    }
}

fn is_free(id: u32) -> bool {
    id >= LOWEST_ID && !NO_ID.contains(&id)
}

/// Name of the user with an id.
fn user_of(uid: u32) -> Result<Option<String>, String> {
    let found = nix::unistd::User::from_uid(Uid::from_raw(uid));
    Ok(answer(found, "user id", uid)?.map(|user| user.name))
}

/// Name of the group with an id.
fn group_of(gid: u32) -> Result<Option<String>, String> {
    let found = Group::from_gid(Gid::from_raw(gid));
    Ok(answer(found, "group id", gid)?.map(|group| group.name))
}

/// The groups that the system knows a user in, his own among them.
///
/// # Errors
/// One sentence.
pub fn known_groups(user: &User) -> Result<Vec<u32>, String> {
    let fault = |e: &dyn std::fmt::Display| format!("groups of {}: {e}", user.name);
    let name = CString::new(user.name.as_str()).map_err(|e| fault(&e))?;
    let groups = getgrouplist(&name, Gid::from_raw(user.gid)).map_err(|e| fault(&e.desc()))?;
    Ok(groups.into_iter().map(Gid::as_raw).collect())
}

/// Ids of the groups that the broker names and the system does not know the
/// user in. They are the session's alone: what the account database says of a
/// user who exists is its administrator's.
///
/// # Errors
/// One sentence.
pub fn further_groups(account: &Account, user: &User) -> Result<Vec<u32>, String> {
    let mut further = Vec::new();
    for name in &account.groups {
        match group(name)? {
            Some(group) if group.gid.as_raw() == 0 => {
                tracing::warn!(user = user.name, "not put into group {name}");
            }
            Some(group) if !user.known.contains(&group.gid.as_raw()) => {
                further.push(group.gid.as_raw());
            }
            Some(_) => {}
            None => tracing::warn!(user = user.name, "no such group: {name}"),
        }
    }
    Ok(further)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(uid: Option<u32>, gid: Option<u32>, group: Option<&str>) -> Account {
        Account {
            name: "qvdnobodyhas".into(),
            uid,
            gid,
            group: group.map(str::to_owned),
            groups: Vec::new(),
            home: "/nonexistent".into(),
        }
    }

    #[test]
    fn known_users_are_found_and_unknown_ones_are_not_an_error() {
        let own = rustix::process::geteuid();
        let name = nix::unistd::User::from_uid(Uid::from_raw(own.as_raw()));
        let name = name.unwrap().unwrap().name;
        assert_eq!(find(&name).unwrap().unwrap().uid, own.as_raw());
        assert_eq!(find("qvdnobodyhas"), Ok(None));
        assert!(answer::<()>(Err(Errno::EIO), "user", "ann").is_err());
        assert_eq!(answer::<()>(Err(Errno::ESRCH), "user", "ann"), Ok(None));
    }

    #[test]
    fn ids_of_others_are_refused_and_a_group_by_its_id_is_taken() {
        let daemon = nix::unistd::User::from_name("daemon").unwrap().unwrap();
        let message = Plan::of(&account(Some(daemon.uid.as_raw()), None, None)).unwrap_err();
        assert!(message.contains("belongs to daemon"), "{message}");
        let users = Group::from_name("users").unwrap().unwrap().gid.as_raw();
        let message = Plan::of(&account(None, Some(users), Some("qvdnew"))).unwrap_err();
        assert!(message.contains("belongs to users"), "{message}");
        let message = Plan::of(&account(None, Some(users + 1), Some("users"))).unwrap_err();
        assert!(message.contains("group users has id"), "{message}");
        let by_id = Plan::of(&account(None, Some(users), None)).unwrap();
        assert_eq!((by_id.group.as_str(), by_id.new_group), ("users", None));
        let plain = Plan::of(&account(None, None, None)).unwrap();
        assert_eq!(plain.group, "qvdnobodyhas");
        assert_eq!((plain.uid, plain.new_group), (None, Some(None)));
        let mut stranger = account(None, None, None);
        stranger.groups = vec!["users".into(), "qvdnosuchgroup".into()];
        let message = Plan::of(&stranger).unwrap_err();
        assert!(
            message.contains("no such group: qvdnosuchgroup"),
            "{message}"
        );
    }
}
