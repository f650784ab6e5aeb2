//! Making a home from the skeleton.
//!
//! It is made in a folder beside its place and moved there when it is whole,
//! so that nobody ever finds half of it: a home that is there is taken as it
//! is.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, lchown,
    symlink,
};
use std::path::{Path, PathBuf};

use super::journal::{Journal, Step};
use crate::control::User;

/// What a new home holds.
const SKELETON: &str = "/etc/skel";

/// Where the system's administrator says what mode a new home has.
const LOGIN_DEFS: &str = "/etc/login.defs";

/// Mode of a new home of which `HOME_MODE` says nothing.
const HOME_MODE: u32 = 0o700;

/// Folders below folders in a skeleton.
const MAX_DEPTH: usize = 32;

/// Longest [`LOGIN_DEFS`] that is read, in bytes.
const MAX_DEFS: u64 = 1 << 20;

/// Makes the home of a user who has none.
///
/// # Errors
/// One sentence. Nothing is left of it then.
pub fn make(user: &User, journal: &mut Journal) -> Result<(), String> {
    let home = &user.home;
    let fault = |e: io::Error| format!("home {} cannot be made: {e}", home.display());
    let staging = staging(home).ok_or_else(|| fault(io::ErrorKind::InvalidInput.into()))?;
    if let Some(parent) = home.parent() {
        let mut folders = DirBuilder::new();
        folders.recursive(true).mode(0o755);
        folders.create(parent).map_err(fault)?;
        require_safe(parent).map_err(fault)?;
    }
    tracing::info!("making the home {} of {}", home.display(), user.name);
    let step = journal.steps().len();
    journal.begin(Step::Home {
        staging: staging.clone(),
    })?;
    let made = fill(&staging, Path::new(SKELETON), user)
        // Does not replace what has come there meanwhile: that is not empty.
        .and_then(|()| fs::rename(&staging, home));
    if made.is_err() {
        undo(&staging)?;
    }
    journal.replace(step, None)?;
    made.map_err(fault)
}

/// Removes a home that was left half made.
///
/// # Errors
/// One sentence.
pub fn undo(staging: &Path) -> Result<(), String> {
    match fs::remove_dir_all(staging) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(format!("{}: {e}", staging.display())),
        _ => Ok(()),
    }
}

/// The folder from which a home is moved into its place.
fn staging(home: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(".qvd-new-");
    name.push(home.file_name()?);
    Some(home.with_file_name(name))
}

/// What root does in a folder by names must not be turned elsewhere by others.
fn require_safe(folder: &Path) -> io::Result<()> {
    let folder = fs::metadata(folder)?;
    let sticky = folder.mode() & 0o1000 != 0;
    let root = rustix::process::geteuid().as_raw();
    if folder.uid() == root && (folder.mode() & 0o022 == 0 || sticky) {
        Ok(())
    } else {
        Err(io::Error::other(
            "the folder above it can be changed by others than root",
        ))
    }
}

fn fill(staging: &Path, skeleton: &Path, user: &User) -> io::Result<()> {
    match fs::remove_dir_all(staging) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    if skeleton.is_dir() {
        copy_folder(skeleton, staging, user, MAX_DEPTH)?;
    } else {
        DirBuilder::new().mode(0o700).create(staging)?;
    }
    let folder = File::open(staging)?;
    fchown(&folder, Some(user.uid), Some(user.gid))?;
    folder.set_permissions(Permissions::from_mode(home_mode()))?;
    folder.sync_all()
}

fn copy_folder(from: &Path, to: &Path, user: &User, depth: usize) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other("the skeleton is too deep"));
    }
    // Nobody else sees it before it is whole.
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_folder(&from, &to, user, depth - 1)?;
            fs::set_permissions(&to, mode_of(&from)?)?;
            lchown(&to, Some(user.uid), Some(user.gid))?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
            lchown(&to, Some(user.uid), Some(user.gid))?;
        } else if kind.is_file() {
            let mut new = File::options();
            let mut file = new.write(true).create_new(true).mode(0o600).open(&to)?;
            io::copy(&mut File::open(&from)?, &mut file)?;
            fchown(&file, Some(user.uid), Some(user.gid))?;
            file.set_permissions(mode_of(&from)?)?;
        }
        // A device or a socket has no business in a skeleton.
    }
    Ok(())
}

