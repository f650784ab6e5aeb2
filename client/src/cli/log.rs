//! Where the client's log goes.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;
use std::sync::Mutex;

use qvd_config::value::LogLevel;
use tracing_subscriber::filter::LevelFilter;

use super::environment::Environment;

/// A log beyond this, in bytes, is moved away at the next start; one old log is
/// kept.
const MAX_LOG: u64 = 8 << 20;

/// How much is logged.
pub(super) fn level(configured: LogLevel) -> LevelFilter {
    match configured {
        LogLevel::All => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error | LogLevel::Fatal => LevelFilter::ERROR,
        LogLevel::Off => LevelFilter::OFF,
        _ => LevelFilter::INFO,
    }
}

/// Sends the log to a file that only the user can read, or to standard error
/// where there is none. A log that cannot be written keeps nobody from work:
/// the fault is given back for a warning.
pub fn init(file: Option<&Path>, level: LevelFilter) -> Option<String> {
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

/// The log of a run whose settings are faulty: where `QVD_DEBUG_FILE` says, else
/// in the default place.
pub(super) fn init_default(environment: &Environment) {
    let file = environment.debug_file.clone().or_else(|| {
        let home = environment.home.as_ref()?;
        // Nobody asked for this log: no folder is made for it.
        let folder = home.join(".qvd");
        folder.is_dir().then(|| folder.join("qvd-client.log"))
    });
    if let Some(file) = file {
        init(Some(&file), LevelFilter::INFO);
    }
}

fn open(path: &Path) -> io::Result<std::fs::File> {
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    if std::fs::metadata(path).is_ok_and(|is| is.is_file() && is.len() > MAX_LOG) {
        let mut old = path.as_os_str().to_owned();
        old.push(".1");
        std::fs::rename(path, old)?;
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let is = file.metadata()?;
    // A log of the reference, or of another program's making.
    if is.is_file() && is.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_log_that_others_could_read_is_closed_and_a_large_one_moved_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "before\n").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let file = open(&path).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read(&path).unwrap(), b"before\n");
        file.set_len(MAX_LOG + 1).unwrap();
        assert_eq!(open(&path).unwrap().metadata().unwrap().len(), 0);
        let old = std::fs::metadata(dir.path().join("log.1")).unwrap();
        assert_eq!(old.len(), MAX_LOG + 1);
    }
}
