use std::convert::Infallible;
use std::path::PathBuf;

use clap::{ArgAction, CommandFactory as _, Parser, Subcommand, ValueEnum};
use secrecy::SecretString;

use crate::core::Code;

/// What options are about, in help and manual page.
const BROKER: &str = "Broker";
const LOGIN: &str = "Login";
const CERTIFICATES: &str = "Certificates";
const MACHINE: &str = "Virtual machine";
const SESSION: &str = "Session";

/// Connects to a desktop of QVD.
///
/// Without a choice of a virtual machine it connects to the only one, or asks
/// on a terminal. Ctrl-C leaves the session, which is suspended (while its
/// connection is lost, kept) and can be resumed by connecting again.
#[derive(Parser, Debug, Default)]
#[command(
    name = "qvdclient",
    version,
    disable_help_flag = true,
    disable_version_flag = true,
    disable_help_subcommand = true,
    after_help = after_help(),
)]
pub struct Arguments {
    /// Show this help
    #[arg(short = '?', long, action = ArgAction::Help, global = true)]
    pub help: Option<bool>,
    /// Show the version
    #[arg(short = 'v', long, action = ArgAction::Version)]
    pub version: Option<bool>,
    /// Log in detail [env: QVD_DEBUG]
    #[arg(short, long, global = true)]
    pub debug: bool,
    /// Say nothing of the progress
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// The broker [env: QVDHOST]
    #[arg(help_heading = BROKER, short = 'h', long, value_name = "HOST", global = true)]
    pub host: Option<String>,
    /// Its port [env: QVDPORT] [default: 8443]
    #[arg(help_heading = BROKER, short, long, global = true)]
    pub port: Option<u16>,
    /// Encrypt the connection to the broker
    #[arg(help_heading = BROKER, long, overrides_with = "no_ssl", global = true)]
    pub ssl: bool,
    /// Do not encrypt the connection to the broker
    #[arg(help_heading = BROKER, long, overrides_with = "ssl", global = true)]
    pub no_ssl: bool,

