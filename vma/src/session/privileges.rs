//! From a child of the daemon to a process of the session's user.

use std::ffi::CString;

use anyhow::Context as _;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{
    Gid, Uid, geteuid, getgroups, getpid, getsid, initgroups, setgid, setgroups, setsid, setuid,
};

use crate::control::Launch;

/// Leaves the daemon's terminal and group, enters the control group, and gives
/// up all privileges.
///
/// # Errors
/// When a step fails: the session must not be run with more than its user has.
pub fn become_session(launch: &Launch) -> anyhow::Result<()> {
    // systemd has done so for its services.
    if getsid(None).context("session")? != getpid() {
        setsid().context("new session")?;
    }
    if let Some(cgroup) = &launch.cgroup {
        // "0" is the writer itself.
        std::fs::write(cgroup.join("cgroup.procs"), "0")
            .with_context(|| format!("control group {}", cgroup.display()))?;
    }
    if geteuid().is_root() {
        let user = &launch.user;
        let name = CString::new(user.name.as_str()).context("user name")?;
        let gid = Gid::from_raw(user.gid);
        let mut groups: Vec<Gid> = user.known.iter().copied().map(Gid::from_raw).collect();
        if groups.is_empty() {
            initgroups(&name, gid).with_context(|| format!("groups of {}", user.name))?;
            groups = getgroups().context("groups")?;
        }
        groups.extend(user.groups.iter().copied().map(Gid::from_raw));
        setgroups(&groups).with_context(|| format!("groups of {}", user.name))?;
        setgid(gid).with_context(|| format!("group of {}", user.name))?;
        setuid(Uid::from_raw(user.uid)).with_context(|| format!("user {}", user.name))?;
    } else if geteuid().as_raw() != launch.user.uid {
        anyhow::bail!("cannot become user {} without privileges", launch.user.name);
    }
    umask(Mode::from_bits_truncate(launch.umask));
    // Whatever daemonises itself in the session stays our descendant.
    set_child_subreaper(true).context("subreaper")?;
    let home = &launch.user.home;
    std::env::set_current_dir(home).or_else(|_| std::env::set_current_dir("/"))?;
    Ok(())
}