/// The mode of a file of the skeleton, without what runs it as its owner.
fn mode_of(path: &Path) -> io::Result<Permissions> {
    let mode = fs::metadata(path)?.mode() & 0o1777;
    Ok(Permissions::from_mode(mode))
}

fn home_mode() -> u32 {
    let small = fs::metadata(LOGIN_DEFS).is_ok_and(|file| file.len() <= MAX_DEFS);
    let text = small.then(|| fs::read_to_string(LOGIN_DEFS).ok()).flatten();
    text.and_then(|text| mode_in(&text)).unwrap_or(HOME_MODE)
}

fn mode_in(defs: &str) -> Option<u32> {
    defs.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "HOME_MODE").then_some(())?;
        let mode = u32::from_str_radix(words.next()?, 8).ok()?;
        // A home that its user cannot enter is nobody's wish.
        (mode <= 0o777 && mode & 0o700 == 0o700).then_some(mode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> User {
        User {
            name: "me".into(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            known: Vec::new(),
            groups: Vec::new(),
            home: "/".into(),
            shell: "/bin/sh".into(),
        }
    }

    #[test]
    fn a_home_is_a_copy_of_the_skeleton_without_dangerous_bits() {
        let folder = tempfile::tempdir().unwrap();
        let (skeleton, home) = (folder.path().join("skel"), folder.path().join("new"));
        fs::create_dir_all(skeleton.join(".config/empty")).unwrap();
        fs::write(skeleton.join(".profile"), "x").unwrap();
        fs::write(skeleton.join(".config/run"), "y").unwrap();
        let set = |file: &str, mode| {
            fs::set_permissions(skeleton.join(file), Permissions::from_mode(mode)).unwrap();
        };
        set(".config/run", 0o4755);
        set(".config", 0o750);
        symlink("/etc/passwd", skeleton.join("link")).unwrap();
        // What an earlier try has left is replaced.
        fs::create_dir(&home).unwrap();
        fs::write(home.join("old"), "").unwrap();

        fill(&home, &skeleton, &own()).unwrap();
        let mode = |file: &str| fs::symlink_metadata(home.join(file)).unwrap().mode() & 0o7777;
        assert_eq!(fs::read(home.join(".profile")).unwrap(), b"x");
        assert_eq!(mode(".config/run"), 0o755);
        assert_eq!(mode(".config"), 0o750);
        assert!(home.join(".config/empty").is_dir() && !home.join("old").exists());
        let link = fs::read_link(home.join("link")).unwrap();
        assert_eq!(link, Path::new("/etc/passwd"));

        fs::remove_dir_all(&home).unwrap();
        fill(&home, &folder.path().join("missing"), &own()).unwrap();
        assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
    }

    #[test]
    fn a_skeleton_without_end_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let skeleton = folder.path().join("skel");
        fs::create_dir_all(skeleton.join(["a"; MAX_DEPTH].join("/"))).unwrap();
        assert!(fill(&folder.path().join("new"), &skeleton, &own()).is_err());
    }

    #[test]
    fn the_administrator_chooses_the_mode() {
        assert_eq!(
            mode_in("# HOME_MODE 0777\nUMASK 022\nHOME_MODE\t0750\n"),
            Some(0o750)
        );
        for text in [
            "",
            "HOME_MODE",
            "HOME_MODE 0000",
            "HOME_MODE 4755",
            "HOME_MODE x",
        ] {
            assert_eq!(mode_in(text), None, "{text}");
        }
    }

    #[test]
    fn a_folder_that_others_can_change_is_no_place_for_homes() {
        let folder = tempfile::tempdir().unwrap();
        let set = |mode| fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        for (mode, safe) in [
            (0o755, true),
            (0o1777, true),
            (0o777, false),
            (0o775, false),
        ] {
            set(mode);
            assert_eq!(require_safe(folder.path()).is_ok(), safe, "{mode:o}");
        }
    }
}
