//! The agent's configuration: `vma.conf`.
//!
//! Nothing here needs root: an agent that a developer runs for himself sets
//! `path.run` and `log.filename` to places of his own.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::ConfigError;
use crate::key::Status::{Supported, Unused};
use crate::key::{Program, Section};
use crate::properties::Properties;
use crate::read::{Reader, section};
use crate::value::{
    Display, FsType, HomePath, Keyboard, Link, Locale, Log4perl, LogLevel, Network, ProgramName,
    ShareEngine, ToleranceChecks, Umask, UserName, Words,
};

mod command;
mod hooks;

pub use command::Command;
pub use hooks::{ActionHooks, ProvisioningHooks, StateHooks};

/// Everything the agent's configuration says.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VmaConfig {
    /// Directories and the agent's own process.
    pub process: Process,
    /// The log.
    pub log: Log,
    /// The remote procedure calls of the hypervisor's side.
    pub rpc: Rpc,
    /// nxagent and its port.
    pub nx: Nx,
    /// Users of the virtual machine and their homes.
    pub user: User,
    /// What the client did not say.
    pub default: SessionDefault,
    /// Sound, printers, folders and looking over a user's shoulder.
    pub channel: Channel,
    /// Hooks run when something is asked for.
    pub on_action: ActionHooks,
    /// Hooks run when something has happened.
    pub on_state: StateHooks,
    /// Hooks that prepare a user's account.
    pub on_provisioning: ProvisioningHooks,
    /// Programs the agent runs.
    pub command: Command,
}

impl VmaConfig {
    /// Reads every key.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, not only the first.
    pub fn from_properties(properties: &Properties) -> Result<Self, Vec<ConfigError>> {
        let mut reader = Reader::new(properties, Program::Vma);
        let process = Process::read(&mut reader);
        let log = Log::read(&mut reader);
        let rpc = Rpc::read(&mut reader);
        let nx = Nx::read(&mut reader);
        let user = User::read(&mut reader);
        let default = SessionDefault::read(&mut reader);
        let channel = Channel::read(&mut reader);
        let on_action = ActionHooks::read(&mut reader);
        let on_state = StateHooks::read(&mut reader);
        let on_provisioning = ProvisioningHooks::read(&mut reader);
        let command = Command::read(&mut reader);
        let config = || {
            Some(Self {
                process: process?,
                log: log?,
                rpc: rpc?,
                nx: nx?,
                user: user?,
                default: default?,
                channel: channel?,
                on_action: on_action?,
                on_state: on_state?,
                on_provisioning: on_provisioning?,
                command: command?,
            })
        };
        let config = config();
        reader.finish(config)
    }
}

pub(crate) const SECTIONS: &[Section] = &[
    Section {
        title: "The agent",
        keys: Process::KEYS,
    },
    Section {
        title: "Log",
        keys: Log::KEYS,
    },
    Section {
        title: "Remote procedure calls",
        keys: Rpc::KEYS,
    },
    Section {
        title: "nxagent",
        keys: Nx::KEYS,
    },
    Section {
        title: "Users",
        keys: User::KEYS,
    },
    Section {
        title: "Defaults of a session",
        keys: SessionDefault::KEYS,
    },
    Section {
        title: "Sound, printers, folders, VNC",
        keys: Channel::KEYS,
    },
    Section {
        title: "Action hooks",
        keys: ActionHooks::KEYS,
    },
    Section {
        title: "State hooks",
        keys: StateHooks::KEYS,
    },
    Section {
        title: "Provisioning hooks",
        keys: ProvisioningHooks::KEYS,
    },
    Section {
        title: "Programs",
        keys: Command::KEYS,
    },
];

section! {
    /// Directories and the agent's own process.
    pub struct Process {
        run: PathBuf = "path.run", "/var/run/qvd", Supported,
            "The directory of what lives as long as the agent or a session: sockets, the options of nxagent, the slave key.";
        pid_file: Option<PathBuf> = "vma.pid_file", "${path.run}/vma.pid", Supported,
            "The file the agent writes its process number to. Empty: none.";
        as_user: Option<UserName> = "vma.as_user", "", Unused,
            "The user the agent runs as. Empty: the one it was started as, which in a virtual machine is root, the reference's default.";
        as_group: Option<UserName> = "vma.as_group", "", Unused,
            "The group the agent runs as. Empty: the one it was started as.";
    }
}

section! {
    /// The log.
    pub struct Log {
        path: PathBuf = "path.log", "/var/log/qvd", Supported,
            "The directory of the log files, among them qvd-hooks.log.";
        filename: Option<PathBuf> = "log.filename", "${path.log}/qvd.log", Supported,
            "The log file. Empty: standard error.";
        level: LogLevel = "log.level", "INFO", Supported,
            "How much is logged: ALL, DEBUG, INFO, WARN, ERROR, FATAL or OFF.";
        log4perl: Log4perl = "log4perl.*", "", Unused,
            "Settings of the reference's log library. Of these the syslog appender counts: log4perl.appender.SYSLOG = Log::Dispatch::Syslog with log4perl.rootLogger = DEBUG, SYSLOG.";
    }
}

