//! Finds processes which outlived their test.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::pidfd;
use crate::{Error, Result};

/// The environment variable which everything a test starts inherits. Its value
/// is the test's mark.
pub const MARK_VARIABLE: &str = "QVD_TEST_MARK";

/// A process which carries a test's mark.
#[derive(Clone, Debug)]
pub struct Leftover {
    /// Process id.
    pub pid: u32,
    /// Its command line.
    pub command: String,
}

/// The living processes which carry `mark` in their environment, their command
/// line or their working directory.
///
/// A session is given a clean environment, so the variable alone would miss
/// what runs in it: the mark is part of the test directory's name too, which
/// such a process has in its home, its cookie file's name or its arguments.
pub fn marked(mark: &str) -> Vec<Leftover> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let ids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|pid| *pid != std::process::id() && carries(*pid, mark) && !is_dead(*pid))
        .map(|pid| Leftover {
            pid,
            command: command_line(pid),
        })
        .collect()
}

/// Checks that nothing which carries `mark` remains alive. What is ending is
/// given until `within`, waited for by the event of its end.
///
/// # Errors
///
/// [`Error::LeftRunning`] with the command lines.
pub async fn assert_nothing_left(mark: &str, within: Duration) -> Result<()> {
    let deadline = Instant::now() + within;
    loop {
        let left = marked(mark);
        let Some(first) = left.first() else {
            return Ok(());
        };
        let remaining = deadline.saturating_duration_since(Instant::now());
        if !wait_for_end(first.pid, remaining).await {
            return Err(Error::LeftRunning(
                left.into_iter()
                    .map(|one| format!("{} {}", one.pid, one.command))
                    .collect(),
            ));
        }
    }
}

/// Kills everything which carries `mark`. For the end of a failed test.
pub fn kill_marked(mark: &str) {
    // Twice, since a process may have forked while the list was made.
    for _ in 0..2 {
        for left in marked(mark) {
            if let Some(pid) = i32::try_from(left.pid).ok().and_then(Pid::from_raw) {
                // It may have ended meanwhile, which is what is wanted.
                let _ended = kill_process(pid, Signal::KILL);
            }
        }
    }
}

async fn wait_for_end(pid: u32, within: Duration) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return true;
    };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd::wait_for_end(pidfd, within).await,
        Err(_) => true,
    }
}

fn carries(pid: u32, mark: &str) -> bool {
    let mark = mark.as_bytes();
    let in_file = |name: &str| {
        fs::read(format!("/proc/{pid}/{name}"))
            .is_ok_and(|bytes| bytes.windows(mark.len()).any(|part| part == mark))
    };
    let in_directory = || {
        fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|path| {
            let path = path.as_os_str().as_encoded_bytes();
            path.windows(mark.len()).any(|part| part == mark)
        })
    };
    in_file("environ") || in_file("cmdline") || in_directory()
}

/// Whether the process is gone, or only waits for its parent to notice.
fn is_dead(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    matches!(state, None | Some('Z' | 'X'))
}

fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = bytes
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word))
        .collect();
    words.join(" ").trim_end().to_owned()
}
