//! Whether a hook is whose it must be.
//!
//! The agent runs hooks as root: whoever can change one, or a folder on the way
//! to it, is root. So each folder, each link's place and the file itself must
//! be root's (or the agent's own user's), and not writable by others. A folder
//! with the sticky bit, such as `/tmp`, may be: what root owns in it stays.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// Most links followed, as the kernel does.
const MAX_LINKS: u32 = 40;

/// Checks the executable at `path`.
///
/// # Errors
/// What is wrong, to follow the path's name.
pub fn executable(path: &Path) -> Result<(), String> {
    let metadata = walk(path)?;
    if metadata.is_dir() {
        return Err("is a folder; a folder of hooks has a name that ends in .d".into());
    }
    if !metadata.is_file() {
        return Err("is no file".into());
    }
    if rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_err() {
        return Err("is not executable".into());
    }
    Ok(())
}

/// Checks the folder of hooks at `path`.
///
/// # Errors
/// What is wrong, to follow the path's name.
pub fn folder(path: &Path) -> Result<(), String> {
    walk(path).map(|_| ())
}

/// Goes from the root to `path` and through each link, and checks everything
/// on the way; gives what is at its end.
fn walk(path: &Path) -> Result<Metadata, String> {
    let mut todo: Vec<PathBuf> = components(path);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(next) = todo.pop() {
        if next == Path::new("..") {
            here.pop();
            continue;
        }
        let at = here.join(&next);
        let found = look(&at)?;
        if found.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return Err("is behind too many links".into());
            }
            let target = fs::read_link(&at).map_err(|e| e.to_string())?;
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            todo.extend(components(&target));
            continue;
        }
        check(&found, &at, path)?;
        here = at;
    }
    // A path can end in `..`.
    look(&here)
}

/// The names in a path, last first.
fn components(path: &Path) -> Vec<PathBuf> {
    path.components()
        .rev()
        .filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir))
        .map(|c| PathBuf::from(c.as_os_str()))
        .collect()
}

fn look(path: &Path) -> Result<Metadata, String> {
    fs::symlink_metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        _ => error.to_string(),
    })
}

fn check(metadata: &Metadata, at: &Path, path: &Path) -> Result<(), String> {
    let (user, group) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    // "is writable by others", of the hook itself or of what leads to it.
    let what = |wrong: &str| {
        if at == path {
            wrong.to_owned()
        } else {
            format!("is not safe: {} {wrong}", at.display())
        }
    };
    if metadata.uid() != 0 && metadata.uid() != user {
        return Err(what("does not belong to root"));
    }
    let mode = metadata.mode();
    let sticky = metadata.is_dir() && mode & 0o1000 != 0;
    let others = mode & 0o002 != 0;
    // The agent's own group is trusted as root's is: of a user who runs the
    // agent for himself it is often his alone.
    let strangers = mode & 0o020 != 0 && metadata.gid() != 0 && metadata.gid() != group;
    if (others || strangers) && !sticky {
        return Err(what("is writable by others"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_hook_that_others_can_change_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("hooks");
        fs::create_dir(&folder).unwrap();
        let hook = folder.join("connect");
        assert_eq!(executable(&hook).unwrap_err(), "does not exist");
        fs::write(&hook, "#!/bin/sh\n").unwrap();
        mode(&hook, 0o644);
        assert_eq!(executable(&hook).unwrap_err(), "is not executable");
        mode(&hook, 0o755);
        executable(&hook).unwrap();
        mode(&hook, 0o757);
        assert_eq!(executable(&hook).unwrap_err(), "is writable by others");
        mode(&hook, 0o755);
        assert!(executable(&folder).unwrap_err().starts_with("is a folder"));

        mode(&folder, 0o777);
        let wrong = executable(&hook).unwrap_err();
        assert!(wrong.starts_with("is not safe: /"), "{wrong}");
        assert!(wrong.ends_with("hooks is writable by others"), "{wrong}");
        mode(&folder, 0o1777);
        executable(&hook).unwrap();
        mode(&folder, 0o755);
    }

    #[test]
    fn links_are_followed_and_their_places_checked() {
        let dir = tempfile::tempdir().unwrap();
        let (safe, open) = (dir.path().join("safe"), dir.path().join("open"));
        fs::create_dir(&safe).unwrap();
        fs::create_dir(&open).unwrap();
        mode(&open, 0o777);
        let real = safe.join("real");
        fs::write(&real, "").unwrap();
        mode(&real, 0o755);
        // safe/first → open/second → safe/real
        symlink("../open/second", safe.join("first")).unwrap();
        symlink(&real, open.join("second")).unwrap();
        symlink("real", safe.join("direct")).unwrap();
        symlink("loop", safe.join("loop")).unwrap();
        executable(&safe.join("direct")).unwrap();
        assert!(executable(&safe.join("first")).is_err());
        assert_eq!(
            executable(&safe.join("loop")).unwrap_err(),
            "is behind too many links"
        );
    }

    #[test]
    fn a_hook_of_another_user_is_refused() {
        // Only root can give a file away.
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let hook = dir.path().join("hook");
        fs::write(&hook, "").unwrap();
        mode(&hook, 0o755);
        std::os::unix::fs::chown(&hook, Some(12345), None).unwrap();
        assert_eq!(executable(&hook).unwrap_err(), "does not belong to root");
    }
}
