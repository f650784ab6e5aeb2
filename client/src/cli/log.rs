//! Where the client's log goes.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::filter::LevelFilter;

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
