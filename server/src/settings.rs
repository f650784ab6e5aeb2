//! The broker's configuration file and log.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use qvd_config::value::LogLevel;
use qvd_config::{ConfigError, Program, Properties, ServerConfig};
use tracing_subscriber::filter::LevelFilter;

use crate::Error;

/// Where the configuration is, unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/qvd/l7r.conf";

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
/// Everything that is wrong with it, a line each, with file, line and key.
pub fn load(path: &Path) -> Result<Loaded, Error> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|e| Error::file("read", path, e))?;
    let faults = |errors: Vec<ConfigError>| {
        let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
        Error::Config(lines.join("\n"))
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

/// Sends the log to the file of the configuration, or to standard error where
/// it names none.
///
/// # Errors
/// When the file cannot be opened.
pub fn init_log(config: &ServerConfig) -> Result<(), Error> {
    let builder = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(level(config.log.level));
    let Some(path) = &config.log.filename else {
        builder.with_writer(std::io::stderr).init();
        return Ok(());
    };
    let failed = |e| Error::file("write", path, e);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    // Names of users and hosts are nobody else's business.
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path);
    builder
        .with_writer(Mutex::new(file.map_err(failed)?))
        .init();
    Ok(())
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::All => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error | LogLevel::Fatal => LevelFilter::ERROR,
        _ => LevelFilter::OFF,
    }
}