    /// Login [env: QVDLOGIN]
    #[arg(help_heading = LOGIN, short, long, value_name = "LOGIN", global = true)]
    pub username: Option<String>,
    /// Password; other users of this machine may see it: better use
    /// --password-file, or be asked [env: QVDPASSWORD]
    #[arg(help_heading = LOGIN, short = 'w', long, value_name = "PASSWORD", value_parser = secret, global = true)]
    pub password: Option<SecretString>,
    /// File whose first line is the password, which nobody else may read;
    /// - is standard input
    #[arg(help_heading = LOGIN, long, value_name = "FILE", conflicts_with = "password", global = true)]
    pub password_file: Option<PathBuf>,
    /// Token to log in with, in place of login and password; other users of
    /// this machine may see it: better use the environment
    /// [env: QVDBEARERTOKEN]
    #[arg(help_heading = LOGIN,
        long,
        value_name = "TOKEN",
        value_parser = secret,
        conflicts_with_all = ["password", "password_file"],
        global = true
    )]
    pub token: Option<SecretString>,
    /// Where this program put the secrets of its first command line
    #[arg(help_heading = LOGIN, long, value_name = "FD", hide = true, global = true)]
    pub secrets_fd: Option<u32>,
    /// Keep the password in the desktop's secret store for the next time
    #[arg(help_heading = LOGIN, long, global = true)]
    pub remember: bool,

    /// Trust also the certificates in this PEM file
    #[arg(help_heading = CERTIFICATES, long, value_name = "FILE", global = true)]
    pub ca: Vec<PathBuf>,
    /// Trust the certificate with this fingerprint, whatever is wrong with it
    #[arg(help_heading = CERTIFICATES,
        long,
        value_name = "SHA256",
        conflicts_with = "insecure",
        global = true
    )]
    pub pin: Option<String>,
    /// Accept any certificate: to whom you are connected is then not known
    #[arg(help_heading = CERTIFICATES, short = 'n', long, global = true)]
    pub insecure: bool,
    /// What to do about a certificate that is not trusted: ask, continue
    /// without asking, or abort [env: QVDSSLERRORS]
    #[arg(help_heading = CERTIFICATES,
        long,
        value_enum,
        value_name = "WHAT",
        conflicts_with = "insecure",
        global = true
    )]
    pub ssl_errors: Option<SslErrors>,
    /// The client's own certificate, PEM; needs -k
    #[arg(help_heading = CERTIFICATES,
        short = 'c',
        long,
        value_name = "FILE",
        requires = "client_key",
        global = true
    )]
    pub client_cert: Option<PathBuf>,
    /// The key of the client's certificate, PEM; needs -c
    #[arg(help_heading = CERTIFICATES,
        short = 'k',
        long,
        value_name = "FILE",
        requires = "client_cert",
        global = true
    )]
    pub client_key: Option<PathBuf>,

    /// List the virtual machines, and connect to none
    #[arg(help_heading = MACHINE, short, long)]
    pub list_vms: bool,
    /// List the applications, and connect to none
    #[arg(help_heading = MACHINE, long, conflicts_with = "list_vms")]
    pub list_apps: bool,
    /// Write lists and errors as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Leave out the head line of a list
    #[arg(long)]
    pub no_header: bool,
    /// Put an icon for each virtual machine and application into the desktop's
    /// menu, and connect to none
    #[arg(help_heading = MACHINE, long, conflicts_with_all = ["list_vms", "list_apps"])]
    pub create_icons: bool,
    /// Connect to this virtual machine or application: id, name, or a
    /// beginning of the name that no other has
    #[arg(help_heading = MACHINE, long, value_name = "ID|NAME")]
    pub vm_id: Option<String>,
    /// Connect to the first virtual machine of the list
    #[arg(help_heading = MACHINE, short = 'o', long, conflicts_with = "vm_id")]
    pub first: bool,
    /// Stop the virtual machine before connecting, so that it starts afresh
    #[arg(help_heading = MACHINE, long)]
    pub kill_vm: bool,
    /// Open this file of the user's machine in the session
    #[arg(help_heading = MACHINE, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Never end: log in, session, log in again, without a way out to a shell
    #[arg(help_heading = MACHINE, long, conflicts_with_all = ["list_vms", "list_apps", "create_icons"])]
    pub kiosk: bool,
    /// With --kiosk: end after one session; without: at the first loss of its connection
    #[arg(help_heading = MACHINE, long)]
    pub once: bool,

    /// Size of the session's window in pixels
    #[arg(help_heading = SESSION, short, long, value_name = "WIDTHxHEIGHT")]
    pub geometry: Option<String>,
    /// Fill the screen
    #[arg(help_heading = SESSION, short, long)]
    pub fullscreen: bool,
    /// Kind of network: modem, isdn, adsl, wan, lan, local, or a bandwidth
    /// such as 1m
    #[arg(help_heading = SESSION, long)]
    pub link: Option<String>,
    /// Dots per inch of the session, instead of the display's
    #[arg(help_heading = SESSION, long, value_parser = clap::value_parser!(u16).range(48..=600))]
    pub dpi: Option<u16>,
    /// Keyboard, instead of the display's
    #[arg(help_heading = SESSION, long, value_name = "MODEL/LAYOUT")]
    pub keyboard: Option<String>,
    /// Options for nxproxy, such as nx/nx,data=0,delta=0:0
    #[arg(help_heading = SESSION, short = 'x', long, value_name = "OPTIONS")]
    pub nx_options: Option<String>,
    /// What draws the session: native (the client itself) or nxproxy
    #[arg(help_heading = SESSION, long, value_name = "ENGINE")]
    pub nx_engine: Option<String>,
    /// Tell at the end, and on SIGUSR1, what the session has carried: on the
    /// carrier, with the speed since it was told last, and in the native engine
    #[arg(help_heading = SESSION, long)]
    pub stats: bool,

    /// Read this configuration file instead of ~/.qvd/client.conf
    /// [env: QVDCLIENTCONFIG]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Write every key of the configuration with its value and where it was
    /// set, and connect to nothing
    #[arg(long)]
    pub show_config: bool,

    /// Nothing has to be complete: a person fills it in
    #[arg(skip)]
    pub incomplete: bool,

    /// What else can be done
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the client does besides connecting.
#[derive(Subcommand, Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Test the way to a broker step by step: name, connection, TLS, ping,
    /// login
    #[command(disable_help_flag = true)]
    Check {
        /// The broker, as -h
        #[arg(value_name = "HOST")]
        broker: Option<String>,
    },
    /// Write versions, configuration, logs and the last session's trace into
    /// an archive, without secrets
    #[command(disable_help_flag = true)]
    Diagnose {
        /// The archive to be written
        #[arg(value_name = "FILE")]
        archive: Option<PathBuf>,
    },
}

/// What is to be done about a certificate that is not trusted.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslErrors {
    /// Ask the user.
    Ask,
    /// Go on.
    Continue,
    /// End.
    Abort,
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
    ("QVDPASSWORD", "the password, as -w"),
    ("QVDBEARERTOKEN", "the token, as --token"),
    ("QVDSSLERRORS", "ask, continue or abort, as --ssl-errors"),
    ("QVDCLIENTCONFIG", "the configuration file, as --config"),
    ("QVD_DEBUG", "anything: log in detail, as -d"),
    (
        "QVD_DEBUG_FILE",
        "where the log goes, in place of log.filename",
    ),
    ("DISPLAY", "the display on which the session is shown"),
    ("XAUTHORITY", "the file with the display's cookie"),
    ("TZ", "the session's time zone, in place of this machine's"),
    ("PULSE_SERVER", "where the session's sound is played"),
    ("CUPS_SERVER", "where the session prints"),
];