section! {
    /// The remote procedure calls of the hypervisor's side.
    pub struct Rpc {
        address: IpAddr = "vma.rpc.address", "0.0.0.0", Supported,
            "The address on which the agent takes calls. An IPv6 address, such as ::, takes IPv6, and IPv4 where the system is set so.";
        port: u16 = "vma.rpc.port", "3030", Supported,
            "The port on which the agent takes calls; the reference's brokers expect 3030. 0: the system chooses.";
        allow: Vec<Network> = "vma.rpc.allow", "", Supported,
            "The networks and addresses that may call and connect to a session. Empty: on the machine itself root and the agent's own user, and the networks it is directly connected to; of an agent that does not run as root, these users of the machine alone.";
    }
}

section! {
    /// nxagent and its port.
    pub struct Nx {
        address: IpAddr = "vma.nx.address", "${vma.rpc.address}", Supported,
            "The address on which the session's port, display + 4000, is opened while a session is awaited.";
        display: Display = "internal.nxagent.display", "100", Supported,
            "The number of the X display of the session. The broker connects to display + 4000.";
        initiating: Duration = "internal.nxagent.timeout.initiating", "20", Supported,
            "Seconds that nxagent may take to start or wake up.";
        listening: Duration = "internal.nxagent.timeout.listening", "10", Supported,
            "Seconds that a session waits for its client to connect.";
        suspending: Duration = "internal.nxagent.timeout.suspending", "20", Supported,
            "Seconds that nxagent may take to suspend.";
        stopping: Duration = "internal.nxagent.timeout.stopping", "20", Supported,
            "Seconds that a session may take to end before its processes are killed.";
        tolerance_checks: ToleranceChecks = "internal.vma.nxagent.tolerancechecks", "risky", Supported,
            "How far the releases of nxagent and of the client's nxproxy may differ: strict, safe, risky or bypass.";
    }
}

section! {
    /// Users of the virtual machine and their homes.
    pub struct User {
        default_name: UserName = "vma.user.default.name", "qvd", Supported,
            "The user of a session for whom the broker names none.";
        default_groups: Vec<UserName> = "vma.user.default.groups", "", Unused,
            "The groups of a user for whom the broker names none.";
        home_path: PathBuf = "vma.user.home.path", "/home", Unused,
            "The directory of the home directories.";
        home_drive: Option<PathBuf> = "vma.user.home.drive", "/dev/vdb", Unused,
            "The disk whose first partition is mounted on the directory of the homes; the partition and its file system are made when missing. Empty: none.";
        home_fs: FsType = "vma.user.home.fs", "ext4", Unused,
            "The type of file system made on the disk of the homes.";
        shares_path: HomePath = "vma.user.shares.path", "~/Redirected", Supported,
            "The directory in which the client's shared folders appear.";
        umask: Umask = "vma.user.umask", "0022", Supported,
            "The permissions that the user's new files do not get, in octal.";
        shell: PathBuf = "vma.user.shell", "/bin/bash", Unused,
            "The login shell of a new user.";
        desktop_icons: bool = "vma.apps.desktop_icons.enable", "0", Unused,
            "Whether an application session shows icons on its desktop.";
    }
}

section! {
    /// What the client did not say.
    pub struct SessionDefault {
        lang: Locale = "vma.default.lang", "en_US.UTF-8", Supported,
            "The locale of a session.";
        keyboard: Keyboard = "vma.default.client.keyboard", "pc105/en", Supported,
            "The keyboard of a client that names none, model/layout.";
        link: Link = "vma.default.client.link", "adsl", Supported,
            "The link of a client that names none: modem, isdn, adsl, wan, lan, local or a bandwidth such as 56k.";
    }
}

section! {
    /// Sound, printers, folders and looking over a user's shoulder.
    pub struct Channel {
        audio: bool = "vma.audio.enable", "0", Unused,
            "Whether the session's sound is played by the client.";
        printing: bool = "vma.printing.enable", "0", Unused,
            "Whether the client's printers are printers of the session.";
        slave: bool = "vma.slave.enable", "0", Unused,
            "Whether the slave channel is open, on which folders are shared.";
        slave_command: Option<ProgramName> = "vma.slave.command", "qvd-vma-slaveserver", Unused,
            "The program that serves the slave channel. Empty: there is none and folders cannot be shared.";
        share_engine: ShareEngine = "vma.share.engine", "qvd", Supported,
            "What mounts shared folders: qvd, the agent's own file system, or sshfs.";
        share_timeout: Duration = "vma.share.timeout", "30", Supported,
            "Seconds that the sharing end may be silent before what was asked of it fails.";
        sshfs_args: Words = "vma.sshfs.extra_args", "", Supported,
            "Arguments for sshfs, where it mounts shared folders.";
        x11vnc_args: Words = "vma.x11vnc.extra_args", "", Unused,
            "Arguments for x11vnc, with which an administrator sees the session.";
        x11vnc_confirm: bool = "vma.x11vnc.confirm.enabled", "1", Unused,
            "Whether the user is asked before an administrator sees the session.";
        x11vnc_confirm_command: Option<ProgramName> = "vma.x11vnc.confirm.command", "", Unused,
            "The program that asks the user. Empty: the agent's own.";
    }
}
