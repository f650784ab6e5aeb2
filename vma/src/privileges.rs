//! What the daemon may do: as which user it runs, and which of root's
//! capabilities it keeps.
//!
//! The set that is in force in the daemon is small. Programs that it starts as root (hooks,
//! useradd, mount, the session process until it has become its user) get
//! root's whole set again when they are executed, so the bounding set is left
//! alone, and `no_new_privs` is not set: both would be inherited by the user's
//! desktop, where sudo and ping are to work as on any machine.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::Path;

use anyhow::Context as _;
use nix::unistd::{Gid, Uid, geteuid, initgroups, setgid, setuid};
use qvd_config::VmaConfig;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use uzers::os::unix::UserExt as _;

/// What the daemon itself does as root, and needs a capability for.
const KEPT: CapabilitySet = CapabilitySet::empty()
    // Gives the session's folder to its user.
    .union(CapabilitySet::CHOWN)
    // Removes that folder, which is the user's alone.
    .union(CapabilitySet::DAC_OVERRIDE)
    // Removes the X socket, the user's, from /tmp/.X11-unix.
    .union(CapabilitySet::FOWNER)
    // Ends what is left of a session.
    .union(CapabilitySet::KILL)
    // Finds what is left of a session by the mark in its environment.
    .union(CapabilitySet::SYS_PTRACE)
    // Starts programs as the session's user.
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    // Listens on a low port, if it is configured to.
    .union(CapabilitySet::NET_BIND_SERVICE);

/// Becomes the user of the configuration, or gives up the capabilities that
/// are not needed. Before any thread is started: each has its own set.
///
/// # Errors
/// When there is no such user, or this process may not become him.
pub fn assume(config: &VmaConfig) -> anyhow::Result<()> {
    let process = &config.process;
    let name = process
        .as_user
        .as_ref()
        .map(qvd_config::value::UserName::as_str);
    match name {
        Some(name) if name != "root" => become_user(name, config),
        _ => {
            if let Some(group) = &process.as_group {
                become_group(group.as_str())?;
            }
            give_up().context("capabilities")
        }
    }
}

fn become_group(name: &str) -> anyhow::Result<Gid> {
    let group = uzers::get_group_by_name(name)
        .with_context(|| format!("vma.as_group: no such group: {name}"))?;
    let gid = Gid::from_raw(group.gid());
    if nix::unistd::getegid() != gid {
        setgid(gid).with_context(|| format!("vma.as_group: cannot become group {name}"))?;
    }
    Ok(gid)
}

fn become_user(name: &str, config: &VmaConfig) -> anyhow::Result<()> {
    let user = uzers::get_user_by_name(name)
        .with_context(|| format!("vma.as_user: no such user: {name}"))?;
    let uid = Uid::from_raw(user.uid());
    if geteuid() == uid {
        return Ok(());
    }
    if !geteuid().is_root() {
        anyhow::bail!("vma.as_user: cannot become user {name} without being root");
    }
    let gid = match &config.process.as_group {
        Some(group) => become_group(group.as_str())?,
        None => Gid::from_raw(user.primary_group_id()),
    };
    provide(config, uid, gid)?;
    let steps = || -> nix::Result<()> {
        let name = CString::new(name).map_err(|_| nix::Error::EINVAL)?;
        initgroups(&name, gid)?;
        setgid(gid)?;
        setuid(uid)
    };
    steps().with_context(|| format!("vma.as_user: cannot become user {name}"))?;
    // A folder of root's may not be readable for the user.
    let _ = std::env::set_current_dir(user.home_dir()).or_else(|_| std::env::set_current_dir("/"));
    Ok(())
}

/// Makes the folders that the user is going to write to and that are not there
/// yet: he could not.
fn provide(config: &VmaConfig, uid: Uid, gid: Gid) -> anyhow::Result<()> {
    let process = &config.process;
    let log_folder = config.log.filename.as_deref().and_then(Path::parent);
    let pid_folder = process.pid_file.as_deref().and_then(Path::parent);
    let folders = [Some(process.run.as_path()), log_folder, pid_folder];
    for folder in folders.into_iter().flatten() {
        provide_folder(folder, uid, gid).with_context(|| folder.display().to_string())?;
    }
    Ok(())
}

fn provide_folder(folder: &Path, uid: Uid, gid: Gid) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o755).create(folder) {
        Ok(()) => chown(folder, Some(uid.as_raw()), Some(gid.as_raw())),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

/// Puts every capability but the kept ones out of force, and passes none on.
///
/// They stay permitted: a program executed as root gets them all in any case,
/// and one that gains some by its execution loses its parent-death signal
/// (prctl(2)), so that hooks would outlive a daemon that is killed.
fn give_up() -> io::Result<()> {
    let own = capabilities(None)?;
    set_capabilities(
        None,
        CapabilitySets {
            effective: own.permitted & KEPT,
            permitted: own.permitted,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_kept_is_left() {
        // A thread has a set of its own; the test's other threads keep theirs.
        std::thread::spawn(|| {
            give_up().unwrap();
            let left = capabilities(None).unwrap();
            assert!(KEPT.contains(left.effective), "{left:?}");
            assert!(left.inheritable.is_empty(), "{left:?}");
            assert!(!left.effective.contains(CapabilitySet::SYS_ADMIN));
        })
        .join()
        .unwrap();
    }
}