/// What a user types first, and what it does, for help and manual page.
pub const EXAMPLES: &[(&str, &str)] = &[
    (
        "qvdclient -h broker.example.org -u ann",
        "the desktop; the password is asked for",
    ),
    (
        "qvdclient -h broker.example.org -u ann -l",
        "the virtual machines",
    ),
    (
        "qvdclient --vm-id office --link adsl -g 1280x800",
        "one of them, over a slow network; the broker is the configuration's",
    ),
    (
        "pass qvd | qvdclient --password-file - --vm-id office",
        "the password from another program",
    ),
    (
        "qvdclient check broker.example.org",
        "where on the way to the broker the fault is",
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
    ("~/.qvd/client.conf", "the user's configuration"),
    (
        "$XDG_CONFIG_HOME/qvd/client.conf",
        "the same, in ~/.config where the variable is not set",
    ),
    (
        "~/.qvd/accepted_certs.json",
        "certificates accepted for good, each for its host and key",
    ),
    (
        "~/.qvd/certs/",
        "trusted certificates and lists of revocations, PEM or DER",
    ),
    (
        "~/.qvd/qvd-client.log",
        "the log, unless log.filename names another",
    ),
];

fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(text.into())
}

fn after_help() -> String {
    let mut text = "Examples:\n".to_owned();
    for (line, meaning) in EXAMPLES {
        text.push_str(&format!("  {line}\n      {meaning}\n"));
    }
    text.push_str("\nExit status:\n    0  the list was written, or the session ended in order\n");
    for code in Code::ALL {
        let (status, word) = (code.exit_status(), code.as_str());
        text.push_str(&format!("  {status:>3}  {word:<21} {}\n", code.meaning()));
    }
    text.push_str("\nEnvironment:\n");
    for (name, meaning) in ENVIRONMENT {
        text.push_str(&format!("  {name:<15}  {meaning}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_manuals_flags_are_taken() {
        let line = "qvdclient -d -h broker -p 443 -u ann -w secret -g 800x600 -f -l -o -n \
                    -x nx/nx,data=0:0 -c a.crt -k a.key";
        let a = parse(line).unwrap();
        assert_eq!(a.host.as_deref(), Some("broker"));
        assert_eq!((a.port, a.username.as_deref()), (Some(443), Some("ann")));
        assert!(a.debug && a.fullscreen && a.list_vms && a.first && a.insecure);
        assert_eq!(a.nx_options.as_deref(), Some("nx/nx,data=0:0"));
    }

    #[test]
    fn a_password_is_not_shown_with_the_arguments() {
        let arguments = parse("qvdclient -w s3cret").unwrap();
        assert!(!format!("{arguments:?}").contains("s3cret"));
    }

    #[test]
    fn help_and_version_have_the_manuals_letters_and_the_table_of_statuses() {
        let help = parse("qvdclient -?").unwrap_err();
        assert!(!help.use_stderr());
        assert!(help.to_string().contains("13  login-refused"), "{help}");
        assert!(!parse("qvdclient -v").unwrap_err().use_stderr());
    }

    #[test]
    fn a_certificate_needs_its_key() {
        assert!(parse("qvdclient -c a.crt").is_err());
        assert!(parse("qvdclient -k a.key").is_err());
        assert!(parse("qvdclient -w a --password-file b").is_err());
    }

    #[test]
    fn the_long_options_are_taken() {
        let line = "qvdclient --username ann --host broker --port 443 --no-ssl --vm-id office \
                    --ssl-errors=continue --kill-vm --file a.odt --kiosk --once --dpi 96 \
                    --link 1m --geometry 800x600 --fullscreen --remember --token t";
        let a = parse(line).unwrap();
        assert_eq!(a.ssl_errors, Some(SslErrors::Continue));
        assert_eq!((a.port, a.dpi), (Some(443), Some(96)));
        assert!(a.no_ssl && a.kill_vm && a.kiosk && a.once && a.remember && a.fullscreen);
        assert!(
            parse("qvdclient --list-apps --no-header --json")
                .unwrap()
                .list_apps
        );
        assert!(parse("qvdclient --create-icons").unwrap().create_icons);
        assert!(parse("qvdclient --ssl-errors=never").is_err());
        assert!(parse("qvdclient --ssl-errors=ask -n").is_err());
        assert!(parse("qvdclient --token t -w p").is_err());
    }

    #[test]
    fn commands_stand_beside_the_flags() {
        let a = parse("qvdclient check broker -p 443 -u ann").unwrap();
        let broker = Some("broker".to_owned());
        assert_eq!(a.command, Some(Command::Check { broker }));
        assert_eq!((a.port, a.username.as_deref()), (Some(443), Some("ann")));
        let a = parse("qvdclient -h broker -d check").unwrap();
        assert_eq!((a.host.as_deref(), a.debug), (Some("broker"), true));
        let archive = Some("a.tar".into());
        let a = parse("qvdclient diagnose a.tar").unwrap();
        assert_eq!(a.command, Some(Command::Diagnose { archive }));
        assert!(!parse("qvdclient check -?").unwrap_err().use_stderr());
    }

    #[test]
    fn of_two_that_contradict_the_later_counts() {
        let a = parse("qvdclient --ssl --no-ssl").unwrap();
        assert!(a.no_ssl && !a.ssl);
        let a = parse("qvdclient --no-ssl --ssl").unwrap();
        assert!(a.ssl && !a.no_ssl);
    }
}
