//! Where nxagent compiles keymaps.
//!
//! An nxagent of root writes them to `compiled` below its XKB folder (seen on
//! 3.5.99.26), which Debian does not have there: the compiler fails, and the
//! keyboard of the client is not the session's. nxagents of other users write
//! to `/tmp` and need nothing.

use std::fs::{DirBuilder, read_dir};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

/// Where the system has its keyboards.
const SYSTEM: &str = "/usr/share/X11/xkb";

/// The folder into which nxagent compiles, below its XKB folder.
const COMPILED: &str = "compiled";

/// Makes an XKB folder of the session's own in `dir`, where one is needed: the
/// system's keyboards by links, and a place to compile.
///
/// # Errors
/// As of the file system; the session can do without.
pub fn own_folder(dir: &Path) -> io::Result<Option<PathBuf>> {
    if !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    let folder = dir.join("xkb");
    let private = |path: &Path| DirBuilder::new().mode(0o700).create(path);
    let entries = read_dir(SYSTEM)?;
    private(&folder)?;
    private(&folder.join(COMPILED))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_name() != COMPILED {
            symlink(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    Ok(Some(folder))
}
