//! The command line of the agent: one definition for the program, its manual
//! page and completions.

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::settings;

/// The QVD agent: runs the desktop session of this virtual machine.
#[derive(Parser)]
#[command(name = "qvd-vma", version, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Subcommand)]
pub enum Command {
    /// Run the agent in the foreground.
    ///
    /// A session that runs when the agent ends goes on, and the next agent
    /// takes it over.
    Daemon {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = settings::DEFAULT_PATH)]
        config: PathBuf,
    },
    /// Say what state the session is in.
    ///
    /// Of a connected session whose client speaks the carrier also whether
    /// that is there or away, and for how many seconds.
    Status {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = settings::DEFAULT_PATH)]
        config: PathBuf,
        /// Say all there is to say, as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say everything that is wrong with a configuration file.
    CheckConfig {
        /// The configuration file.
        #[arg(value_name = "FILE", default_value = settings::DEFAULT_PATH)]
        file: PathBuf,
        /// List every key with its value and where that was set.
        #[arg(long)]
        all: bool,
        /// Print a file with every key, its default and what it is for.
        #[arg(long, conflicts_with = "all")]
        sample: bool,
    },
    /// Command the running agent; for root and the agent's own user.
    Ctl {
        /// The configuration file.
        #[arg(long, global = true, value_name = "FILE", default_value = settings::DEFAULT_PATH)]
        config: PathBuf,
        /// What it is to do.
        #[command(subcommand)]
        what: Ctl,
    },
    /// Run one session. For the agent itself.
    #[command(hide = true)]
    Session,
}

/// What the running agent is told.
#[derive(Subcommand)]
pub enum Ctl {
    /// Suspend the session, and wait until it is.
    Suspend,
    /// Stop the session, and wait until it is.
    Stop,
    /// Read the configuration again, and say what has changed.
    Reload,
    /// Run a hook with its real arguments; shows what it prints, and exits as
    /// it does.
    Hook {
        /// The hook's name, such as connect or mount_home.
        name: String,
    },
}

/// The command line, for whoever describes it.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}
