//! The command line.

mod ending;
mod mount;
mod run;
mod say;
mod share;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::STATUSES;

/// Shares folders with the running QVD session.
#[derive(Parser, Debug)]
#[command(name = "qvd-slaveclient", version, after_help = after_help())]
struct Arguments {
    /// The session, where several are running: `sessions` lists them
    #[arg(long, global = true, value_name = "NAME")]
    session: Option<String>,
    /// Say nothing but what was asked for, and errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// The folder in which clients write down their sessions
    #[arg(long, global = true, value_name = "FOLDER", hide = true)]
    folder: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Share a folder: it appears in the session under ~/Redirected until
    /// this is ended
    Share {
        /// The folder
        path: PathBuf,
        /// Its name in the session, where it is not the last of the path
        #[arg(long, value_parser = name)]
        name: Option<String>,
        /// Let nothing in it be changed from the session
        #[arg(long)]
        read_only: bool,
    },
    /// End a share, by name or folder
    Unshare {
        /// The name or folder
        what: String,
    },
    /// List what is shared
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List the sessions that are running
    Sessions {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Mount a folder of the session's here, until this is ended
    Mount {
        /// The folder there; relative to the home
        remote: PathBuf,
        /// An empty folder here
        local: PathBuf,
    },
    /// Open a file of this machine in the session
    Open {
        /// The file
        file: PathBuf,
    },
}

/// The definition of the command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

fn after_help() -> String {
    let mut text = "Exit status:\n".to_owned();
    for (status, meaning) in STATUSES {
        text.push_str(&format!("  {status}  {meaning}\n"));
    }
    text
}

/// One component of a path, not hidden: what the VM makes a directory of.
fn name(text: &str) -> Result<String, &'static str> {
    if qvd_slave::mount_name(text.as_bytes()) == text.as_bytes() {
        Ok(text.to_owned())
    } else {
        Err("a name is at most 255 bytes without / and control characters, and is not hidden")
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody reads, nobody is told.
            let _ = writeln!(io::stderr(), "qvd-slaveclient: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_name_is_one_component() {
        for right in ["docs", "My documents", "Bücher"] {
            assert!(name(right).is_ok(), "{right}");
        }
        for wrong in ["", "a/b", "/", "..", ".ssh", "a\nb", &"x".repeat(256)] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
    }
}
