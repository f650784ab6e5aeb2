//! Running the system's programs: bounded in time and with a clean
//! environment.
//!
//! One must not go on where its daemon was killed, beside what the next daemon
//! does. The parent-death signal sees to it where it can: it is forgotten when
//! a program is given more capabilities than the daemon has. So the next
//! daemon [ends](end_leftovers) whatever carries the mark of the earlier one.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

use crate::procs;
use crate::sys::bind_to_parent;

/// For what takes a moment.
pub const QUICK: Duration = Duration::from_secs(60);

/// For what reads or writes a whole file system. Less than the limit of a
/// provisioning hook, so that the user is told which program it was.
pub const LONG: Duration = Duration::from_secs(540);

/// Where the programs are looked for, and where they look.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variable that marks the programs of an agent.
const MARK: &str = "QVD_PROVISION";

/// The mark's value. One agent is one process.
static AGENT: OnceLock<String> = OnceLock::new();

/// How long killed programs may take to be gone, each.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// What is kept of each stream of a program, in bytes.
const MAX_OUTPUT: usize = 64 * 1024;

/// Longest last words that are passed on, in characters.
const MAX_WORDS: usize = 200;

/// Marks the programs that this agent runs from now on.
pub fn mark(agent: String) {
    // The first word counts: an agent does not change its folder.
    let _ = AGENT.set(agent);
}

/// Ends what an earlier daemon of this agent has left running; how many
/// processes that were.
pub fn end_leftovers() -> usize {
    let Some(agent) = AGENT.get() else { return 0 };
    let left = procs::with_variable(MARK, agent);
    for pid in &left {
        let Ok(watched) = pidfd_open(*pid, PidfdFlags::empty()) else {
            continue;
        };
        // Nobody else has the number meanwhile: it is looked at once more.
        if procs::has_variable(*pid, MARK, agent) {
            let _ = pidfd_send_signal(&watched, Signal::KILL);
            let wait = Timespec::try_from(LAST_BREATH).ok();
            let mut wanted = [PollFd::new(&watched, PollFlags::IN)];
            let _ = poll(&mut wanted, wait.as_ref());
        }
    }
    left.len()
}

/// A program to be run.
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    input: &'static str,
    limit: Duration,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    name: String,
    status: ExitStatus,
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl Program {
    /// A program by its path, or by its name in the system's folders.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            arguments: Vec::new(),
            input: "",
            limit: QUICK,
        }
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// More arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// What it reads. Short: it must fit into a pipe.
    pub fn input(mut self, input: &'static str) -> Self {
        self.input = input;
        self
    }

    /// How long it may take.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Whether it is installed.
    pub fn exists(&self) -> bool {
        let folders = std::env::split_paths(PATH);
        let mut places = folders.map(|folder| folder.join(&self.path));
        places.any(|place| place.is_file())
    }

    /// Runs it; what it ends with is for the caller to judge.
    ///
    /// # Errors
    /// One sentence: it cannot be started, or took too long and was killed
    /// with all that it started.
    pub fn end(self) -> Result<Ended, String> {
        let name = self.path.display().to_string();
        let started = self.start().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => format!("{name} is not installed"),
            _ => format!("{name} cannot be run: {e}"),
        })?;
        let group = Pid::from_child(&started);
        let ended = self.follow(started, &name);
        // Whatever it has left in the background.
        let _ = kill_process_group(group, Signal::KILL);
        ended
    }

    /// Runs it, and takes all but success as an error; gives what it printed.
    ///
    /// # Errors
    /// One sentence with the program's last words.
    pub fn run(self) -> Result<String, String> {
        let ended = self.end()?;
        if ended.status.success() {
            Ok(ended.text())
        } else {
            Err(ended.complaint())
        }
    }

    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .envs(AGENT.get().map(|agent| (MARK, agent)))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = bind_to_parent(&mut command).spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // One that does not read says why by its status.
            let _ = input.write_all(self.input.as_bytes());
        }
        Ok(child)
    }

    /// Reads what it prints until it ends.
    fn follow(&self, mut child: Child, name: &str) -> Result<Ended, String> {
        let fault = |e: io::Error| format!("{name} cannot be followed: {e}");
        let deadline = Instant::now() + self.limit;
        let watched = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        let watched = watched.map_err(|e| fault(e.into()))?;
        let mut output = Stream::new(child.stdout.take().map(OwnedFd::from)).map_err(fault)?;
        let mut errors = Stream::new(child.stderr.take().map(OwnedFd::from)).map_err(fault)?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
                let _ = child.wait();
                let seconds = self.limit.as_secs();
                return Err(format!("{name} took longer than {seconds} s"));
            }
            let timeout = Timespec::try_from(left).map_err(|e| fault(io::Error::other(e)))?;
            let mut wanted = vec![PollFd::from_borrowed_fd(watched.as_fd(), PollFlags::IN)];
            for stream in [&output, &errors].into_iter().filter_map(|s| s.fd.as_ref()) {
                wanted.push(PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN));
            }
            match poll(&mut wanted, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(fault(e.into())),
            }
            let over = wanted.first().is_some_and(|w| !w.revents().is_empty());
            output.take();
            errors.take();
            if over {
                return Ok(Ended {
                    name: name.to_owned(),
                    status: child.wait().map_err(fault)?,
                    output: output.bytes,
                    errors: errors.bytes,
                });
            }
        }
    }
}

