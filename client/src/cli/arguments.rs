use std::convert::Infallible;
use std::path::PathBuf;

use clap::{ArgAction, Parser};
use secrecy::SecretString;

use crate::core::Code;

/// Connects to a desktop of QVD.
///
/// Without a choice of a virtual machine it connects to the only one, or asks
/// on a terminal. Ctrl-C leaves the session, which is suspended and can be
/// resumed by connecting again.
#[derive(Parser, Debug, Default)]
#[command(
    name = "qvdclient",
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
    /// Log in detail
    #[arg(short, long)]
    pub debug: bool,
    /// Say nothing of the progress
    #[arg(short, long)]
    pub quiet: bool,

    /// The broker [env: QVDHOST]
    #[arg(short = 'h', long, value_name = "HOST")]
    pub host: Option<String>,
    /// Its port [env: QVDPORT] [default: 8443]
    #[arg(short, long)]
    pub port: Option<u16>,
    /// Encrypt the connection to the broker
    #[arg(long, overrides_with = "no_ssl")]
    pub ssl: bool,
    /// Do not encrypt the connection to the broker
    #[arg(long)]
    pub no_ssl: bool,

    /// Login [env: QVDLOGIN]
    #[arg(short, long, value_name = "LOGIN")]
    pub username: Option<String>,
    /// Password; every user of this machine can see it: better use
    /// --password-file, or be asked [env: QVDPASSWORD]
    #[arg(short = 'w', long, value_name = "PASSWORD", value_parser = secret)]
    pub password: Option<SecretString>,
    /// File whose first line is the password; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    pub password_file: Option<PathBuf>,

    /// Trust also the certificates in this PEM file
    #[arg(long, value_name = "FILE")]
    pub ca: Vec<PathBuf>,
    /// Trust the certificate with this fingerprint, whatever is wrong with it
    #[arg(long, value_name = "SHA256", conflicts_with = "insecure")]
    pub pin: Option<String>,
    /// Accept any certificate: to whom you are connected is then not known
    #[arg(short = 'n', long)]
    pub insecure: bool,
    /// The client's own certificate, PEM; needs -k
    #[arg(short = 'c', long, value_name = "FILE", requires = "client_key")]
    pub client_cert: Option<PathBuf>,
    /// The key of the client's certificate, PEM; needs -c
    #[arg(short = 'k', long, value_name = "FILE", requires = "client_cert")]
    pub client_key: Option<PathBuf>,

    /// List the virtual machines, and connect to none
    #[arg(short, long)]
    pub list_vms: bool,
    /// List the applications, and connect to none
    #[arg(long, conflicts_with = "list_vms")]
    pub list_apps: bool,
    /// Write lists and errors as JSON
    #[arg(long)]
    pub json: bool,
    /// Leave out the head line of a list
    #[arg(long)]
    pub no_header: bool,
    /// Connect to this virtual machine: id, name, or a beginning of the name
    /// that no other has
    #[arg(long, value_name = "ID|NAME")]
    pub vm_id: Option<String>,
    /// Connect to the first virtual machine of the list
    #[arg(short = 'o', long, conflicts_with = "vm_id")]
    pub first: bool,

    /// Size of the session's window in pixels
    #[arg(short, long, value_name = "WIDTHxHEIGHT")]
    pub geometry: Option<String>,
    /// Fill the screen
    #[arg(short, long)]
    pub fullscreen: bool,
    /// Kind of network: modem, isdn, adsl, wan, lan, local, or a bandwidth
    /// such as 1m
    #[arg(long)]
    pub link: Option<String>,
    /// Keyboard, instead of the display's
    #[arg(long, value_name = "MODEL/LAYOUT")]
    pub keyboard: Option<String>,
    /// Options for nxproxy, such as nx/nx,data=0,delta=0:0
    #[arg(short = 'x', long, value_name = "OPTIONS")]
    pub nx_options: Option<String>,

    /// Read this configuration file instead of ~/.qvd/client.conf
    /// [env: QVDCLIENTCONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(text.into())
}

fn after_help() -> String {
    let mut text =
        "Exit status:\n    0  the list was written, or the session ended in order\n".to_owned();
    for code in Code::ALL {
        let (status, word) = (code.exit_status(), code.as_str());
        text.push_str(&format!("  {status:>3}  {word:<16} {}\n", code.meaning()));
    }
    text.push_str(
        "\nEnvironment:\n  QVDHOST, QVDPORT, QVDLOGIN, QVDPASSWORD, QVDCLIENTCONFIG  as the options above\n  \
         QVD_DEBUG       anything: log in detail, as -d\n  \
         QVD_DEBUG_FILE  where the log goes\n  \
         DISPLAY         the display on which the session is shown\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

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
}
