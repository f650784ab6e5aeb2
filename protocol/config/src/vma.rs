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
    CallKey, Display, FsType, HomePath, Keyboard, Link, Locale, Log4perl, LogLevel, Network,
    ProgramName, Ranged, RpcMethod, ShareEngine, ToleranceChecks, Umask, UserName, Words,
};

mod command;
mod hooks;

pub use command::Command;
pub use hooks::{ActionHooks, HookTimes, OnFail, ProvisioningHooks, StateHooks};

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
    /// What is spoken beneath NX with our own client.
    pub carrier: Carrier,
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
    /// How long hooks may run.
    pub hook_time: HookTimes,
    /// What is run when a hook has failed.
    pub on_fail: OnFail,
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
        if let Some(rpc) = &rpc {
            rpc.check(&mut reader);
        }
        let nx = Nx::read(&mut reader);
        let carrier = Carrier::read(&mut reader);
        let user = User::read(&mut reader);
        let default = SessionDefault::read(&mut reader);
        let channel = Channel::read(&mut reader);
        let on_action = ActionHooks::read(&mut reader);
        let on_state = StateHooks::read(&mut reader);
        let on_provisioning = ProvisioningHooks::read(&mut reader);
        let hook_time = HookTimes::read(&mut reader);
        let on_fail = OnFail::read(&mut reader);
        let command = Command::read(&mut reader);
        let config = || {
            Some(Self {
                process: process?,
                log: log?,
                rpc: rpc?,
                nx: nx?,
                carrier: carrier?,
                user: user?,
                default: default?,
                channel: channel?,
                on_action: on_action?,
                on_state: on_state?,
                on_provisioning: on_provisioning?,
                hook_time: hook_time?,
                on_fail: on_fail?,
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
        title: "Carrier",
        keys: Carrier::KEYS,
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
        title: "Limits of hooks",
        keys: HookTimes::KEYS,
    },
    Section {
        title: "Failed hooks",
        keys: OnFail::KEYS,
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
        as_user: Option<UserName> = "vma.as_user", "", Supported,
            "The user the agent runs as. Empty or root: the one it was started as, which in a virtual machine is root, the reference's default. An agent of another user than root serves that user alone: it prepares no account and mounts nothing.";
        as_group: Option<UserName> = "vma.as_group", "", Supported,
            "The group the agent runs as. Empty: the group of vma.as_user.";
    }
}

section! {
    /// The log.
    pub struct Log {
        path: PathBuf = "path.log", "/var/log/qvd", Supported,
            "The directory of the log files, among them qvd-hooks.log.";
        filename: Option<PathBuf> = "log.filename", "${path.log}/qvd.log", Supported,
            "The log file. Empty: standard error, or the journal where that is what standard error is.";
        journal: bool = "log.journal", "0", Supported,
            "Whether the log goes to systemd's journal, with the session in the field QVD_SESSION, instead of to the file.";
        level: LogLevel = "log.level", "INFO", Supported,
            "How much is logged: ALL, DEBUG, INFO, WARN, ERROR, FATAL or OFF.";
        log4perl: Log4perl = "log4perl.*", "", Supported,
            "Settings of the reference's log library. With log4perl.rootLogger = LEVEL, NAME, … the log goes to the appenders it names instead of to log.filename, and LEVEL counts instead of log.level. log4perl.appender.NAME is Log::Dispatch::Syslog (with .facility, .ident, .socket, .socket.type, .socket.host, .socket.port and .socket.path), Log::Dispatch::File (with .filename) or Log::Dispatch::Screen, each with .Threshold and .layout.ConversionPattern.";
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
        key: Option<CallKey> = "vma.rpc.key", "", Supported,
            "A secret that whoever calls must show, as Authorization: Bearer KEY. Only in a file that not everybody can read. The reference's brokers show none.";
        key_file: Option<PathBuf> = "vma.rpc.key_file", "", Supported,
            "The file whose only line is the secret, instead of vma.rpc.key; not readable by everybody.";
        methods: Vec<RpcMethod> = "vma.rpc.methods", "", Supported,
            "The calls that are taken: ping, x_state, x_wait, x_start, x_suspend, x_stop, poweroff, expire, vnc_connect. Empty: all.";
        tls_cert: Option<PathBuf> = "vma.rpc.tls.cert_file", "", Supported,
            "The agent's certificate and those that lead to a trusted one, PEM. Set, calls are taken over TLS alone. The reference's brokers speak no TLS.";
        tls_key: Option<PathBuf> = "vma.rpc.tls.key_file", "", Supported,
            "The key of the agent's certificate, PEM, not readable by everybody.";
        tls_client_ca: Option<PathBuf> = "vma.rpc.tls.client_ca_file", "", Supported,
            "The certificates, PEM, of who vouches for callers. Set, a caller must have a certificate from one of them.";
    }
}

impl Rpc {
    /// What two keys must agree on.
    fn check(&self, reader: &mut Reader<'_>) {
        let tls = [
            ("vma.rpc.tls.cert_file", self.tls_cert.is_some()),
            ("vma.rpc.tls.key_file", self.tls_key.is_some()),
        ];
        match tls {
            [(set, true), (needed, false)] | [(needed, false), (set, true)] => {
                reader.missing(set, needed);
            }
            [(needed, false), _] if self.tls_client_ca.is_some() => {
                reader.missing("vma.rpc.tls.client_ca_file", needed);
            }
            _ => {}
        }
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
        beginning: Duration = "internal.nxagent.timeout.beginning", "120", Supported,
            "Seconds that a client may take then until its session is up: some eighty round trips. One that has lost its connection on the carrier has `vma.carrier.grace` at least.";
        suspending: Duration = "internal.nxagent.timeout.suspending", "20", Supported,
            "Seconds that nxagent may take to suspend.";
        stopping: Duration = "internal.nxagent.timeout.stopping", "20", Supported,
            "Seconds that a session may take to end before its processes are killed.";
        tolerance_checks: ToleranceChecks = "internal.vma.nxagent.tolerancechecks", "risky", Supported,
            "How far the releases of nxagent and of the client's nxproxy may differ: strict, safe, risky or bypass.";
    }
}

section! {
    /// What is spoken beneath NX with a client that knows it.
    pub struct Carrier {
        enable: bool = "vma.carrier.enable", "1", Supported,
            "Whether the carrier is spoken with a client that knows it: its session then survives a lost connection, and folders do not go through NX.";
        grace: Ranged<1, 86400> = "vma.carrier.grace", "180", Supported,
            "Seconds for which a session whose client is away stays as it is, before it is suspended.";
        keepalive: Ranged<1, 3600> = "vma.carrier.keepalive", "2", Supported,
            "Seconds of silence after which the client is asked whether it is there. With more than 15, nxagent may notice a silent loss by itself.";
    }
}

section! {
    /// Users of the virtual machine and their homes.
    pub struct User {
        default_name: UserName = "vma.user.default.name", "qvd", Supported,
            "The user of a session for whom the broker names none.";
        default_groups: Vec<UserName> = "vma.user.default.groups", "", Supported,
            "The groups, beside his own, of a user for whom the broker names none. A user who is made is put into them; one who exists is in them while his session lasts.";
        home_path: PathBuf = "vma.user.home.path", "/home", Supported,
            "The directory of the home directories.";
        home_drive: Option<PathBuf> = "vma.user.home.drive", "/dev/vdb", Supported,
            "The disk whose first partition is mounted on the directory of the homes when a home is missing and that directory is on the device of /. A disk that holds nothing at all is given a partition and a file system; one with a file system and no partitions is mounted whole; one that holds anything else is refused and left untouched. Empty, or no such device: none.";
        home_fs: FsType = "vma.user.home.fs", "ext4", Supported,
            "The type of file system made on an empty disk of the homes, by mkfs.TYPE. One that is there is mounted as it is.";
        shares_path: HomePath = "vma.user.shares.path", "~/Redirected", Supported,
            "The directory in which the client's shared folders appear.";
        umask: Umask = "vma.user.umask", "0022", Supported,
            "The permissions that the user's new files do not get, in octal.";
        shell: PathBuf = "vma.user.shell", "/bin/bash", Supported,
            "The login shell of a user who is made. One who exists has his own.";
        desktop_icons: bool = "vma.apps.desktop_icons.enable", "0", Unused,
            "Whether an application session of the reference shows icons on its desktop. The agent leaves the desktop to the X session.";
    }
}

section! {
    /// What the client did not say.
    pub struct SessionDefault {
        lang: Locale = "vma.default.lang", "en_US.UTF-8", Supported,
            "The locale of a session where /etc/locale.conf, /etc/default/locale, /etc/environment, PAM and ~/.qvd_environment say no other.";
        keyboard: Keyboard = "vma.default.client.keyboard", "pc105/en", Supported,
            "The keyboard of a client that names none, model/layout.";
        link: Link = "vma.default.client.link", "adsl", Supported,
            "The link of a client that names none: modem, isdn, adsl, wan, lan, local or a bandwidth such as 56k.";
    }
}

section! {
    /// Sound, printers, folders and looking over a user's shoulder.
    pub struct Channel {
        audio: bool = "vma.audio.enable", "0", Supported,
            "Whether the session's sound is played by the client: nxagent carries it, and PULSE_SERVER names its port.";
        printing: bool = "vma.printing.enable", "0", Supported,
            "Whether the client's printers are printers of the session: nxagent carries them, and CUPS_SERVER names its port.";
        slave: bool = "vma.slave.enable", "1", Supported,
            "Whether the slave channel is open, on which folders are shared. The manual has it on, unlike the reference's programs.";
        slave_command: Option<ProgramName> = "vma.slave.command", "qvd-vma-slaveserver", Supported,
            "The program that serves the slave channel. Empty: there is none and folders cannot be shared.";
        share_engine: ShareEngine = "vma.share.engine", "qvd", Supported,
            "What mounts shared folders: qvd, the agent's own file system, or sshfs.";
        share_timeout: Duration = "vma.share.timeout", "30", Supported,
            "Seconds that the sharing end may be silent before what was asked of it fails. While the carrier has no connection they do not pass.";
        sshfs_args: Words = "vma.sshfs.extra_args", "", Supported,
            "Arguments for sshfs, where it mounts shared folders.";
        x11vnc_args: Words = "vma.x11vnc.extra_args", "", Supported,
            "Arguments for x11vnc, with which an administrator sees the session.";
        x11vnc_confirm: bool = "vma.x11vnc.confirm.enabled", "1", Supported,
            "Whether the user is asked before an administrator sees the session.";
        x11vnc_confirm_command: Option<ProgramName> = "vma.x11vnc.confirm.command", "", Supported,
            "The program that asks the user, on the session's display: it exits with 0 when the user agrees. Empty: zenity, kdialog or xmessage, whichever is there.";
    }
}
