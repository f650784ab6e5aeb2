use crate::extension as ext;
use crate::wire::{Reader, begin, finish, put_string, put_u32, put_u64};
use crate::{Attributes, Error, MAX_PACKET, OpenFlags};

/// What a client asks. Names and handles are bytes, borrowed from where they
/// came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are those of the draft")]
pub enum Request<'a> {
    Open {
        path: &'a [u8],
        flags: OpenFlags,
        attributes: Attributes,
    },
    Close {
        handle: &'a [u8],
    },
    Read {
        handle: &'a [u8],
        offset: u64,
        length: u32,
    },
    Write {
        handle: &'a [u8],
        offset: u64,
        data: &'a [u8],
    },
    Lstat {
        path: &'a [u8],
    },
    Fstat {
        handle: &'a [u8],
    },
    Setstat {
        path: &'a [u8],
        attributes: Attributes,
    },
    Fsetstat {
        handle: &'a [u8],
        attributes: Attributes,
    },
    Opendir {
        path: &'a [u8],
    },
    Readdir {
        handle: &'a [u8],
    },
    Remove {
        path: &'a [u8],
    },
    Mkdir {
        path: &'a [u8],
        attributes: Attributes,
    },
    Rmdir {
        path: &'a [u8],
    },
    Realpath {
        path: &'a [u8],
    },
    Stat {
        path: &'a [u8],
    },
    Rename {
        from: &'a [u8],
        to: &'a [u8],
    },
    Readlink {
        path: &'a [u8],
    },
    /// The target comes first on the wire, as OpenSSH has it, against the
    /// draft; every client goes by OpenSSH.
    Symlink {
        target: &'a [u8],
        link: &'a [u8],
    },
    PosixRename {
        from: &'a [u8],
        to: &'a [u8],
    },
    Statvfs {
        path: &'a [u8],
    },
    Fstatvfs {
        handle: &'a [u8],
    },
    Fsync {
        handle: &'a [u8],
    },
    Hardlink {
        from: &'a [u8],
        to: &'a [u8],
    },
    Lsetstat {
        path: &'a [u8],
        attributes: Attributes,
    },
    Limits,
    /// `length` 0: to the end of the file.
    CopyData {
        from: &'a [u8],
        from_offset: u64,
        length: u64,
        to: &'a [u8],
        to_offset: u64,
    },
    /// Opens a file under a handle of the client's choice: one of
    /// [`NAMED_HANDLES`](crate::NAMED_HANDLES) on, never used before. What is
    /// asked of the handle need not await the answer. Our own.
    OpenAs {
        handle: u64,
        path: &'a [u8],
        flags: OpenFlags,
        attributes: Attributes,
    },
    /// The same with a folder. Announced with the one for files.
    OpendirAs {
        handle: u64,
        path: &'a [u8],
    },
    /// An extension or a type that is not known here.
    Unknown {
        kind: u8,
    },
}

const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const LSTAT: u8 = 7;
const FSTAT: u8 = 8;
const SETSTAT: u8 = 9;
const FSETSTAT: u8 = 10;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const RMDIR: u8 = 15;
const REALPATH: u8 = 16;
const STAT: u8 = 17;
const RENAME: u8 = 18;
const READLINK: u8 = 19;
const SYMLINK: u8 = 20;
const EXTENDED: u8 = 200;

