//! The agent's configuration files, and what the daemon makes of them.

use std::path::{Path, PathBuf};

use qvd_config::{Program, Properties, VmaConfig};

use crate::machine::Timeouts;
use crate::parameters::Defaults;

/// Where the configuration is, unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/qvd/vma.conf";

/// What is wrong with a configuration: one line a fault.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigFault(pub Vec<String>);

/// A configuration that was read, and the warnings it gave.
#[derive(Debug)]
pub struct Loaded {
    /// The values.
    pub config: VmaConfig,
    /// One line each, with file and line number.
    pub warnings: Vec<String>,
}

/// Reads a configuration file.
///
/// # Errors
/// Everything that is wrong with it, with file, line and key.
pub fn load(path: &Path) -> Result<Loaded, ConfigFault> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|e| ConfigFault(vec![format!("{name}: {e}")]))?;
    let faults = |errors: Vec<qvd_config::ConfigError>| {
        ConfigFault(errors.iter().map(ToString::to_string).collect())
    };
    let properties =
        Properties::from_sources([(name.as_str(), bytes.as_slice())]).map_err(faults)?;
    let config = VmaConfig::from_properties(&properties).map_err(faults)?;
    let warnings = properties
        .warnings(Program::Vma)
        .iter()
        .map(ToString::to_string)
        .collect();
    Ok(Loaded { config, warnings })
}

/// The times the session's machine keeps.
#[must_use]
pub fn timeouts(config: &VmaConfig) -> Timeouts {
    Timeouts {
        initiating: config.nx.initiating,
        listening: config.nx.listening,
        suspending: config.nx.suspending,
        stopping: config.nx.stopping,
    }
}

/// What a start falls back on.
#[must_use]
pub fn defaults(config: &VmaConfig) -> Defaults {
    Defaults {
        keyboard: config.default.keyboard.to_string(),
        link: config.default.link.to_string(),
        tolerancechecks: config.nx.tolerance_checks.to_string(),
    }
}

/// The files of a session in `path.run`, named after its display so that
/// agents with different displays can share the folder.
#[derive(Debug, Clone)]
pub struct SessionPaths {
    /// Number of the session's display.
    pub display: u16,
    /// Folder of the session's user: sockets, options, X authority.
    pub dir: PathBuf,
    /// The session process's control socket; the daemon's.
    pub control: PathBuf,
    /// Which session runs, for the next daemon; the daemon's.
    pub record: PathBuf,
}

impl SessionPaths {
    /// The files of this agent's session.
    #[must_use]
    pub fn new(config: &VmaConfig) -> Self {
        let display = config.nx.display.number();
        let file = |suffix: &str| {
            config
                .process
                .run
                .join(format!("session-{display}{suffix}"))
        };
        Self {
            display,
            dir: file(""),
            control: file(".sock"),
            record: file(".json"),
        }
    }
}
