//! Programs that a test runs: their output as events, signals, and their end.

mod leftover;
mod log;
mod pidfd;
mod standing;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};

pub use self::leftover::{Leftover, MARK_VARIABLE, assert_nothing_left, kill_marked, marked};
pub use self::log::{Line, Log, Stream};
use crate::error::Doing as _;
use crate::{Error, Result};

/// A program about to be run, with an environment that has nothing in it but
/// what was put there.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    name: String,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    input: Option<PathBuf>,
}

impl Program {
    /// The program at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned();
        Self {
            path,
            name,
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            input: None,
        }
    }

    /// The program `name` of the system, from Debian's `package`.
    ///
    /// # Errors
    ///
    /// [`Error::NotInstalled`] says what to install.
    pub fn installed(name: &str, package: &str) -> Result<Self> {
        match find_in_path(name) {
            Some(path) => Ok(Self::at(path)),
            None => Err(Error::NotInstalled {
                program: name.into(),
                package: package.into(),
            }),
        }
    }

    /// Calls it `name` in logs, to tell two of a kind apart.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|one| one.as_ref().to_owned()));
        self
    }

    /// Has `wrapper` run it, as its last arguments, and in its own environment.
    #[must_use]
    pub fn under(self, wrapper: Self) -> Self {
        Self {
            path: wrapper.path,
            arguments: wrapper
                .arguments
                .into_iter()
                .chain([self.path.into_os_string()])
                .chain(self.arguments)
                .collect(),
            ..self
        }
    }

    /// Sets one variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets its working directory.
    #[must_use]
    pub fn directory(mut self, path: impl AsRef<Path>) -> Self {
        self.directory = Some(path.as_ref().to_owned());
        self
    }

    /// Has it read this file as its standard input.
    #[must_use]
    pub fn input(mut self, path: impl Into<PathBuf>) -> Self {
        self.input = Some(path.into());
        self
    }

    /// Starts it in a process group of its own, to be killed when the calling
    /// thread ends, however that happens. Its standard input is empty, unless a
    /// file was named for it.
    ///
    /// # Errors
    ///
    /// When it cannot be run.
    pub fn start(self) -> Result<Process> {
        // setpriv is part of Debian's base system, keeps the process id, and
        // saves this crate the unsafe code between fork and exec.
        let setpriv = find_in_path("setpriv").ok_or_else(|| Error::NotInstalled {
            program: "setpriv".into(),
            package: "util-linux".into(),
        })?;
        let mut command = Command::new(setpriv);
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.path)
            .args(&self.arguments);
        command.env_clear().envs(self.environment);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let input = match &self.input {
            Some(path) => File::open(path)
                .doing(|| format!("opening {}", path.display()))?
                .into(),
            None => Stdio::null(),
        };
        command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.process_group(0);

        let log = Log::new(&self.name);
        let mut child = command
            .spawn()
            .doing(|| format!("running {}", self.path.display()))?;
        if let Some(out) = child.stdout.take() {
            log.follow(Stream::Out, out);
        }
        if let Some(err) = child.stderr.take() {
            log.follow(Stream::Err, err);
        }
        // From here on the child is ended by the drop of `running`.
        let mut running = Process {
            child,
            log,
            pidfd: None,
        };
        let pidfd = pidfd_open(running.raw_pid()?, PidfdFlags::empty());
        running.pidfd = Some(pidfd.doing(|| format!("watching {}", running.log.name()))?);
        Ok(running)
    }
}

/// A running program. Dropping it kills its process group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: Log,
    pidfd: Option<OwnedFd>,
}

impl Process {
    /// Process id; also the id of its process group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Waits for a line which contains `text`, from the start of the output.
    ///
    /// # Errors
    ///
    /// As [`Log::wait_for`].
    pub async fn expect(&self, text: &str, within: Duration) -> Result<Line> {
        self.expect_after(0, text, within).await
    }

    /// Waits for a line which contains `text`, written at or after `position`
    /// (see [`Log::position`]).
    ///
    /// # Errors
    ///
    /// As [`Log::wait_for`].
    pub async fn expect_after(
        &self,
        position: usize,
        text: &str,
        within: Duration,
    ) -> Result<Line> {
        let what = format!("a line with '{text}'");
        self.log
            .wait_for(position, &what, within, |line| line.text.contains(text))
            .await
    }

    /// Sends a signal to the program alone.
    ///
    /// # Errors
    ///
    /// When it has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.raw_pid()?, signal)
            .doing(|| format!("sending {signal:?} to {}", self.log.name()))
    }

    /// Sends a signal to the program's whole process group.
    ///
    /// # Errors
    ///
    /// When nothing of it is left.
    pub fn signal_group(&self, signal: Signal) -> Result<()> {
        kill_process_group(self.raw_pid()?, signal)
            .doing(|| format!("sending {signal:?} to the group of {}", self.log.name()))
    }

    /// Whether it runs still.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] with its last lines.
    pub async fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let name = self.log.name().to_owned();
        if let Some(status) = self
            .child
            .try_wait()
            .doing(|| format!("waiting for {name}"))?
        {
            return Ok(status);
        }
        if let Some(pidfd) = &self.pidfd {
            let pidfd = pidfd.try_clone().doing(|| format!("watching {name}"))?;
            if !pidfd::wait_for_end(pidfd, within).await {
                return Err(Error::Deadline {
                    what: format!("the end of {name}"),
                    limit: within,
                    context: format!("{}{}", standing::standing(self.pid()), self.log.tail()),
                });
            }
        }
        self.child.wait().doing(|| format!("waiting for {name}"))
    }

    /// Asks it to end (TERM) and waits; kills its group if it does not.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] when it had to be killed.
    pub async fn stop(mut self, within: Duration) -> Result<ExitStatus> {
        // It may have ended meanwhile; the wait tells.
        let _ended = self.signal(Signal::TERM);
        self.wait(within).await
    }

    fn raw_pid(&self) -> Result<Pid> {
        i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| Error::Invalid(format!("process id {} out of range", self.child.id())))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group can outlive its leader, so it is killed in any case.
        if let Ok(pid) = self.raw_pid() {
            let _ended = kill_process_group(pid, Signal::KILL);
        }
        let _status = self.child.wait();
    }
}

/// The executable `name` in the directories of `PATH`.
pub fn find_in_path(name: &str) -> Option<PathBuf> {
    // Debian keeps nginx, for one, where only root's PATH looks.
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let system = [PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    std::env::split_paths(&path)
        .chain(system)
        .map(|folder| folder.join(name))
        .find(|file| {
            rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
        })
}
