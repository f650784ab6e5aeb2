//! Runs programs in the foreground, saying which.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};

/// A command of the workspace's own cargo, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(crate::workspace::root());
    command
}

/// Shows and runs a command; its failure is an error.
pub(crate) fn shown(command: &mut Command) -> Result<()> {
    let text = words(command);
    println!("$ {text}");
    std::io::stdout().flush()?;
    let status = command
        .status()
        .with_context(|| format!("running {text}"))?;
    if !status.success() {
        bail!("`{text}` failed ({status})");
    }
    Ok(())
}

/// Runs a command quietly and returns what it wrote and how it ended.
pub(crate) fn captured(command: &mut Command) -> Result<Output> {
    let text = words(command);
    command.output().with_context(|| format!("running {text}"))
}

/// The command as one would type it.
fn words(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}
