//! The programs of a session and what becomes of them.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

use super::environment::Environment;
use super::{keymap, paths};
use crate::control::{Launch, Slave};
use crate::output::Output;
use crate::sys::bind_to_parent;

/// Starts nxagent; gives what it prints, too.
///
/// # Errors
/// When it cannot be started.
pub fn start_nxagent(launch: &Launch, environment: &Environment) -> io::Result<(Pid, Output)> {
    let options = paths::options(&launch.dir);
    let display = launch.display;
    let mut command = Command::new(&launch.nxagent);
    command
        .arg(format!(":{display}"))
        .args(["-name", "QVD", "-nolisten", "tcp", "-auth"])
        .arg(paths::xauthority(&launch.dir));
    match keymap::own_folder(&launch.dir) {
        Ok(Some(folder)) => {
            command.arg("-xkbdir").arg(folder);
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "the client's keyboard cannot be set up"),
    }
    if let Some(dpi) = launch.seat.dpi {
        command.args(["-dpi", &dpi.to_string()]);
    }
    command
        .args(&launch.nxagent_args)
        .arg("-display")
        .arg(format!("nx/nx,options={}:{display}", options.display()))
        .env_clear()
        .envs(environment.system())
        .env("NX_CLIENT", paths::dialog(&launch.dir))
        .stdin(Stdio::null());
    if let Some(slave) = &launch.slave {
        // nxagent runs it with this environment for each connection.
        command
            .env("NX_SLAVE_CMD", &slave.program)
            .env("QVD_VMA_CONFIG", paths::slave_config(&launch.dir))
            .env("QVD_SLAVE_KEY_FILE", paths::slave_key(&launch.dir));
    }
    spawn(command)
}

/// Starts the program that serves folders on a stream of the carrier, as nxagent
/// does for a connection of its own.
///
/// # Errors
/// When it cannot be started.
pub fn start_slave(
    slave: &Slave,
    dir: &Path,
    environment: &Environment,
    connection: UnixStream,
) -> io::Result<()> {
    let answers = connection.try_clone()?;
    let mut command = Command::new(&slave.program);
    let mut output = Output::of(&mut command)?;
    command
        .env_clear()
        .envs(environment.system())
        .env("QVD_VMA_CONFIG", paths::slave_config(dir))
        .env("QVD_SLAVE_KEY_FILE", paths::slave_key(dir))
        .env(qvd_carrier::ROAD_VARIABLE, paths::road(dir))
        .stdin(OwnedFd::from(connection))
        .stdout(OwnedFd::from(answers));
    // Its end is noticed as that of any child of the session.
    bind_to_parent(&mut command).spawn()?;
    drop(command);
    tokio::task::spawn_local(async move {
        while !output.is_over() {
            for line in output.next().await {
                tracing::info!(target: "slave", "{line}");
            }
        }
    });
    Ok(())
}

/// Starts the user's X session; gives what its programs print, too: they must
/// not hold the log itself, which is not theirs.
///
/// # Errors
/// When it cannot be started.
pub fn start_x_session(launch: &Launch, environment: &Environment) -> io::Result<(Pid, Output)> {
    let (program, arguments) = launch
        .x_session
        .split_first()
        .ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(on_display(launch, environment.desktop()))
        .stdin(Stdio::null());
    spawn(command)
}

fn spawn(mut command: Command) -> io::Result<(Pid, Output)> {
    let output = Output::of(&mut command)?;
    let child = bind_to_parent(&mut command).spawn()?;
    // The command holds the writing ends: with it gone, so is the output when
    // its last program is.
    drop(command);
    Ok((Pid::from_child(&child), output))
}

/// The environment of programs that the agent shows on the session's display.
pub fn on_display<'a>(
    launch: &Launch,
    variables: impl Iterator<Item = (&'a String, &'a String)>,
) -> Vec<(String, String)> {
    let own = |(name, value): (&String, &String)| (name.clone(), value.clone());
    let mut variables: Vec<(String, String)> = variables.map(own).collect();
    let authority = paths::xauthority(&launch.dir);
    variables.extend([
        ("DISPLAY".to_owned(), format!(":{}", launch.display)),
        (
            "XAUTHORITY".to_owned(),
            authority.to_string_lossy().into_owned(),
        ),
    ]);
    variables
}

/// Takes the next child that has ended, orphans of the session among them;
/// `None` while all others run on.
pub fn next_ended() -> Option<(Pid, WaitStatus)> {
    wait(WaitOptions::NOHANG).ok().flatten()
}

/// Whether there is any child left.
pub fn any_left() -> bool {
    !matches!(wait(WaitOptions::NOHANG), Err(rustix::io::Errno::CHILD))
}

/// How a program ended, in words.
pub fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
