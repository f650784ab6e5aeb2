use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timestamps, Uid,
    openat2,
};
use rustix::io::Errno;

use super::Error;
use super::place::Place;

/// How often a walk is tried again that a rename on its way disturbed.
const TRIES: u32 = 32;

/// Permissions a peer can set: no set-user-id and no set-group-id, which
/// would lend the sharing user's rights to whoever runs the file.
const SETTABLE: u32 = 0o1777;

/// The shared folder. Every path is resolved by the kernel beneath it: `..`,
/// absolute links and the magic links of /proc do not lead out, whatever is
/// renamed meanwhile (`openat2` with `RESOLVE_BENEATH`).
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    read_only: bool,
}

type Result<T> = std::result::Result<T, Errno>;

impl Root {
    pub(super) fn open(path: &Path, read_only: bool) -> std::result::Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd =
            rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|error| Error::Open {
                path: path.to_owned(),
                source: error.into(),
            })?;
        let root = Self { fd, read_only };
        match root.walk(Path::new("."), OFlags::PATH, 0) {
            Err(Errno::NOSYS) => Err(Error::OldKernel),
            Err(error) => Err(Error::Open {
                path: path.to_owned(),
                source: io::Error::from(error),
            }),
            Ok(_) => Ok(root),
        }
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Refuses a change of a share that is read only.
    pub(super) fn may_change(&self) -> Result<()> {
        if self.read_only {
            Err(Errno::ROFS)
        } else {
            Ok(())
        }
    }

    fn walk(&self, path: &Path, flags: OFlags, mode: u32) -> Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mode = Mode::from_raw_mode(mode & SETTABLE);
        for _ in 0..TRIES {
            match openat2(&self.fd, path, flags | OFlags::CLOEXEC, mode, resolve) {
                // The walk met a rename, and could not tell whether it left.
                Err(Errno::AGAIN | Errno::INTR) => {}
                // It would have left.
                Err(Errno::XDEV) => return Err(Errno::ACCESS),
                walked => return walked,
            }
        }
        Err(Errno::AGAIN)
    }

    /// The folder a place is in, and its name there.
    fn parent<'a>(&self, place: &'a Place) -> Result<(Parent<'_>, &'a Path)> {
        let (folder, name) = place.split().ok_or(Errno::BUSY)?;
        if folder == Path::new(".") {
            return Ok((Parent::Root(&self.fd), name));
        }
        let fd = self.walk(folder, OFlags::PATH | OFlags::DIRECTORY, 0)?;
        Ok((Parent::Other(fd), name))
    }

    /// Opens a regular file; anything else could hang or do harm.
    pub(super) fn open_file(&self, place: &Place, flags: OFlags, mode: u32) -> Result<OwnedFd> {
        let changes = OFlags::WRONLY | OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        if flags.intersects(changes) {
            self.may_change()?;
        }
        let mode = if flags.contains(OFlags::CREATE) {
            mode
        } else {
            0
        };
        // Opening a pipe waits for its other end without `NONBLOCK`.
        let file = self.walk(
            place.path(),
            flags | OFlags::NONBLOCK | OFlags::NOCTTY,
            mode,
        )?;
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(file),
            FileType::Directory => Err(Errno::ISDIR),
            _ => Err(Errno::ACCESS),
        }
    }

    pub(super) fn open_folder(&self, place: &Place) -> Result<OwnedFd> {
        self.walk(place.path(), OFlags::RDONLY | OFlags::DIRECTORY, 0)
    }

    pub(super) fn lstat(&self, place: &Place) -> Result<Stat> {
        match self.parent(place) {
            Ok((parent, name)) => rustix::fs::statat(parent.fd(), name, AtFlags::SYMLINK_NOFOLLOW),
            Err(Errno::BUSY) => self.stat(place),
            Err(error) => Err(error),
        }
    }

    /// Of what a link leads to, beneath the folder.
    pub(super) fn stat(&self, place: &Place) -> Result<Stat> {
        rustix::fs::fstat(self.walk(place.path(), OFlags::PATH, 0)?)
    }

    pub(super) fn statvfs(&self, place: &Place) -> Result<rustix::fs::StatVfs> {
        rustix::fs::fstatvfs(self.walk(place.path(), OFlags::PATH, 0)?)
    }

    pub(super) fn readlink(&self, place: &Place) -> Result<Vec<u8>> {
        let (parent, name) = self.parent(place).map_err(|_| Errno::INVAL)?;
        rustix::fs::readlinkat(parent.fd(), name, Vec::new()).map(std::ffi::CString::into_bytes)
    }

    pub(super) fn mkdir(&self, place: &Place, mode: u32) -> Result<()> {
        self.may_change()?;
        let (parent, name) = self.parent(place).map_err(exists)?;
        rustix::fs::mkdirat(parent.fd(), name, Mode::from_raw_mode(mode & SETTABLE))
    }

    pub(super) fn remove(&self, place: &Place, flags: AtFlags) -> Result<()> {
        self.may_change()?;
        let (parent, name) = self.parent(place)?;
        rustix::fs::unlinkat(parent.fd(), name, flags)
    }

    pub(super) fn rename(&self, from: &Place, to: &Place, replace: bool) -> Result<()> {
        self.may_change()?;
        let (old, old_name) = self.parent(from)?;
        let (new, new_name) = self.parent(to)?;
        let flags = if replace {
            RenameFlags::empty()
        } else {
            RenameFlags::NOREPLACE
        };
        match rustix::fs::renameat_with(old.fd(), old_name, new.fd(), new_name, flags) {
            // Some file systems know no such flag.
            Err(Errno::INVAL | Errno::NOSYS) if !replace => {
                if rustix::fs::statat(new.fd(), new_name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                    return Err(Errno::EXIST);
                }
                rustix::fs::renameat(old.fd(), old_name, new.fd(), new_name)
            }
            renamed => renamed,
        }
    }

    pub(super) fn symlink(&self, target: &[u8], link: &Place) -> Result<()> {
        self.may_change()?;
        if super::place::leads_out(link.depth(), target) {
            return Err(Errno::PERM);
        }
        let (parent, name) = self.parent(link).map_err(exists)?;
        rustix::fs::symlinkat(target, parent.fd(), name)
    }

    pub(super) fn link(&self, from: &Place, to: &Place) -> Result<()> {
        self.may_change()?;
        let (old, old_name) = self.parent(from)?;
        let (new, new_name) = self.parent(to).map_err(exists)?;
        // Without FOLLOW: a link to a symbolic link is one, wherever that
        // leads.
        rustix::fs::linkat(old.fd(), old_name, new.fd(), new_name, AtFlags::empty())
    }

    pub(super) fn truncate(&self, place: &Place, size: u64) -> Result<()> {
        let file = self.open_file(place, OFlags::WRONLY, 0)?;
        rustix::fs::ftruncate(file, size)
    }

    /// Opens for changes of attributes; with `follow` what a link leads to.
    pub(super) fn target(&self, place: &Place, follow: bool) -> Result<Target> {
        self.may_change()?;
        let mut flags = OFlags::PATH;
        if !follow {
            flags |= OFlags::NOFOLLOW;
        }
        self.walk(place.path(), flags, 0).map(Target)
    }
}

