//! Showing the session to an administrator: the user is asked, then x11vnc
//! runs as the user, on the administrator's connection.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, WaitStatus, pidfd_open, pidfd_send_signal};

use super::environment::Environment;
use super::{children, paths};
use crate::control::{Launch, VNC_CONFIRM, Vnc};
use crate::sys::bind_to_parent;

/// The question, for programs that show one.
const QUESTION: &str = "An administrator wants to see your desktop. Do you agree?";

/// Where programs without a path are looked for.
const PATH: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/bin/X11"];

/// Most questions open at a time: a user has one screen.
const MAX_OPEN: usize = 4;

/// Who was asked, and what was allowed.
#[derive(Debug, Default)]
pub struct Showing {
    /// The numbers of questions by the programs that ask them.
    asked: HashMap<Pid, u64>,
    allowed: BTreeSet<u64>,
}

impl Showing {
    /// Asks the user, if he is to be asked; an answer that is known at once.
    pub fn ask(
        &mut self,
        launch: &Launch,
        environment: &Environment,
        number: u64,
        program: &Path,
        confirm: Option<Option<&Path>>,
    ) -> Option<Vnc> {
        if find(program).is_none() {
            let reason = format!("{} is not installed in the VM", program.display());
            return Some(Vnc::Unable { reason });
        }
        let Some(command) = confirm else {
            self.allowed.insert(number);
            return Some(Vnc::Allowed);
        };
        if self.asked.len() >= MAX_OPEN {
            let reason = "the user is being asked already".to_owned();
            return Some(Vnc::Unable { reason });
        }
        let Some(mut asking) = question(command) else {
            let reason = "nothing that could ask the user is installed in the VM: install \
                          zenity, kdialog or xmessage, or set vma.x11vnc.confirm.command";
            return Some(Vnc::Unable {
                reason: reason.to_owned(),
            });
        };
        asking
            .env_clear()
            .envs(children::on_display(launch, environment.system()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match bind_to_parent(&mut asking).spawn() {
            Ok(child) => {
                let pid = Pid::from_child(&child);
                give_up_later(pid);
                self.asked.insert(pid, number);
                None
            }
            Err(error) => Some(Vnc::Unable {
                reason: format!("the user cannot be asked: {error}"),
            }),
        }
    }

    /// A child has ended: the answer that it is, if it is one.
    pub fn ended(&mut self, pid: Pid, status: WaitStatus) -> Option<(u64, Vnc)> {
        let number = self.asked.remove(&pid)?;
        let answer = match status.exit_status() {
            Some(0) => {
                self.allowed.insert(number);
                Vnc::Allowed
            }
            Some(_) => Vnc::Denied {
                reason: "the user does not agree".to_owned(),
            },
            None => Vnc::Denied {
                reason: "the user did not answer".to_owned(),
            },
        };
        Some((number, answer))
    }

    /// Runs x11vnc on a connection, if that was allowed.
    ///
    /// # Errors
    /// When it was not, or it cannot be run.
    pub fn show(
        &mut self,
        launch: &Launch,
        environment: &Environment,
        number: u64,
        program: &Path,
        arguments: &[String],
        connection: OwnedFd,
    ) -> io::Result<()> {
        if !self.allowed.remove(&number) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let program = find(program).ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(program);
        command
            .arg("-display")
            .arg(format!(":{}", launch.display))
            .arg("-auth")
            .arg(paths::xauthority(&launch.dir))
            // The configuration's word, not the user's files, and one
            // connection, which is already there.
            .args(["-inetd", "-norc", "-nopw", "-quiet"])
            .args(arguments)
            .env_clear()
            .envs(children::on_display(launch, environment.system()))
            .stdin(Stdio::from(connection.try_clone()?))
            .stdout(Stdio::from(connection))
            .stderr(Stdio::null());
        let child = bind_to_parent(&mut command).spawn()?;
        tracing::info!(pid = child.id(), "an administrator sees the session");
        Ok(())
    }
}

/// The program that asks, with what it is to ask.
fn question(command: Option<&Path>) -> Option<Command> {
    if let Some(command) = command {
        return find(command).map(Command::new);
    }
    let known: [(&str, &[&str]); 3] = [
        ("zenity", &["--question", "--title=QVD", "--text"]),
        ("kdialog", &["--title", "QVD", "--yesno"]),
        (
            "xmessage",
            &["-title", "QVD", "-center", "-buttons", "Yes:0,No:1"],
        ),
    ];
    known.iter().find_map(|(name, arguments)| {
        let mut command = Command::new(find(Path::new(name))?);
        command.args(*arguments).arg(QUESTION);
        Some(command)
    })
}

/// Where a program is.
fn find(program: &Path) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    if program.is_absolute() {
        return Some(program.to_owned()).filter(is_program);
    }
    PATH.iter()
        .map(|folder| Path::new(folder).join(program))
        .find(is_program)
}

/// Ends a question that is not answered in time.
fn give_up_later(pid: Pid) {
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    tokio::task::spawn_local(async move {
        tokio::time::sleep(VNC_CONFIRM).await;
        // One that has ended is not there to be signalled, whoever has its
        // number now.
        let _ = pidfd_send_signal(process, Signal::KILL);
    });
}
