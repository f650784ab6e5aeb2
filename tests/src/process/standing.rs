//! What a process that does not end waits for, as the kernel tells.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The threads of a process, and those of all others that cannot be
/// interrupted: one of them may be what it waits for.
pub(super) fn standing(pid: u32) -> String {
    let own = PathBuf::from(format!("/proc/{pid}"));
    let mut told = String::from("it waits:\n");
    tell(&mut told, &own, |_| true);
    told.push_str("cannot be interrupted:\n");
    for process in entries(Path::new("/proc")) {
        if process != own {
            tell(&mut told, &process, |status| status.contains("\nState:\tD"));
        }
    }
    told
}

/// Tells of each thread of a process whose status is as asked for.
fn tell(told: &mut String, process: &Path, wanted: impl Fn(&str) -> bool) {
    for thread in entries(&process.join("task")) {
        let read = |file: &str| fs::read_to_string(thread.join(file)).unwrap_or_default();
        let status = read("status");
        if !wanted(&status) {
            continue;
        }
        let shown = ["Name", "State", "Pid", "PPid", "SigPnd", "ShdPnd", "SigBlk"];
        let named = |line: &&str| {
            line.split_once(':')
                .is_some_and(|(name, _)| shown.contains(&name))
        };
        for line in status.lines().filter(named) {
            let _ = write!(told, "  {}", line.replace('\t', " "));
        }
        let stack = read("stack");
        let calls = stack.lines().filter_map(|line| line.split_once("] "));
        let calls: Vec<_> = calls.map(|(_, call)| call).collect();
        let _ = writeln!(told, "  in {}", calls.join(" < "));
    }
}

/// What is in a folder, of numbers for names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let number = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.parse::<u32>().is_ok()
    };
    paths.filter(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_waits_is_told_of() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let told = standing(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        let own = format!("Pid: {}", child.id());
        assert!(told.contains(&own), "{told}");
        assert!(told.contains("State: "), "{told}");
    }
}
