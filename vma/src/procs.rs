//! The processes of a session, found in `/proc`.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// The variable that marks every process of a session with its name.
pub const MARK: &str = "QVD_SESSION";

/// All processes below this one, children before theirs.
#[must_use]
pub fn descendants(of: Pid) -> Vec<Pid> {
    let processes: Vec<(Pid, Pid)> = all().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![of];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(
            processes
                .iter()
                .filter(|(_, p)| *p == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.remove(0);
    found
}

/// All processes that carry the mark of this session, but the caller. Those of
/// users whose environment may not be read are not seen.
#[must_use]
pub fn marked(session: &str) -> Vec<Pid> {
    let own = rustix::process::getpid();
    all()
        .filter(|pid| *pid != own && is_marked(*pid, session))
        .collect()
}

/// Whether a process carries the mark of this session.
#[must_use]
pub fn is_marked(pid: Pid, session: &str) -> bool {
    has_variable(pid, MARK, session)
}

/// Whether a process was started with this variable in its environment.
#[must_use]
pub fn has_variable(pid: Pid, name: &str, value: &str) -> bool {
    let variable = format!("{name}={value}");
    fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()))
        .is_ok_and(|e| e.split(|b| *b == 0).any(|v| v == variable.as_bytes()))
}

/// The processes of a group.
#[must_use]
pub fn group(leader: Pid) -> Vec<Pid> {
    all()
        .filter(|pid| stat(*pid).is_some_and(|stat| stat.group == leader.as_raw_nonzero().get()))
        .collect()
}

/// The processes that were started with this variable in their environment,
/// but for those that have left for a session of their own, as daemons do.
#[must_use]
pub fn with_variable(name: &str, value: &str) -> Vec<Pid> {
    all()
        .filter(|pid| has_variable(*pid, name, value))
        .filter(|pid| stat(*pid).is_some_and(|stat| stat.group != stat.session))
        .collect()
}

/// Sends a signal to each of them; who is gone already does not matter.
pub fn signal(pids: &[Pid], signal: Signal) {
    for pid in pids {
        let _ = kill_process(*pid, signal);
    }
}

fn all() -> impl Iterator<Item = Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
}

/// The parent of a process that is not a zombie.
fn parent(pid: Pid) -> Option<Pid> {
    Pid::from_raw(stat(pid)?.parent)
}

struct Stat {
    parent: i32,
    group: i32,
    session: i32,
}

/// Of a process that is not a zombie.
fn stat(pid: Pid) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name in brackets may itself hold brackets and spaces.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    (state != "Z").then_some(Stat {
        parent,
        group,
        session,
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn processes_are_found_by_descent_and_by_mark() {
        let name = format!("test-{}", std::process::id());
        let mut shell = Command::new("/bin/sh")
            .args(["-c", "setsid sleep 60 & echo ready; wait"])
            .env(MARK, &name)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 6];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut line).unwrap();
        let pid = Pid::from_child(&shell);
        assert!(descendants(rustix::process::getpid()).contains(&pid));
        // One that is just being replaced by another program shows no mark.
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut found = marked(&name);
        while found.len() < 2 && Instant::now() < deadline {
            found = marked(&name);
        }
        assert_eq!(
            found.len(),
            2,
            "the shell and its sleep, in another session"
        );
        assert_eq!(descendants(pid).len(), 1);
        assert!(marked("another").is_empty());
        signal(&found, Signal::KILL);
        shell.wait().unwrap();
    }
}