impl<'a> Request<'a> {
    /// Reads a packet with its number. Bytes after the last field are let be,
    /// as OpenSSH does.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn read(packet: &'a [u8]) -> Result<(u32, Self), Error> {
        let (kind, rest) = packet.split_first().ok_or(Error::Malformed { kind: 0 })?;
        let mut r = Reader::new(*kind, rest);
        let id = r.u32()?;
        Ok((id, Self::fields(*kind, &mut r)?))
    }

    fn fields(kind: u8, r: &mut Reader<'a>) -> Result<Self, Error> {
        Ok(match kind {
            OPEN => Self::Open {
                path: r.path()?,
                flags: OpenFlags::from_bits(r.u32()?),
                attributes: Attributes::read(r)?,
            },
            CLOSE => Self::Close {
                handle: r.handle()?,
            },
            READ => Self::Read {
                handle: r.handle()?,
                offset: r.u64()?,
                length: r.u32()?,
            },
            WRITE => Self::Write {
                handle: r.handle()?,
                offset: r.u64()?,
                data: r.string(MAX_PACKET)?,
            },
            LSTAT => Self::Lstat { path: r.path()? },
            FSTAT => Self::Fstat {
                handle: r.handle()?,
            },
            SETSTAT => Self::Setstat {
                path: r.path()?,
                attributes: Attributes::read(r)?,
            },
            FSETSTAT => Self::Fsetstat {
                handle: r.handle()?,
                attributes: Attributes::read(r)?,
            },
            OPENDIR => Self::Opendir { path: r.path()? },
            READDIR => Self::Readdir {
                handle: r.handle()?,
            },
            REMOVE => Self::Remove { path: r.path()? },
            MKDIR => Self::Mkdir {
                path: r.path()?,
                attributes: Attributes::read(r)?,
            },
            RMDIR => Self::Rmdir { path: r.path()? },
            REALPATH => Self::Realpath { path: r.path()? },
            STAT => Self::Stat { path: r.path()? },
            RENAME => Self::Rename {
                from: r.path()?,
                to: r.path()?,
            },
            READLINK => Self::Readlink { path: r.path()? },
            SYMLINK => Self::Symlink {
                target: r.path()?,
                link: r.path()?,
            },
            EXTENDED => Self::extended(r)?,
            kind => Self::Unknown { kind },
        })
    }

    fn extended(r: &mut Reader<'a>) -> Result<Self, Error> {
        Ok(match r.string(ext::MAX_NAME)? {
            ext::POSIX_RENAME => Self::PosixRename {
                from: r.path()?,
                to: r.path()?,
            },
            ext::STATVFS => Self::Statvfs { path: r.path()? },
            ext::FSTATVFS => Self::Fstatvfs {
                handle: r.handle()?,
            },
            ext::FSYNC => Self::Fsync {
                handle: r.handle()?,
            },
            ext::HARDLINK => Self::Hardlink {
                from: r.path()?,
                to: r.path()?,
            },
            ext::LSETSTAT => Self::Lsetstat {
                path: r.path()?,
                attributes: Attributes::read(r)?,
            },
            ext::LIMITS => Self::Limits,
            ext::COPY_DATA => Self::CopyData {
                from: r.handle()?,
                from_offset: r.u64()?,
                length: r.u64()?,
                to: r.handle()?,
                to_offset: r.u64()?,
            },
            ext::OPEN_AS => Self::OpenAs {
                handle: r.u64()?,
                path: r.path()?,
                flags: OpenFlags::from_bits(r.u32()?),
                attributes: Attributes::read(r)?,
            },
            ext::OPENDIR_AS => Self::OpendirAs {
                handle: r.u64()?,
                path: r.path()?,
            },
            _ => Self::Unknown { kind: EXTENDED },
        })
    }

    /// The request as a packet, its length field included.
    #[must_use]
    pub fn write(&self, id: u32) -> Vec<u8> {
        let data = match self {
            Self::Write { data, .. } => data.len(),
            _ => 0,
        };
        let mut out = begin(self.kind(), data.saturating_add(64));
        put_u32(&mut out, id);
        self.put_fields(&mut out);
        finish(out)
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Open { .. } => OPEN,
            Self::Close { .. } => CLOSE,
            Self::Read { .. } => READ,
            Self::Write { .. } => WRITE,
            Self::Lstat { .. } => LSTAT,
            Self::Fstat { .. } => FSTAT,
            Self::Setstat { .. } => SETSTAT,
            Self::Fsetstat { .. } => FSETSTAT,
            Self::Opendir { .. } => OPENDIR,
            Self::Readdir { .. } => READDIR,
            Self::Remove { .. } => REMOVE,
            Self::Mkdir { .. } => MKDIR,
            Self::Rmdir { .. } => RMDIR,
            Self::Realpath { .. } => REALPATH,
            Self::Stat { .. } => STAT,
            Self::Rename { .. } => RENAME,
            Self::Readlink { .. } => READLINK,
            Self::Symlink { .. } => SYMLINK,
            Self::PosixRename { .. }
            | Self::Statvfs { .. }
            | Self::Fstatvfs { .. }
            | Self::Fsync { .. }
            | Self::Hardlink { .. }
            | Self::Lsetstat { .. }
            | Self::Limits
            | Self::CopyData { .. }
            | Self::OpenAs { .. }
            | Self::OpendirAs { .. } => EXTENDED,
            Self::Unknown { kind } => *kind,
        }
    }

    fn put_fields(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open {
                path,
                flags,
                attributes,
            } => {
                put_string(out, path);
                put_u32(out, flags.bits());
                attributes.write(out);
            }
            Self::Read {
                handle,
                offset,
                length,
            } => {
                put_string(out, handle);
                put_u64(out, *offset);
                put_u32(out, *length);
            }
            Self::Write {
                handle,
                offset,
                data,
            } => {
                put_string(out, handle);
                put_u64(out, *offset);
                put_string(out, data);
            }
            Self::Close { handle } | Self::Fstat { handle } | Self::Readdir { handle } => {
                put_string(out, handle);
            }
            Self::Fsetstat { handle, attributes } => {
                put_string(out, handle);
                attributes.write(out);
            }
            Self::Setstat { path, attributes } | Self::Mkdir { path, attributes } => {
                put_string(out, path);
                attributes.write(out);
            }
            Self::Lstat { path }
            | Self::Opendir { path }
            | Self::Remove { path }
            | Self::Rmdir { path }
            | Self::Realpath { path }
            | Self::Stat { path }
            | Self::Readlink { path } => put_string(out, path),
            Self::Rename { from: a, to: b } | Self::Symlink { target: a, link: b } => {
                put_string(out, a);
                put_string(out, b);
            }
            Self::Unknown { .. } => {}
            extended => extended.put_extended(out),
        }
    }

    fn put_extended(&self, out: &mut Vec<u8>) {
        match self {
            Self::PosixRename { from, to } => {
                put_string(out, ext::POSIX_RENAME);
                put_string(out, from);
                put_string(out, to);
            }
            Self::Hardlink { from, to } => {
                put_string(out, ext::HARDLINK);
                put_string(out, from);
                put_string(out, to);
            }
            Self::Statvfs { path } => {
                put_string(out, ext::STATVFS);
                put_string(out, path);
            }
            Self::Fstatvfs { handle } => {
                put_string(out, ext::FSTATVFS);
                put_string(out, handle);
            }
            Self::Fsync { handle } => {
                put_string(out, ext::FSYNC);
                put_string(out, handle);
            }
            Self::Lsetstat { path, attributes } => {
                put_string(out, ext::LSETSTAT);
                put_string(out, path);
                attributes.write(out);
            }
            Self::CopyData {
                from,
                from_offset,
                length,
                to,
                to_offset,
            } => {
                put_string(out, ext::COPY_DATA);
                put_string(out, from);
                put_u64(out, *from_offset);
                put_u64(out, *length);
                put_string(out, to);
                put_u64(out, *to_offset);
            }
            Self::OpenAs {
                handle,
                path,
                flags,
                attributes,
            } => {
                put_string(out, ext::OPEN_AS);
                put_u64(out, *handle);
                put_string(out, path);
                put_u32(out, flags.bits());
                attributes.write(out);
            }
            Self::OpendirAs { handle, path } => {
                put_string(out, ext::OPENDIR_AS);
                put_u64(out, *handle);
                put_string(out, path);
            }
            _ => put_string(out, ext::LIMITS),
        }
    }
}
