//! The command line.

mod run;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Shares folders with the running QVD session.
#[derive(Parser, Debug)]
#[command(
    name = "qvd-slaveclient",
    version,
    after_help = "Exit status: 0 done, 1 failed, 2 wrong arguments, 3 no session or several, \
                  4 refused, 5 the name is in use, 6 no such folder or share, 7 the channel failed"
)]
struct Arguments {
    /// The session, where several are running
    #[arg(long, global = true, value_name = "NAME")]
    session: Option<String>,
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
        /// Its name in the session
        #[arg(long)]
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
