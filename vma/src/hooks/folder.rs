//! Folders of hooks.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Most executables in a folder; more are a mistake.
const MAX_PARTS: usize = 256;

/// What is in a folder of hooks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The executables, in the order of their names.
    pub run: Vec<PathBuf>,
    /// Files that are passed over, each with the reason, for the log.
    pub skipped: Vec<String>,
}

/// Whether a path says that it is a folder of hooks.
#[must_use]
pub fn is_one(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("d")) && path.is_dir()
}

/// Lists a folder as run-parts does: names of letters, digits, `_` and `-`
/// only, executables only, in the order of the bytes of their names.
///
/// # Errors
/// When it cannot be listed, or holds more than 256 executables.
pub fn parts(folder: &Path) -> io::Result<Parts> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    names.sort();
    let mut parts = Parts::default();
    for name in names {
        let path = folder.join(&name);
        // Follows links, as the system does when it runs one.
        let Ok(metadata) = fs::metadata(&path) else {
            parts.skip(&path, "leads nowhere");
            continue;
        };
        let bytes = name.as_bytes();
        let backup = bytes.starts_with(b".") || bytes.ends_with(b"~");
        if metadata.is_dir() || backup {
            continue;
        }
        if !bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(b))
        {
            parts.skip(&path, "has more than letters, digits, _ and - in its name");
        } else if metadata.permissions().mode() & 0o111 == 0 {
            parts.skip(&path, "is not executable");
        } else {
            parts.run.push(path);
        }
    }
    if parts.run.len() > MAX_PARTS {
        let message = format!("holds more than {MAX_PARTS} executables");
        return Err(io::Error::other(message));
    }
    Ok(parts)
}

impl Parts {
    fn skip(&mut self, path: &Path, why: &str) {
        self.skipped.push(format!("{} {why}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_with_plain_names_come_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("connect.d");
        fs::create_dir(&folder).unwrap();
        for (name, mode) in [
            ("20_late", 0o755),
            ("10-early", 0o700),
            ("Z", 0o755),
            ("30-text", 0o644),
            ("40.sh", 0o755),
            ("50-old~", 0o755),
            (".hidden", 0o755),
        ] {
            let path = folder.join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(folder.join("60-folder")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.join("70-link")).unwrap();
        std::os::unix::fs::symlink("Z", folder.join("80-link")).unwrap();
        assert!(is_one(&folder));
        assert!(!is_one(dir.path()));
        let parts = parts(&folder).unwrap();
        let names: Vec<_> = parts.run.iter().map(|p| p.file_name().unwrap()).collect();
        assert_eq!(names, ["10-early", "20_late", "80-link", "Z"]);
        let skipped = parts.skipped.join("\n");
        for name in ["30-text is not exec", "40.sh has more", "70-link leads"] {
            assert!(skipped.contains(name), "{skipped}");
        }
        assert_eq!(parts.skipped.len(), 3);
    }
}
