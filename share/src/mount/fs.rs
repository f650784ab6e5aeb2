//! The kernel's calls, each handed to what carries it out.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::attributes::Change;
use super::convert;
use super::folders::Listing;
use super::link::Link;

/// Most bytes of one write of the kernel's.
const MAX_WRITE: u32 = 1024 * 1024;

/// Most reads and such the kernel has under way by itself.
const BACKGROUND: u16 = 64;

/// A mounted folder, as the kernel calls it.
#[derive(Debug)]
pub(super) struct Folder {
    link: Arc<Link>,
}

impl Folder {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link }
    }
}

impl Filesystem for Folder {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Each is an improvement, and none is needed.
        for flag in [
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            InitFlags::FUSE_AUTO_INVAL_DATA,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_ASYNC_DIO,
        ] {
            let _ = config.add_capabilities(flag);
        }
        let _ = config.set_max_write(MAX_WRITE);
        let _ = config.set_max_background(BACKGROUND);
        Ok(())
    }

    fn destroy(&mut self) {
        self.link.gone();
        // fuser 0.18 unmounts by the path when this returns, also what is no
        // longer mounted there, and so whatever somebody else has mounted there
        // since (its look whether it is there has the answer the wrong way
        // round). The thread is kept instead; it ends with the process.
        while self.link.is_unmounted() {
            std::thread::park();
        }
    }

    fn lookup(&self, asker: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.link
            .for_asker(asker, |core| core.lookup(parent.0, name.as_bytes(), reply));
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        self.link.with(|core| {
            core.tree.forget(ino.0, count);
        });
    }

    fn getattr(&self, asker: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.link
            .for_asker(asker, |core| core.getattr(ino.0, reply));
    }

    fn setattr(
        &self,
        asker: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = Change {
            mode,
            uid,
            gid,
            size,
            access: atime.map(convert::seconds),
            modification: mtime.map(convert::seconds),
        };
        self.link
            .for_asker(asker, |core| core.setattr(ino.0, change, reply));
    }

    fn readlink(&self, asker: &Request, ino: INodeNo, reply: ReplyData) {
        self.link
            .for_asker(asker, |core| core.readlink(ino.0, reply));
    }

    fn mkdir(
        &self,
        asker: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        self.link.for_asker(asker, |core| {
            core.mkdir(parent.0, name.as_bytes(), mode, reply);
        });
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        // Regular files are made by `create`; pipes, sockets and devices have
        // no business in a shared folder.
        reply.error(Errno::EPERM);
    }

    fn unlink(&self, asker: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.link.for_asker(asker, |core| {
            core.remove(parent.0, name.as_bytes(), false, reply);
        });
    }

    fn rmdir(&self, asker: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.link.for_asker(asker, |core| {
            core.remove(parent.0, name.as_bytes(), true, reply);
        });
    }

    fn symlink(
        &self,
        asker: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let target = target.as_os_str().as_bytes();
        self.link.for_asker(asker, |core| {
            core.symlink(parent.0, name.as_bytes(), target, reply);
        });
    }

    fn rename(
        &self,
        asker: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let (from, to) = (
            (parent.0, name.as_bytes()),
            (newparent.0, newname.as_bytes()),
        );
        self.link
            .for_asker(asker, |core| core.rename(from, to, flags.is_empty(), reply));
    }

    fn link(
        &self,
        asker: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        self.link.for_asker(asker, |core| {
            core.link(ino.0, newparent.0, newname.as_bytes(), reply);
        });
    }

    fn open(&self, asker: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.link
            .for_asker(asker, |core| core.open(ino.0, flags, reply));
    }

    fn create(
        &self,
        asker: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let flags = OpenFlags(flags);
        self.link.for_asker(asker, |core| {
            core.create(parent.0, name.as_bytes(), mode, flags, reply);
        });
    }

    fn read(
        &self,
        asker: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.link
            .for_asker(asker, |core| core.read(fh.0, offset, size, reply));
    }

    fn write(
        &self,
        asker: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.link
            .for_asker(asker, |core| core.write(fh.0, offset, data, reply));
    }

    fn flush(&self, asker: &Request, _: INodeNo, fh: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.link
            .for_asker(asker, |core| core.flush(fh.0, false, reply));
    }

    fn fsync(&self, asker: &Request, _: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        self.link
            .for_asker(asker, |core| core.flush(fh.0, true, reply));
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.link.with(|core| core.release(fh.0));
        reply.ok();
    }

    fn opendir(&self, asker: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.link
            .for_asker(asker, |core| core.opendir(ino.0, reply));
    }

    fn readdir(
        &self,
        asker: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        self.link.for_asker(asker, |core| {
            core.readdir(fh.0, offset, Listing::Names(reply));
        });
    }

    fn readdirplus(
        &self,
        asker: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        self.link.for_asker(asker, |core| {
            core.readdir(fh.0, offset, Listing::Plus(reply));
        });
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.link.with(|core| core.releasedir(fh.0));
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, asker: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.link.for_asker(asker, |core| core.statfs(reply));
    }

    fn access(&self, asker: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        self.link
            .for_asker(asker, |core| core.access(ino.0, mask, reply));
    }

    // The kernel does not ask again for what is not there at all.

    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _: &Request, _: INodeNo, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn setxattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: &OsStr,
        _: &[u8],
        _: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn lseek(&self, _: &Request, _: INodeNo, _: FileHandle, _: i64, _: i32, reply: ReplyLseek) {
        reply.error(Errno::ENOSYS);
    }

    fn copy_file_range(
        &self,
        asker: &Request,
        _: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        _: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let (from, to) = ((fh_in.0, offset_in), (fh_out.0, offset_out));
        self.link
            .for_asker(asker, |core| core.copy(from, to, len, reply));
    }
}
