use crate::Error;
use crate::wire::{Reader, put_u64};

pub(crate) const POSIX_RENAME: &[u8] = b"posix-rename@openssh.com";
pub(crate) const STATVFS: &[u8] = b"statvfs@openssh.com";
pub(crate) const FSTATVFS: &[u8] = b"fstatvfs@openssh.com";
pub(crate) const FSYNC: &[u8] = b"fsync@openssh.com";
pub(crate) const HARDLINK: &[u8] = b"hardlink@openssh.com";
pub(crate) const LSETSTAT: &[u8] = b"lsetstat@openssh.com";
pub(crate) const LIMITS: &[u8] = b"limits@openssh.com";
pub(crate) const COPY_DATA: &[u8] = b"copy-data";
pub(crate) const OPEN_AS: &[u8] = b"open-as@qvd";
pub(crate) const OPENDIR_AS: &[u8] = b"opendir-as@qvd";

/// Most bytes of an extension's name or version.
pub(crate) const MAX_NAME: usize = 256;

/// Most extensions a peer may announce.
const MAX_EXTENSIONS: usize = 256;

/// What a server announces beside the protocol's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Extensions {
    /// A rename that replaces its target.
    pub posix_rename: bool,
    /// Space and inodes of a file system by path.
    pub statvfs: bool,
    /// The same by handle.
    pub fstatvfs: bool,
    /// Writing a file through to the disk.
    pub fsync: bool,
    /// Hard links.
    pub hardlink: bool,
    /// Attributes of a symbolic link itself.
    pub lsetstat: bool,
    /// The server's limits.
    pub limits: bool,
    /// Copying between two handles.
    pub copy_data: bool,
    /// Error numbers in statuses: our own.
    pub errno: bool,
    /// Handles that the client names: our own.
    pub named_handles: bool,
}

impl Extensions {
    /// All that we know.
    pub const ALL: Self = Self {
        posix_rename: true,
        statvfs: true,
        fstatvfs: true,
        fsync: true,
        hardlink: true,
        lsetstat: true,
        limits: true,
        copy_data: true,
        errno: true,
        named_handles: true,
    };

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let mut known = Self::default();
        let mut count = 0;
        while !reader.is_empty() {
            count += 1;
            if count > MAX_EXTENSIONS {
                return Err(Error::TooMany);
            }
            let name = reader.string(MAX_NAME)?;
            let version = reader.string(crate::MAX_PACKET)?;
            let (flag, wanted): (&mut bool, &[u8]) = match name {
                POSIX_RENAME => (&mut known.posix_rename, b"1"),
                STATVFS => (&mut known.statvfs, b"2"),
                FSTATVFS => (&mut known.fstatvfs, b"2"),
                FSYNC => (&mut known.fsync, b"1"),
                HARDLINK => (&mut known.hardlink, b"1"),
                LSETSTAT => (&mut known.lsetstat, b"1"),
                LIMITS => (&mut known.limits, b"1"),
                COPY_DATA => (&mut known.copy_data, b"1"),
                crate::ERRNO_EXTENSION => (&mut known.errno, b"1"),
                OPEN_AS => (&mut known.named_handles, b"1"),
                _ => continue,
            };
            *flag = version == wanted;
        }
        Ok(known)
    }

    /// Names and versions of what is set, as a server announces them.
    pub(crate) fn announced(&self) -> impl Iterator<Item = (&'static [u8], &'static [u8])> {
        let all: [(bool, &'static [u8], &'static [u8]); 10] = [
            (self.posix_rename, POSIX_RENAME, b"1"),
            (self.statvfs, STATVFS, b"2"),
            (self.fstatvfs, FSTATVFS, b"2"),
            (self.fsync, FSYNC, b"1"),
            (self.hardlink, HARDLINK, b"1"),
            (self.lsetstat, LSETSTAT, b"1"),
            (self.limits, LIMITS, b"1"),
            (self.copy_data, COPY_DATA, b"1"),
            (self.errno, crate::ERRNO_EXTENSION, b"1"),
            (self.named_handles, OPEN_AS, b"1"),
        ];
        all.into_iter()
            .filter(|(known, ..)| *known)
            .map(|(_, name, version)| (name, version))
    }
}

/// A server's limits (`limits@openssh.com`); 0 where it has none to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a packet.
    pub packet: u64,
    /// Bytes of a read.
    pub read: u64,
    /// Bytes of a write.
    pub write: u64,
    /// Open handles.
    pub handles: u64,
}

impl Limits {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            packet: reader.u64()?,
            read: reader.u64()?,
            write: reader.u64()?,
            handles: reader.u64()?,
        })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for value in [self.packet, self.read, self.write, self.handles] {
            put_u64(out, value);
        }
    }
}

/// Space of a file system (`statvfs@openssh.com`), in the fields of
/// `statvfs(3)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileSystem {
    /// Preferred bytes of a transfer.
    pub block_size: u64,
    /// Bytes of a block that is counted.
    pub fragment_size: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// Free blocks for a user.
    pub available: u64,
    /// Inodes in all.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Free inodes for a user.
    pub files_available: u64,
    /// Which file system.
    pub id: u64,
    /// [`Self::READ_ONLY`], and 2 where set-user-id has no effect.
    pub flags: u64,
    /// Most bytes of a name.
    pub name_max: u64,
}

impl FileSystem {
    /// The flag of what cannot be written.
    pub const READ_ONLY: u64 = 1;

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(Self {
            block_size: reader.u64()?,
            fragment_size: reader.u64()?,
            blocks: reader.u64()?,
            free: reader.u64()?,
            available: reader.u64()?,
            files: reader.u64()?,
            files_free: reader.u64()?,
            files_available: reader.u64()?,
            id: reader.u64()?,
            flags: reader.u64()?,
            name_max: reader.u64()?,
        })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for value in [
            self.block_size,
            self.fragment_size,
            self.blocks,
            self.free,
            self.available,
            self.files,
            self.files_free,
            self.files_available,
            self.id,
            self.flags,
            self.name_max,
        ] {
            put_u64(out, value);
        }
    }
}
