//! Where the client's log goes.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Mutex;

use qvd_config::value::LogLevel;
use tracing_subscriber::filter::LevelFilter;

/// How much is logged: what the configuration says, and more with `-d`.
pub(super) fn level(configured: LogLevel, debug: bool) -> LevelFilter {
    let level = match configured {
        LogLevel::All => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error | LogLevel::Fatal => LevelFilter::ERROR,
        LogLevel::Off => LevelFilter::OFF,
        _ => LevelFilter::INFO,
    };
    if debug {
        level.max(LevelFilter::DEBUG)
    } else {
        level
    }
}

/// Sends the log to a file that only the user can read, or to standard error
/// where there is none. A log that cannot be written keeps nobody from work:
/// the fault is given back for a warning.
pub(super) fn init(file: Option<&Path>, level: LevelFilter) -> Option<String> {
    let builder = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(level);
    let Some(path) = file else {
        let _ = builder.with_writer(io::stderr).try_init();
        return None;
    };
    match open(path) {
        Ok(file) => {
            let _ = builder.with_writer(Mutex::new(file)).try_init();
            None
        }
        Err(error) => Some(format!("no log in {}: {error}", path.display())),
    }
}

fn open(path: &Path) -> io::Result<std::fs::File> {
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn debugging_logs_more_and_never_less() {
        assert_eq!(level(LogLevel::Off, false), LevelFilter::OFF);
        assert_eq!(level(LogLevel::Off, true), LevelFilter::DEBUG);
        assert_eq!(level(LogLevel::All, true), LevelFilter::TRACE);
        assert_eq!(level(LogLevel::Info, false), LevelFilter::INFO);
    }

    #[test]
    fn the_log_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/log");
        let mode = open(&path)
            .unwrap()
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
