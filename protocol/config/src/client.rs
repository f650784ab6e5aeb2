//! The client's configuration: `client.conf`.

use std::num::{NonZeroU16, NonZeroU32};

use secrecy::SecretString;

use crate::error::ConfigError;
use crate::key::Status::{Supported, Unused};
use crate::key::{Program, Section};
use crate::properties::Properties;
use crate::read::{Reader, section};
use crate::value::{
    Geometry, HomePath, HostName, Link, Locale, LogLevel, Numbered, NxEngine, ProgramName, Ranged,
    Theme, VariableName, Words,
};

mod share;
mod ssl;

pub use share::Share;
pub use ssl::Ssl;

/// Everything the client's configuration says.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Where to connect and as whom.
    pub login: Login,
    /// Certificates.
    pub ssl: Ssl,
    /// The session's window and link.
    pub session: Session,
    /// Sound, printers, USB devices.
    pub channel: Channel,
    /// Folders, and what else the session may reach.
    pub share: Share,
    /// What the window offers.
    pub window: Window,
    /// Programs the client runs.
    pub nx: Nx,
    /// The log.
    pub log: Log,
}

impl ClientConfig {
    /// Reads every key.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, not only the first.
    pub fn from_properties(properties: &Properties) -> Result<Self, Vec<ConfigError>> {
        let mut reader = Reader::new(properties, Program::Client);
        let login = Login::read(&mut reader);
        let ssl = Ssl::read(&mut reader);
        let session = Session::read(&mut reader);
        let channel = Channel::read(&mut reader);
        let share = Share::read(&mut reader);
        let window = Window::read(&mut reader);
        let nx = Nx::read(&mut reader);
        let log = Log::read(&mut reader);
        if let Some(ssl) = &ssl {
            ssl.check(&mut reader);
        }
        let config = || {
            Some(Self {
                login: login?,
                ssl: ssl?,
                session: session?,
                channel: channel?,
                share: share?,
                window: window?,
                nx: nx?,
                log: log?,
            })
        };
        let config = config();
        reader.finish(config)
    }
}

pub(crate) const SECTIONS: &[Section] = &[
    Section {
        title: "Where to connect and as whom",
        keys: Login::KEYS,
    },
    Section {
        title: "Certificates",
        keys: Ssl::KEYS,
    },
    Section {
        title: "The session's window and link",
        keys: Session::KEYS,
    },
    Section {
        title: "Sound, printers, USB devices",
        keys: Channel::KEYS,
    },
    Section {
        title: "Folders, and what else the session may reach",
        keys: Share::KEYS,
    },
    Section {
        title: "What the window offers",
        keys: Window::KEYS,
    },
    Section {
        title: "Programs",
        keys: Nx::KEYS,
    },
    Section {
        title: "Log",
        keys: Log::KEYS,
    },
];

section! {
    /// Where to connect and as whom.
    pub struct Login {
        host: Option<HostName> = "client.host.name", "", Supported,
            "The broker to connect to.";
        force_host: Option<HostName> = "client.force.host.name", "", Supported,
            "The only broker that may be connected to, whatever else is asked for. Empty: any.";
        port: NonZeroU16 = "client.host.port", "8443", Supported,
            "The port of the broker.";
        use_ssl: bool = "client.use_ssl", "1", Supported,
            "Whether the connection to the broker is encrypted.";
        user: Option<String> = "client.user.name", "", Supported,
            "The user's login.";
        password: Option<SecretString> = "client.user.password", "", Supported,
            "The user's password. Keep the file readable by its owner alone.";
        auto_connect: bool = "client.auto_connect", "0", Supported,
            "Whether the virtual machine and the token below are used without asking, and the window connects when it opens.";
        auto_connect_vm_id: Option<NonZeroU32> = "client.auto_connect.vm_id", "", Supported,
            "The virtual machine to connect to without asking.";
        auto_connect_token: Option<SecretString> = "client.auto_connect.token", "", Supported,
            "The token to connect with in place of login and password.";
        auth_env_share: bool = "client.auth_env_share.enable", "0", Supported,
            "Whether environment variables are given to the broker's authentication plugins.";
        auth_env_share_list: Numbered<VariableName> = "client.auth_env_share.list.*"
            also "client.auth_env.share.list.*", "", Supported,
            "The environment variables given to the broker: client.auth_env_share.list.0, .1 and so on.";
    }
}

