//! The client's seat: its keyboard and the density of its screen, given to the
//! session's display each time a client is there. Programs of X do it, which
//! are free to fail: a session with another keyboard is a session.

use std::io;
use std::process::{Command, Stdio};

use super::environment::Environment;
use super::{children, paths};
use crate::control::Launch;
use crate::files::write_private;

/// How long a program may take, in seconds. They wait for nxagent, which with
/// a client far away takes its time.
const LIMIT: &str = "30";

/// Gives the display what the client said of its seat.
pub fn apply(launch: &Launch, environment: &Environment) {
    let seat = &launch.seat;
    if !seat.keyboard.is_empty()
        && let Err(error) = run(launch, environment, "setxkbmap", &seat.keyboard)
    {
        tracing::warn!(%error, "the client's keyboard cannot be set, install the package x11-xkb-utils");
    }
    if let Some(dpi) = seat.dpi
        && let Err(error) = set_density(launch, environment, dpi)
    {
        tracing::warn!(%error, "the client's density cannot be set, install the package x11-xserver-utils");
    }
}

/// What toolkits go by; the server's own figure is an argument of nxagent.
fn set_density(launch: &Launch, environment: &Environment, dpi: u16) -> io::Result<()> {
    let file = paths::resources(&launch.dir);
    write_private(&file, format!("Xft.dpi: {dpi}\n").as_bytes())?;
    let file = file.display().to_string();
    run(
        launch,
        environment,
        "xrdb",
        &["-nocpp".into(), "-merge".into(), file],
    )
}

fn run(
    launch: &Launch,
    environment: &Environment,
    program: &str,
    arguments: &[String],
) -> io::Result<()> {
    let mut command = Command::new("timeout");
    command
        .args([LIMIT, program])
        .args(arguments)
        .env_clear()
        .envs(children::on_display(launch, environment.system()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // It is waited for as all the session's processes are.
    crate::sys::bind_to_parent(&mut command).spawn().map(drop)
}