impl Ended {
    /// Its exit status; `None` when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// What it printed.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// That it failed, in one sentence with its last words.
    pub fn complaint(&self) -> String {
        let how = match self.status.code() {
            Some(code) => format!("exit status {code}"),
            None => self.status.to_string(),
        };
        let words = [&self.errors, &self.output]
            .into_iter()
            .find_map(|bytes| last_words(bytes));
        match words {
            Some(words) => format!("{} failed: {words} ({how})", self.name),
            None => format!("{} failed: {how}", self.name),
        }
    }
}

/// The last line that says anything.
fn last_words(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let plain = line.chars().filter(|c| !c.is_control());
    Some(plain.take(MAX_WORDS).collect())
}

/// One stream of a program, of which the end is kept.
struct Stream {
    fd: Option<std::fs::File>,
    bytes: Vec<u8>,
}

impl Stream {
    fn new(fd: Option<OwnedFd>) -> io::Result<Self> {
        if let Some(fd) = &fd {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        Ok(Self {
            fd: fd.map(std::fs::File::from),
            bytes: Vec::new(),
        })
    }

    /// Takes what is there.
    fn take(&mut self) {
        let Some(fd) = &mut self.fd else { return };
        let mut buffer = [0; 4096];
        // What was printed while this reads is for the next time.
        for _ in 0..16 {
            match fd.read(&mut buffer) {
                Ok(0) => {
                    self.fd = None;
                    return;
                }
                Ok(read) => {
                    self.bytes.extend(buffer.iter().take(read));
                    let over = self.bytes.len().saturating_sub(MAX_OUTPUT);
                    self.bytes.drain(..over);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.fd = None;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program::new("sh").args(["-c", script])
    }

    #[test]
    fn a_failure_has_the_programs_last_words() {
        let message = shell("echo first >&2; printf 'no \\033room\\n\\n' >&2; exit 3").run();
        assert_eq!(message.unwrap_err(), "sh failed: no room (exit status 3)");
        let message = shell("kill -9 $$").run().unwrap_err();
        assert!(message.contains("signal: 9"), "{message}");
        let message = Program::new("no-such-program").run().unwrap_err();
        assert_eq!(message, "no-such-program is not installed");
    }

    #[test]
    fn a_program_gets_input_and_a_clean_environment_and_may_print_much() {
        let script = "cat; env | sort | cut -d= -f1; yes | head -c 1000000 >&2";
        let printed = shell(script).input("in\n").run().unwrap();
        assert_eq!(printed, "in\nLC_ALL\nPATH\nPWD\n");
    }

    #[test]
    fn what_hangs_is_killed_with_what_it_started() {
        let mark = format!("sleep 60{}", std::process::id());
        let hang = format!("{mark} & {mark}");
        let message = shell(&hang).limit(Duration::from_millis(200)).run();
        assert_eq!(message.unwrap_err(), "sh took longer than 0 s");
        let background = format!("{mark} & exit 0");
        shell(&background).run().unwrap();
        let mark = mark.replace(' ', "\0");
        let alive = || {
            std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
                let command = std::fs::read(entry.path().join("cmdline"));
                command.is_ok_and(|c| String::from_utf8_lossy(&c).starts_with(&mark))
            })
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while alive() && Instant::now() < deadline {
            breathe();
        }
        assert!(!alive());
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "nothing tells that a killed process that is nobody's child has gone"
    )]
    fn breathe() {
        std::thread::sleep(Duration::from_millis(5));
    }
}