/// What is there cannot be made: the folder itself, or `..`.
fn exists(error: Errno) -> Errno {
    if error == Errno::BUSY {
        Errno::EXIST
    } else {
        error
    }
}

enum Parent<'a> {
    Root(&'a OwnedFd),
    Other(OwnedFd),
}

impl Parent<'_> {
    fn fd(&self) -> &OwnedFd {
        match self {
            Self::Root(fd) => fd,
            Self::Other(fd) => fd,
        }
    }
}

/// A file whose attributes are changed, found but not opened.
pub(super) struct Target(OwnedFd);

impl Target {
    /// Its name for calls that take no such descriptor.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    pub(super) fn chmod(&self, mode: u32) -> Result<()> {
        let stat = rustix::fs::fstat(&self.0)?;
        if FileType::from_raw_mode(stat.st_mode).is_symlink() {
            return Err(Errno::OPNOTSUPP);
        }
        rustix::fs::chmod(self.path(), Mode::from_raw_mode(mode & SETTABLE))
    }

    pub(super) fn chown(&self, user: u32, group: u32) -> Result<()> {
        let stat = rustix::fs::fstat(&self.0)?;
        // The same owner again is no change, and needs no rights.
        if (stat.st_uid, stat.st_gid) == (user, group) {
            return Ok(());
        }
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        rustix::fs::chownat(&self.0, "", Some(user), Some(group), AtFlags::EMPTY_PATH)
    }

    pub(super) fn utimes(&self, times: &Timestamps) -> Result<()> {
        match rustix::fs::utimensat(&self.0, "", times, AtFlags::EMPTY_PATH) {
            Err(Errno::INVAL | Errno::NOENT) => {
                rustix::fs::utimensat(CWD, self.path(), times, AtFlags::empty())
            }
            done => done,
        }
    }
}