section! {
    /// The session's window and link.
    pub struct Session {
        link: Link = "client.link", "local", Supported,
            "The kind of network to the broker: modem, isdn, adsl, wan, lan, local or a bandwidth such as 56k, 1m, 100m.";
        force_link: Option<Link> = "client.force.link", "", Supported,
            "The only link that may be used, whatever else is asked for. Empty: any.";
        geometry: Option<Geometry> = "client.geometry", "1024x768", Supported,
            "The size of the session's window, WIDTHxHEIGHT in pixels. Empty: the whole screen.";
        fullscreen: bool = "client.fullscreen", "0", Supported,
            "Whether the session fills the screen.";
        nxagent_args: String = "client.nxagent.extra_args", "", Supported,
            "Options for nxagent in the session, such as nx/nx,cache=16384:0. The agent takes those it knows to be harmless.";
        reconnect: Ranged<0, 86400> = "client.reconnect.timeout", "180", Supported,
            "Seconds for which it is tried to get a session back whose connection broke. 0: not at all.";
        carrier: bool = "client.carrier.enable", "1", Supported,
            "Whether the carrier is spoken with an agent that knows it: the session then survives a lost connection as it is, and folders do not go through NX.";
        carrier_grace: Ranged<0, 86400> = "client.carrier.grace", "180", Supported,
            "Seconds for which a session whose connection is lost is kept as it is, window and all. After them it counts as lost.";
        carrier_keepalive: Ranged<1, 3600> = "client.carrier.keepalive", "2", Supported,
            "Seconds of silence after which the agent is asked whether it is there.";
    }
}

section! {
    /// Sound, printers, USB devices.
    pub struct Channel {
        audio: bool = "client.audio.enable", "0", Supported,
            "Whether the session's sound is played here, by PulseAudio or PipeWire. The agent needs vma.audio.enable.";
        audio_compression: bool = "client.audio.compression.enable", "1", Supported,
            "Whether the agent is told that sound may be compressed on its way. nxagent's channel compresses by the link.";
        printing: bool = "client.printing.enable", "1", Supported,
            "Whether the printers of this machine's CUPS are printers of the session. The agent needs vma.printing.enable.";
        usb: bool = "client.usb.enable", "0", Unused,
            "Whether USB devices of this machine can be used in the session.";
        usb_share_all: bool = "client.usb.share_all", "0", Unused,
            "Whether every USB device is shared.";
        usb_share_list: Vec<String> = "client.usb.share_list", "", Unused,
            "The USB devices that are shared.";
        usb_port: NonZeroU16 = "client.usb.usbip.port", "3240", Unused,
            "The port of this machine's USB/IP server.";
    }
}

section! {
    /// What the window offers.
    pub struct Window {
        remember_username: bool = "client.remember_username", "1", Supported,
            "Whether the window keeps the login for the next time.";
        remember_password: bool = "client.remember_password", "0", Supported,
            "Whether the password is kept for the next time, in the desktop's secret store.";
        show_remember_password: bool = "client.show.remember_password", "0", Supported,
            "Whether the window lets the user choose to have the password kept. On a command line --remember does.";
        show_settings: bool = "client.show.settings", "1", Supported,
            "Whether the window shows the settings.";
        kill_vm_display: bool = "client.kill_vm.display", "0", Supported,
            "Whether the window lets the user choose to stop the virtual machine before connecting. On a command line --kill-vm does.";
        locale: Option<Locale> = "client.locale", "", Supported,
            "The language of the window. Empty: the system's.";
        theme: Theme = "client.theme", "system", Supported,
            "The colours of the window: system, light or dark.";
        tray: bool = "client.tray", "1", Supported,
            "Whether a session that runs has an item in the panel, with its shares and statistics and to disconnect. It needs a panel that takes items (StatusNotifierItem).";
    }
}

section! {
    /// Programs the client runs.
    pub struct Nx {
        engine: NxEngine = "client.nx.engine", "native", Supported,
            "What draws the session on the user's display: the client itself (native) or the installed nxproxy.";
        nxproxy: ProgramName = "command.nxproxy", "/usr/bin/nxproxy", Supported,
            "nxproxy, for client.nx.engine = nxproxy.";
        nxproxy_args: Words = "client.nxproxy.extra_args", "", Supported,
            "Arguments for nxproxy beside the client's own.";
    }
}

section! {
    /// The log.
    pub struct Log {
        filename: Option<HomePath> = "log.filename", "~/.qvd/qvd-client.log", Supported,
            "The log file. Empty: standard error.";
        level: LogLevel = "log.level", "INFO", Supported,
            "How much is logged: ALL, DEBUG, INFO, WARN, ERROR, FATAL or OFF.";
    }
}
