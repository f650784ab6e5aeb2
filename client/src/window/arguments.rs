//! The command line of the window.

use std::path::PathBuf;

use clap::{ArgAction, CommandFactory as _, Parser};

use super::Link;
use crate::core::Code;

/// What options are about, in help and manual page.
const CONNECTION: &str = "Connection";
const WINDOW: &str = "Window";

/// The window of the QVD client: log in, choose a machine, use its desktop.
///
/// While a session runs the window is hidden, and the panel has an item for it
/// where the desktop takes such. There is one window for each saved connection
/// on a display: another start brings it up, and hands it what it is to connect
/// to.
#[derive(Parser, Debug, Clone, Default)]
#[command(
    name = "qvd-client",
    version,
    disable_help_flag = true,
    disable_version_flag = true,
    after_help = after_help(),
)]
pub struct Arguments {
    /// Show this help
    #[arg(short = '?', long, action = ArgAction::Help)]
    pub help: Option<bool>,
    /// Show the version
    #[arg(short = 'v', long, action = ArgAction::Version)]
    pub version: Option<bool>,
    /// Log in detail [env: QVD_DEBUG]
    #[arg(short, long)]
    pub debug: bool,
    /// The broker [env: QVDHOST]
    #[arg(help_heading = CONNECTION, short = 'h', long)]
    pub host: Option<String>,
    /// Its port [env: QVDPORT] [default: 8443]
    #[arg(help_heading = CONNECTION, short, long)]
    pub port: Option<u16>,
    /// Login [env: QVDLOGIN]
    #[arg(help_heading = CONNECTION, short, long, value_name = "LOGIN")]
    pub username: Option<String>,
    /// Connect to this virtual machine or application: id, name, or a
    /// beginning of the name that no other has
    #[arg(help_heading = CONNECTION, long, value_name = "ID|NAME")]
    pub vm_id: Option<String>,
    /// Use this saved connection
    #[arg(help_heading = CONNECTION, long, value_name = "NAME", conflicts_with = "config")]
    pub profile: Option<String>,
    /// Read and write this configuration file instead of ~/.qvd/client.conf
    /// [env: QVDCLIENTCONFIG]
    #[arg(help_heading = CONNECTION, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Fill the screen, and offer no way out but a session
    #[arg(help_heading = WINDOW, long)]
    pub kiosk: bool,
    /// What to connect to: qvd://USER@HOST:PORT/VM, each part but the host
    /// being optional
    #[arg(value_name = "LINK")]
    pub link: Option<Link>,
}

impl Arguments {
    /// What a link says counts where no option says otherwise.
    pub fn with_link(mut self) -> Self {
        if let Some(link) = self.link.take() {
            self.host = self.host.or(Some(link.host));
            self.port = self.port.or(link.port);
            self.username = self.username.or(link.user);
            self.vm_id = self.vm_id.or(link.vm);
        }
        self
    }
}

/// The command line's definition, for manual page and completions.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// The variables of the environment, for help and manual page. An option of
/// the command line takes precedence.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    ("QVDHOST", "the broker, as -h"),
    ("QVDPORT", "its port, as -p"),
    ("QVDLOGIN", "the login, as -u"),
    ("QVDPASSWORD", "the password, filled in"),
    ("QVDBEARERTOKEN", "a token in place of login and password"),
    (
        "QVDSSLERRORS",
        "ask, continue or abort: what is done about a certificate that is not trusted",
    ),
    ("QVDCLIENTCONFIG", "the configuration file, as --config"),
    ("QVD_DEBUG", "anything: log in detail, as -d"),
    (
        "QVD_DEBUG_FILE",
        "where the log goes, in place of log.filename",
    ),
    ("DISPLAY", "the display of window and session"),
    (
        "WAYLAND_DISPLAY",
        "the display of the window, before DISPLAY; the session needs DISPLAY",
    ),
    (
        "LANGUAGE, LC_ALL, LC_MESSAGES, LANG",
        "the window's language, unless client.locale names another",
    ),
    (
        "SLINT_SCALE_FACTOR",
        "how large the window is drawn: 2 is twice as large",
    ),
    (
        "XDG_RUNTIME_DIR",
        "where a window is found by the next start; ~/.qvd where it is not set",
    ),
];

/// What a user types first, and what it does, for help and manual page.
pub const EXAMPLES: &[(&str, &str)] = &[
    ("qvd-client", "the window, with what was used last"),
    (
        "qvd-client qvd://ann@broker.example.org/office",
        "everything but the password is filled in",
    ),
    (
        "qvd-client --profile laboratory",
        "the window with a saved connection",
    ),
    (
        "qvd-client --kiosk -h broker.example.org",
        "a terminal of which nothing else can be reached",
    ),
];

/// The files, for the manual page. Of the configuration files later ones
/// override earlier ones.
pub const FILES: &[(&str, &str)] = &[
    (
        "/etc/qvd/client.conf",
        "the machine's configuration; what it says of client.force.* and \
         client.ssl.allow_* cannot be changed",
    ),
    (
        "~/.qvd/client.conf",
        "the user's configuration, to which the window writes",
    ),
    (
        "~/.qvd/connections/",
        "the saved connections, each a file like client.conf that stands in its place",
    ),
    (
        "~/.qvd/accepted_certs.json",
        "certificates accepted for good, each for its host and key",
    ),
    (
        "~/.qvd/qvd-client.log",
        "the log, unless log.filename names another",
    ),
];

/// The statuses with which the window ends: failures of a session are told in
/// it.
pub const STATUSES: [Code; 4] = [Code::Config, Code::Usage, Code::Display, Code::Internal];

fn after_help() -> String {
    let mut text = "Examples:\n".to_owned();
    for (line, meaning) in EXAMPLES {
        text.push_str(&format!("  {line}\n      {meaning}\n"));
    }
    text.push_str("\nExit status:\n    0  the window was closed, or is open already\n");
    for code in STATUSES {
        let (status, word) = (code.exit_status(), code.as_str());
        text.push_str(&format!("  {status:>3}  {word:<10} {}\n", code.meaning()));
    }
    text.push_str("\nEnvironment:\n");
    for (name, meaning) in ENVIRONMENT {
        text.push_str(&format!("  {name}\n      {meaning}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_counts_more_than_a_link() {
        let line = "qvd-client -u bob qvd://ann@broker:443/office";
        let arguments = Arguments::try_parse_from(line.split(' '))
            .unwrap()
            .with_link();
        assert_eq!(arguments.username.as_deref(), Some("bob"));
        assert_eq!(arguments.host.as_deref(), Some("broker"));
        assert_eq!(arguments.port, Some(443));
        assert_eq!(arguments.vm_id.as_deref(), Some("office"));
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
        assert!(Arguments::try_parse_from(["qvd-client", "http://broker"]).is_err());
    }
}
