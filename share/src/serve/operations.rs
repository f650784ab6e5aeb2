use std::os::fd::OwnedFd;
use std::sync::PoisonError;

use qvd_sftp::{
    Attributes, DataReply, Failure, FileSystem, Limits, MAX_DATA, MAX_PACKET, NamesReply,
    OpenFlags, Reply, Request, Status, Times,
};
use rustix::fs::{AtFlags, Mode, OFlags, Stat, StatVfs, StatVfsMountFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::folder::Root;
use super::handles::{Entries, Handles, MAX_HANDLES, Open};
use super::place::Places;

/// Most bytes of one copy between files; the peer asks again for more.
const MAX_COPY: u64 = 1 << 30;

/// Carries out requests on the files of one folder.
#[derive(Debug)]
pub(super) struct Operations {
    root: Root,
    places: Places,
    handles: Handles,
}

type Result<T> = std::result::Result<T, Errno>;

impl Operations {
    pub(super) fn new(root: Root, places: Places) -> Self {
        Self {
            root,
            places,
            handles: Handles::default(),
        }
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// Carries out one request. May take as long as the disk does.
    pub(super) fn carry_out(&self, request: &Request<'_>) -> Reply {
        match self.dispatch(request) {
            Ok(reply) => reply,
            Err(errno) => Reply::Status(failure(errno)),
        }
    }

    fn dispatch(&self, request: &Request<'_>) -> Result<Reply> {
        match request {
            Request::Open {
                path,
                flags,
                attributes,
            } => self.open(path, *flags, attributes, None),
            Request::OpenAs {
                handle,
                path,
                flags,
                attributes,
            } => self.open(path, *flags, attributes, Some(*handle)),
            Request::Close { handle } => self.handles.remove(handle).map(|_| Reply::OK),
            Request::Read {
                handle,
                offset,
                length,
            } => self.read(handle, *offset, *length),
            Request::Write {
                handle,
                offset,
                data,
            } => self.write(handle, *offset, data),
            Request::Lstat { path } => attributes(&self.root.lstat(&self.places.place(path))?),
            Request::Stat { path } => attributes(&self.root.stat(&self.places.place(path))?),
            Request::Fstat { handle } => match &*self.handles.get(handle)? {
                Open::File { fd, .. } | Open::Folder { fd, .. } => {
                    attributes(&rustix::fs::fstat(fd)?)
                }
            },
            Request::Opendir { path } => self.opendir(path, None),
            Request::OpendirAs { handle, path } => self.opendir(path, Some(*handle)),
            Request::Readdir { handle } => self.readdir(handle),
            Request::Realpath { path } => {
                let place = self.places.place(path);
                Ok(Reply::Names(NamesReply::one(&place.absolute())))
            }
            Request::Readlink { path } => {
                let target = self.root.readlink(&self.places.place(path))?;
                Ok(Reply::Names(NamesReply::one(&target)))
            }
            Request::Statvfs { path } => {
                Ok(self.file_system(&self.root.statvfs(&self.places.place(path))?))
            }
            Request::Fstatvfs { handle } => match &*self.handles.get(handle)? {
                Open::File { fd, .. } | Open::Folder { fd, .. } => {
                    Ok(self.file_system(&rustix::fs::fstatvfs(fd)?))
                }
            },
            Request::Limits => Ok(Reply::Limits(Limits {
                packet: u64::try_from(MAX_PACKET).unwrap_or(u64::MAX),
                read: MAX_DATA.into(),
                write: MAX_DATA.into(),
                handles: u64::try_from(MAX_HANDLES).unwrap_or(u64::MAX),
            })),
            Request::Unknown { .. } => Ok(Reply::Status(Status::Unsupported.into())),
            change => self.change(change).map(|()| Reply::OK),
        }
    }

    fn change(&self, request: &Request<'_>) -> Result<()> {
        let place = |path: &[u8]| self.places.place(path);
        self.root.may_change()?;
        match request {
            Request::Setstat { path, attributes } => self.set(path, attributes, true),
            Request::Lsetstat { path, attributes } => self.set(path, attributes, false),
            Request::Fsetstat { handle, attributes } => self.set_open(handle, attributes),
            Request::Remove { path } => self.root.remove(&place(path), AtFlags::empty()),
            Request::Rmdir { path } => self.root.remove(&place(path), AtFlags::REMOVEDIR),
            Request::Mkdir { path, attributes } => {
                let mode = attributes.mode.unwrap_or(0o777);
                self.root.mkdir(&place(path), mode)
            }
            Request::Rename { from, to } => self.root.rename(&place(from), &place(to), false),
            Request::PosixRename { from, to } => self.root.rename(&place(from), &place(to), true),
            Request::Symlink { target, link } => self.root.symlink(target, &place(link)),
            Request::Hardlink { from, to } => self.root.link(&place(from), &place(to)),
            Request::Fsync { handle } => match &*self.handles.get(handle)? {
                Open::File { fd, .. } | Open::Folder { fd, .. } => rustix::fs::fsync(fd),
            },
            Request::CopyData {
                from,
                from_offset,
                length,
                to,
                to_offset,
            } => self.copy((from, *from_offset), (to, *to_offset), *length),
            _ => Err(Errno::NOSYS),
        }
    }

    fn open(
        &self,
        path: &[u8],
        flags: OpenFlags,
        attributes: &Attributes,
        named: Option<u64>,
    ) -> Result<Reply> {
        let mut open = match (flags.has(OpenFlags::READ), flags.has(OpenFlags::WRITE)) {
            (_, false) => OFlags::RDONLY,
            (false, true) => OFlags::WRONLY,
            (true, true) => OFlags::RDWR,
        };
        let append = flags.has(OpenFlags::APPEND);
        let each = [
            (OpenFlags::APPEND, OFlags::APPEND),
            (OpenFlags::CREATE, OFlags::CREATE),
            (OpenFlags::TRUNCATE, OFlags::TRUNC),
            (OpenFlags::EXCLUSIVE, OFlags::EXCL),
        ];
        for (asked, flag) in each {
            if flags.has(asked) {
                open |= flag;
            }
        }
        let mode = attributes.mode.unwrap_or(0o666);
        let fd = self.root.open_file(&self.places.place(path), open, mode)?;
        self.handles
            .insert(Open::File { fd, append }, named)
            .map(Reply::Handle)
    }

    fn read(&self, handle: &[u8], offset: u64, length: u32) -> Result<Reply> {
        let open = self.handles.get(handle)?;
        let Open::File { fd, .. } = &*open else {
            return Err(Errno::ISDIR);
        };
        let length = usize::try_from(length.min(MAX_DATA)).unwrap_or_default();
        let mut data = DataReply::with_capacity(length);
        loop {
            // A regular file gives all there is, and `spare_capacity` is at
            // least what was asked for.
            match rustix::io::pread(fd, rustix::buffer::spare_capacity(data.buffer()), offset) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
        if data.is_empty() && length > 0 {
            return Ok(Reply::Status(Status::EndOfFile.into()));
        }
        Ok(Reply::Data(data))
    }

    fn write(&self, handle: &[u8], offset: u64, data: &[u8]) -> Result<Reply> {
        self.root.may_change()?;
        let open = self.handles.get(handle)?;
        let Open::File { fd, append } = &*open else {
            return Err(Errno::ISDIR);
        };
        let mut rest = data;
        let mut at = offset;
        while !rest.is_empty() {
            let count = if *append {
                rustix::io::write(fd, rest)
            } else {
                rustix::io::pwrite(fd, rest, at)
            };
            match count {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
                Ok(0) => return Err(Errno::IO),
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    at = at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
                }
            }
        }
        Ok(Reply::OK)
    }

    fn opendir(&self, path: &[u8], named: Option<u64>) -> Result<Reply> {
        let fd = self.root.open_folder(&self.places.place(path))?;
        let dir = rustix::fs::Dir::read_from(&fd)?;
        let entries = Entries { dir, left: None }.into();
        self.handles
            .insert(Open::Folder { fd, entries }, named)
            .map(Reply::Handle)
    }

    fn readdir(&self, handle: &[u8]) -> Result<Reply> {
        let open = self.handles.get(handle)?;
        let Open::Folder { fd, entries } = &*open else {
            return Err(Errno::NOTDIR);
        };
        let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = NamesReply::new();
        loop {
            let name = match entries.left.take() {
                Some(name) => name,
                None => match entries.dir.read() {
                    None => break,
                    Some(Err(_)) if !names.is_empty() => break,
                    Some(Err(error)) => return Err(error),
                    Some(Ok(entry)) => entry.file_name().to_bytes().to_vec(),
                },
            };
            // What is above the shared folder is nobody's business.
            let looked_at: &[u8] = if name == b".." { b"." } else { &name };
            let known = rustix::fs::statat(fd, looked_at, AtFlags::SYMLINK_NOFOLLOW);
            let known = match known {
                // It went meanwhile.
                Err(Errno::NOENT) => continue,
                Err(_) => Attributes::NONE,
                Ok(stat) => known_of(&stat),
            };
            if !names.push(&name, &known) {
                entries.left = Some(name);
                break;
            }
        }
        if names.is_empty() {
            return Ok(Reply::Status(Status::EndOfFile.into()));
        }
        Ok(Reply::Names(names))
    }

    fn set(&self, path: &[u8], attributes: &Attributes, follow: bool) -> Result<()> {
        let place = self.places.place(path);
        if let Some(size) = attributes.size {
            self.root.truncate(&place, size)?;
        }
        let target = self.root.target(&place, follow)?;
        if let Some(mode) = attributes.mode {
            target.chmod(mode)?;
        }
        if let Some(times) = attributes.times {
            target.utimes(&timestamps(times))?;
        }
        if let Some((user, group)) = attributes.owner {
            target.chown(user, group)?;
        }
        Ok(())
    }

    fn set_open(&self, handle: &[u8], attributes: &Attributes) -> Result<()> {
        let open = self.handles.get(handle)?;
        let (Open::File { fd, .. } | Open::Folder { fd, .. }) = &*open;
        if let Some(size) = attributes.size {
            rustix::fs::ftruncate(fd, size)?;
        }
        if let Some(mode) = attributes.mode {
            rustix::fs::fchmod(fd, Mode::from_raw_mode(mode & 0o1777))?;
        }
        if let Some(times) = attributes.times {
            rustix::fs::futimens(fd, &timestamps(times))?;
        }
        if let Some((user, group)) = attributes.owner {
            let stat = rustix::fs::fstat(fd)?;
            if (stat.st_uid, stat.st_gid) != (user, group) {
                let (user, group) = (
                    rustix::fs::Uid::from_raw(user),
                    rustix::fs::Gid::from_raw(group),
                );
                rustix::fs::fchown(fd, Some(user), Some(group))?;
            }
        }
        Ok(())
    }

    fn copy(&self, from: (&[u8], u64), to: (&[u8], u64), length: u64) -> Result<()> {
        let (source, target) = (self.handles.get(from.0)?, self.handles.get(to.0)?);
        let (Open::File { fd: source, .. }, Open::File { fd: target, .. }) = (&*source, &*target)
        else {
            return Err(Errno::ISDIR);
        };
        let (mut read, mut write) = (from.1, to.1);
        let mut left = if length == 0 {
            MAX_COPY
        } else {
            length.min(MAX_COPY)
        };
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(1 << 24);
            let copied = rustix::fs::copy_file_range(
                source,
                Some(&mut read),
                target,
                Some(&mut write),
                piece,
            );
            let count = match copied {
                Ok(0) => break,
                Ok(count) => count,
                // Between file systems, where they cannot.
                Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                    let count = copy_by_hand(source, target, (read, write), piece)?;
                    if count == 0 {
                        break;
                    }
                    let count64 = u64::try_from(count).unwrap_or(u64::MAX);
                    read = read.saturating_add(count64);
                    write = write.saturating_add(count64);
                    count
                }
                Err(error) => return Err(error),
            };
            left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    fn file_system(&self, stat: &StatVfs) -> Reply {
        let mut flags = 2;
        if self.root.is_read_only() || stat.f_flag.contains(StatVfsMountFlags::RDONLY) {
            flags |= FileSystem::READ_ONLY;
        }
        Reply::FileSystem(FileSystem {
            block_size: stat.f_bsize,
            fragment_size: stat.f_frsize,
            blocks: stat.f_blocks,
            free: stat.f_bfree,
            available: stat.f_bavail,
            files: stat.f_files,
            files_free: stat.f_ffree,
            files_available: stat.f_favail,
            id: stat.f_fsid,
            flags,
            name_max: stat.f_namemax,
        })
    }
}

fn copy_by_hand(
    source: &OwnedFd,
    target: &OwnedFd,
    at: (u64, u64),
    length: usize,
) -> Result<usize> {
    let mut buffer = vec![0; length.min(1 << 18)];
    let count = rustix::io::pread(source, &mut buffer, at.0)?;
    rustix::io::pwrite(target, buffer.get(..count).unwrap_or_default(), at.1)
}

fn attributes(stat: &Stat) -> Result<Reply> {
    Ok(Reply::Attributes(known_of(stat)))
}

fn known_of(stat: &Stat) -> Attributes {
    let seconds = |time: i64| u32::try_from(time.max(0)).unwrap_or(u32::MAX);
    Attributes {
        size: u64::try_from(stat.st_size).ok(),
        owner: Some((stat.st_uid, stat.st_gid)),
        mode: Some(stat.st_mode),
        times: Some(Times {
            access: seconds(stat.st_atime),
            modification: seconds(stat.st_mtime),
        }),
    }
}

fn timestamps(times: Times) -> Timestamps {
    let at = |seconds: u32| Timespec {
        tv_sec: seconds.into(),
        tv_nsec: 0,
    };
    Timestamps {
        last_access: at(times.access),
        last_modification: at(times.modification),
    }
}

fn failure(errno: Errno) -> Failure {
    let status = match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::BADF | Errno::LOOP => Status::NoSuchFile,
        Errno::PERM | Errno::ACCESS | Errno::ROFS | Errno::FAULT => Status::PermissionDenied,
        Errno::NAMETOOLONG | Errno::INVAL => Status::BadMessage,
        Errno::NOSYS | Errno::OPNOTSUPP => Status::Unsupported,
        _ => Status::Failure,
    };
    Failure {
        status,
        errno: u32::try_from(errno.raw_os_error()).ok(),
    }
}
