//! X servers and agents for tests. A missing program fails the test.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdout, Command};

#[path = "../../../tests/src/script.rs"]
mod script;
#[allow(unused_imports, reason = "not every test needs it")]
use script::write_script;

/// Far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn until<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

fn spawn(command: &mut Command, package: &str) -> Child {
    command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|e| {
            let program = command.as_std().get_program();
            panic!("{program:?}: {e}; install the package {package}")
        })
}

pub(crate) struct Xvfb {
    number: u16,
    _process: Child,
}

impl Xvfb {
    pub(crate) async fn start(number: u16) -> Self {
        let mut command = Command::new("Xvfb");
        command
            .arg(format!(":{number}"))
            .args([
                "-screen",
                "0",
                "1024x768x24",
                "-nolisten",
                "tcp",
                "-displayfd",
                "1",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = spawn(&mut command, "xvfb");
        let mut ready = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = until("Xvfb", ready.next_line()).await.unwrap();
        assert_eq!(line, Some(number.to_string()), "display :{number} is taken");
        Self {
            number,
            _process: process,
        }
    }

    pub(crate) fn name(&self) -> String {
        format!(":{}", self.number)
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        sweep(self.number);
    }
}

/// A killed X server leaves its lock and socket, which would keep the next one
/// from starting once another process has its number. So does a killed proxy.
pub(crate) fn sweep(number: u16) {
    let _ = fs::remove_file(format!("/tmp/.X{number}-lock"));
    let _ = fs::remove_file(format!("/tmp/.X11-unix/X{number}"));
}

/// An nxagent that listens on a Unix socket.
pub(crate) struct Agent {
    number: u16,
    dir: TempDir,
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
}

/// A connection to an agent.
pub(crate) struct Connection(UnixStream);

impl Connection {
    pub(crate) fn take(self) -> UnixStream {
        self.0
    }
}

impl Agent {
    pub(crate) async fn start(number: u16) -> Self {
        Self::start_with(number, "link=lan").await
    }

    /// With these NX options.
    pub(crate) async fn start_with(number: u16, nx: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (options, log) = (dir.path().join("options"), dir.path().join("log"));
        fs::write(
            &options,
            format!(
                "nx/nx,client=linux,geometry=640x480,{nx},listen=unix:{}:{number}",
                dir.path().join("nx").display()
            ),
        )
        .unwrap();
        // Both outputs in the order in which they are written.
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg("exec nxagent \"$@\" 2>&1")
            .arg("nxagent")
            .arg(format!(":{number}"))
            .args(["-ac", "-nolisten", "tcp", "-name", "test", "-display"])
            .arg(format!("nx/nx,options={}:{number}", options.display()))
            .env("HOME", dir.path())
            // One that fails leaves its memory where it is.
            .current_dir(dir.path())
            .env("NX_CLIENT", "/bin/true")
            // Gives back what comes on a slave channel.
            .env("NX_SLAVE_CMD", "/bin/cat")
            .stdout(Stdio::piped())
            .stderr(fs::File::create(log).unwrap());
        let mut process = spawn(&mut command, "nxagent");
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut agent = Self {
            number,
            dir,
            process,
            output,
        };
        agent.until_line("Info: Waiting for connection").await;
        agent
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection(
            UnixStream::connect(self.dir.path().join("nx"))
                .await
                .unwrap(),
        )
    }

    pub(crate) async fn until_line(&mut self, start: &str) {
        let mut seen = Vec::new();
        let found = async {
            while let Some(line) = self.output.next_line().await.unwrap() {
                if line.starts_with(start) {
                    return true;
                }
                seen.push(line);
            }
            false
        };
        let found = until(start, found).await;
        assert!(
            found,
            "nxagent never said {start:?} (is nxagent installed?): {seen:#?}"
        );
    }

    pub(crate) fn terminate(&self) {
        let pid = i32::try_from(self.process.id().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        sweep(self.number);
    }
}

/// A program with these commands, in a directory that goes with the value.
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn fake_program(script: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    write_script(&program, script).unwrap();
    (dir, program)
}

/// Whether a process runs and is no zombie.
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn is_alive(pid: &str) -> bool {
    fs::read_to_string(Path::new("/proc").join(pid).join("stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .starts_with(" Z")
    })
}
