//! The configuration file.

use std::path::Path;

use qvd_config::{Program, Properties, ServerConfig};

/// Where the configuration is, unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/qvd/l7r.conf";

/// What is wrong with a configuration: one line a fault.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigFault(pub Vec<String>);

/// A configuration that was read, and the warnings it gave.
#[derive(Debug)]
pub struct Loaded {
    /// The values.
    pub config: ServerConfig,
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
    let config = ServerConfig::from_properties(&properties).map_err(faults)?;
    let warnings = properties
        .warnings(Program::Server)
        .iter()
        .map(ToString::to_string)
        .collect();
    Ok(Loaded { config, warnings })
}
