//! The broker's configuration: `l7r.conf`.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::ConfigError;
use crate::key::Status::{Refused, Supported, Unused};
use crate::key::{Key, Program, Section};
use crate::properties::Properties;
use crate::read::{Reader, section};
use crate::value::{LogLevel, Ranged};

/// Everything the broker's configuration says.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where clients connect.
    pub l7r: L7r,
    /// Certificates.
    pub ssl: Ssl,
    /// How long things may take.
    pub timeout: Timeout,
    /// Directories and the log.
    pub log: Log,
}

impl ServerConfig {
    /// Reads every key.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, not only the first.
    pub fn from_properties(properties: &Properties) -> Result<Self, Vec<ConfigError>> {
        let mut reader = Reader::new(properties, Program::Server);
        let l7r = L7r::read(&mut reader);
        let ssl = Ssl::read(&mut reader);
        let timeout = Timeout::read(&mut reader);
        let log = Log::read(&mut reader);
        let config = || {
            Some(Self {
                l7r: l7r?,
                ssl: ssl?,
                timeout: timeout?,
                log: log?,
            })
        };
        let config = config();
        reader.finish(config)
    }
}

pub(crate) const SECTIONS: &[Section] = &[
    Section {
        title: "The broker",
        keys: L7r::KEYS,
    },
    Section {
        title: "Certificates",
        keys: Ssl::KEYS,
    },
    Section {
        title: "How long things may take",
        keys: Timeout::KEYS,
    },
    Section {
        title: "Directories and log",
        keys: Log::KEYS,
    },
    Section {
        title: "Keys of the reference that mean nothing here",
        keys: OTHERS,
    },
];

section! {
    /// Where clients connect.
    pub struct L7r {
        address: IpAddr = "l7r.address", "*", Supported,
            "The address on which clients are taken. *: every IPv4 address.";
        port: u16 = "l7r.port", "8443", Supported,
            "The port on which clients are taken. 0: the system chooses.";
        use_ssl: bool = "l7r.use_ssl", "1", Supported,
            "Whether connections of clients are encrypted.";
        inventory: PathBuf = "l7r.inventory", "/etc/qvd/inventory.toml", Supported,
            "The file that lists users and virtual machines, TOML.";
        pid_file: Option<PathBuf> = "l7r.pid_file", "${path.run}/l7r.pid", Supported,
            "The file the broker writes its process number to. Empty: none.";
        metrics_port: Option<NonZeroU16> = "l7r.metrics.port", "", Supported,
            "The port on 127.0.0.1 where the broker's counters are read, as http://127.0.0.1:PORT/metrics in Prometheus' text format. Empty: nowhere.";
    }
}

section! {
    /// Certificates.
    pub struct Ssl {
        cert_file: PathBuf = "l7r.ssl.cert_file", "/etc/qvd/l7r-cert.pem", Supported,
            "The broker's certificate and those that lead to a trusted one, PEM.";
        key_file: PathBuf = "l7r.ssl.key_file", "/etc/qvd/l7r-key.pem", Supported,
            "The key of the broker's certificate, PEM, readable by the broker alone.";
        self_signed: bool = "l7r.ssl.self_signed", "0", Supported,
            "Whether the broker makes a certificate that vouches for itself when both files are missing.";
    }
}

section! {
    /// How long things may take. The names are the reference's kind, the
    /// numbers what it was seen to use.
    pub struct Timeout {
        x_start: Ranged<1, 1000> = "internal.l7r.timeout.x_start", "20", Supported,
            "How many times an agent is asked to start a session before the client is told that it failed.";
        listening: Duration = "internal.l7r.timeout.listening", "10", Supported,
            "Seconds that a session may take until it can be connected to. Provisioning does not count.";
        takeover: Duration = "internal.l7r.timeout.takeover", "30", Supported,
            "Seconds that another connection to the same virtual machine has to end.";
        vm_start: Duration = "internal.l7r.timeout.vm_start", "270", Unused,
            "Seconds that a virtual machine may take to start.";
    }
}

section! {
    /// Directories and the log.
    pub struct Log {
        run: PathBuf = "path.run", "/var/run/qvd", Supported,
            "The directory of what lives as long as the broker.";
        path: PathBuf = "path.log", "/var/log/qvd", Supported,
            "The directory of the log file.";
        filename: Option<PathBuf> = "log.filename", "${path.log}/qvd.log", Supported,
            "The log file. Empty: standard error.";
        level: LogLevel = "log.level", "INFO", Supported,
            "How much is logged: ALL, DEBUG, INFO, WARN, ERROR, FATAL or OFF.";
    }
}

const OTHERS: &[Key] = &[
    Key::of::<String>(
        "l7r.as_user",
        &[],
        "root",
        Unused,
        "The user the reference's broker runs as. Choose it where the broker is started.",
    ),
    Key::of::<String>(
        "l7r.auth.plugins",
        &[],
        "default",
        Refused("users are those of l7r.inventory, no other source is asked"),
        "The reference's sources of users and passwords.",
    ),
    Key::of::<String>(
        "l7r.auth.mode",
        &[],
        "",
        Refused("users are those of l7r.inventory, no other source is asked"),
        "An older name of l7r.auth.plugins.",
    ),
    Key::of::<String>(
        "l7r.loadbalancer.plugin",
        &[],
        "default",
        Unused,
        "How the reference chooses the node of a virtual machine.",
    ),
    Key::of::<String>(
        "l7r.loadbalancer.plugin.*",
        &[],
        "",
        Unused,
        "Settings of the reference's choice of a node.",
    ),
];
