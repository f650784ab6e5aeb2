//! Between SFTP's terms and the kernel's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType, INodeNo, OpenFlags as KernelFlags, TimeOrNow};
use qvd_sftp::{Attributes, FILE_TYPE, Failure, OpenFlags, Status};

/// Permissions that are shown and can be set: files of a share lend nobody
/// their owner's rights.
pub(super) const SHOWN: u32 = 0o1777;

const SOCKET: u32 = 0o140_000;
const LINK: u32 = 0o120_000;
pub(super) const REGULAR: u32 = 0o100_000;
const BLOCK: u32 = 0o060_000;
pub(super) const FOLDER: u32 = 0o040_000;
const CHARACTER: u32 = 0o020_000;
const PIPE: u32 = 0o010_000;

/// Flags of `open(2)` on Linux, of which the kernel tells.
const ACCESS_MODE: i32 = 3;
const WRITE_ONLY: i32 = 1;
const READ_WRITE: i32 = 2;
const EXCLUSIVE: i32 = 0o200;
const TRUNCATE: i32 = 0o1000;
const APPEND: i32 = 0o2000;

pub(super) fn kind(attributes: &Attributes) -> FileType {
    match attributes.mode.unwrap_or_default() & FILE_TYPE {
        SOCKET => FileType::Socket,
        LINK => FileType::Symlink,
        BLOCK => FileType::BlockDevice,
        FOLDER => FileType::Directory,
        CHARACTER => FileType::CharDevice,
        PIPE => FileType::NamedPipe,
        _ => FileType::RegularFile,
    }
}

/// The kernel's attributes. `peer`: the sharing user; what is his is the
/// mounting user's here.
pub(super) fn attr(ino: u64, attributes: &Attributes, peer: Option<(u32, u32)>) -> FileAttr {
    let size = attributes.size.unwrap_or_default();
    let times = attributes.times.unwrap_or_default();
    let at = |seconds: u32| UNIX_EPOCH + Duration::from_secs(seconds.into());
    let modified = at(times.modification);
    let own = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let (uid, gid) = match (attributes.owner, peer) {
        (Some((user, group)), Some((peer_user, peer_group))) => (
            if user == peer_user { own.0 } else { user },
            if group == peer_group { own.1 } else { group },
        ),
        (Some(owner), None) => owner,
        (None, _) => own,
    };
    let mode = attributes.mode.unwrap_or_default() & SHOWN;
    FileAttr {
        ino: INodeNo(ino),
        size,
        blocks: size.div_ceil(512),
        atime: at(times.access),
        mtime: modified,
        ctime: modified,
        crtime: modified,
        kind: kind(attributes),
        perm: u16::try_from(mode).unwrap_or_default(),
        nlink: 1,
        uid,
        gid,
        rdev: 0,
        blksize: 128 * 1024,
        flags: 0,
    }
}

/// The owner at the sharing end whom the mounting end's numbers mean.
pub(super) fn peer_owner(
    (uid, gid): (Option<u32>, Option<u32>),
    present: (u32, u32),
    peer: Option<(u32, u32)>,
) -> (u32, u32) {
    let own = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let user = match (uid, peer) {
        (Some(uid), Some((user, _))) if uid == own.0 => user,
        (Some(uid), _) => uid,
        (None, _) => present.0,
    };
    let group = match (gid, peer) {
        (Some(gid), Some((_, group))) if gid == own.1 => group,
        (Some(gid), _) => gid,
        (None, _) => present.1,
    };
    (user, group)
}

/// The error number of a failure: the peer's own where it tells one, else
/// what version 3 of the protocol lets one guess.
pub(super) fn errno(failure: Failure) -> Errno {
    if let Some(number) = failure.errno {
        return Errno::from_i32(i32::try_from(number).unwrap_or_default());
    }
    match failure.status {
        Status::NoSuchFile => Errno::ENOENT,
        Status::PermissionDenied => Errno::EACCES,
        Status::BadMessage => Errno::EINVAL,
        Status::Unsupported => Errno::EOPNOTSUPP,
        _ => Errno::EIO,
    }
}

/// The flags for the peer. It appends by itself where that is asked for: the
/// file may have grown there.
pub(super) fn open_flags(flags: KernelFlags) -> OpenFlags {
    let mut open = match flags.0 & ACCESS_MODE {
        WRITE_ONLY => OpenFlags::WRITE,
        READ_WRITE => OpenFlags::READ.with(OpenFlags::WRITE),
        _ => OpenFlags::READ,
    };
    let each = [
        (APPEND, OpenFlags::APPEND),
        (TRUNCATE, OpenFlags::TRUNCATE),
        (EXCLUSIVE, OpenFlags::EXCLUSIVE),
    ];
    for (asked, flag) in each {
        if flags.0 & asked != 0 {
            open = open.with(flag);
        }
    }
    open
}

/// Seconds since 1970, which is all the protocol has.
pub(super) fn seconds(time: TimeOrNow) -> u32 {
    let time = match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    };
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
