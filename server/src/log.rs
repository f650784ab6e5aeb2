//! Where the log goes.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Mutex;

use qvd_config::ServerConfig;
use qvd_config::value::LogLevel;
use tracing_subscriber::filter::LevelFilter;

use crate::Error;

/// Sends the log to the file of the configuration, or to standard error where
/// it names none.
///
/// # Errors
/// When the file cannot be opened.
pub fn init(config: &ServerConfig) -> Result<(), Error> {
    let log = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(level(config.log.level));
    match &config.log.filename {
        None => log.with_writer(std::io::stderr).init(),
        Some(path) => {
            let error = |source| Error::file("write", path, source);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(error)?;
            }
            // Names of users and addresses are nobody else's business.
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .open(path)
                .map_err(error)?;
            log.with_writer(Mutex::new(file)).init();
        }
    }
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
