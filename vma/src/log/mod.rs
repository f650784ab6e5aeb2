//! Where the log goes.

mod file;
mod hooks;
mod text;
mod time;

pub use hooks::HookLog;

use anyhow::Context as _;
use qvd_config::VmaConfig;
use qvd_config::value::LogLevel;
use tracing_subscriber::filter::LevelFilter;

/// Sends the log to the file of the configuration, or to standard error where
/// it names none.
///
/// Standard error itself is turned to the file, so that a session process,
/// which inherits it and may not open the file, logs there too.
///
/// # Errors
/// When the file cannot be opened.
pub fn init(config: &VmaConfig) -> anyhow::Result<()> {
    if let Some(path) = &config.log.filename {
        let file = file::open(path).with_context(|| format!("log file {}", path.display()))?;
        rustix::stdio::dup2_stderr(file)?;
    }
    init_stderr(level(config.log.level));
    Ok(())
}

/// The variable by which the daemon tells a session process how much to log.
pub const LEVEL: &str = "QVD_LOG_LEVEL";

/// Sends the log of a session process to the standard error it was given.
pub fn init_session() {
    let level = std::env::var(LEVEL)
        .ok()
        .and_then(|level| level.parse().ok());
    init_stderr(level.unwrap_or(LevelFilter::INFO));
}

fn init_stderr(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(level)
        .init();
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
