//! The command line of the window.

use std::path::PathBuf;

use clap::{ArgAction, Parser};

use crate::link::Link;

/// The window of the QVD client: log in, choose a machine, use its desktop.
#[derive(Parser, Debug, Clone, Default)]
#[command(
    name = "qvd-client",
    version,
    disable_help_flag = true,
    disable_version_flag = true
)]
pub(crate) struct Arguments {
    /// Show this help
    #[arg(short = '?', long, action = ArgAction::Help)]
    pub(crate) help: Option<bool>,
    /// Show the version
    #[arg(short = 'v', long, action = ArgAction::Version)]
    pub(crate) version: Option<bool>,
    /// Log in detail
    #[arg(short, long)]
    pub(crate) debug: bool,
    /// The broker
    #[arg(short = 'h', long)]
    pub(crate) host: Option<String>,
    /// Its port
    #[arg(short, long)]
    pub(crate) port: Option<u16>,
    /// Login
    #[arg(short, long, value_name = "LOGIN")]
    pub(crate) username: Option<String>,
    /// Connect to this virtual machine or application: id, name, or a
    /// beginning of the name that no other has
    #[arg(long, value_name = "ID|NAME")]
    pub(crate) vm_id: Option<String>,
    /// Use this saved connection
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub(crate) profile: Option<String>,
    /// Read and write this configuration file instead of ~/.qvd/client.conf
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Fill the screen, and offer no way out but a session
    #[arg(long)]
    pub(crate) kiosk: bool,
    /// What to connect to: qvd://USER@HOST:PORT/VM, each part but the host
    /// being optional
    #[arg(value_name = "LINK")]
    pub(crate) link: Option<Link>,
}

impl Arguments {
    /// What a link says counts where no option says otherwise.
    pub(crate) fn with_link(mut self) -> Self {
        if let Some(link) = self.link.take() {
            self.host = self.host.or(Some(link.host));
            self.port = self.port.or(link.port);
            self.username = self.username.or(link.user);
            self.vm_id = self.vm_id.or(link.vm);
        }
        self
    }
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
