use crate::Error;
use crate::wire::{Reader, put_u32, put_u64};

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const MODE: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 0x8000_0000;

/// Most extended attributes that are read over.
const MAX_EXTENDED: u32 = 64;

/// The bits of a mode that tell the type of a file.
pub const FILE_TYPE: u32 = 0o170_000;

/// The bits of a mode that are permissions.
pub const PERMISSIONS: u32 = 0o7777;

/// Access and modification, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Last access.
    pub access: u32,
    /// Last modification.
    pub modification: u32,
}

/// What is known of a file, or to be changed of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Bytes.
    pub size: Option<u64>,
    /// User and group.
    pub owner: Option<(u32, u32)>,
    /// Type and permissions, as `st_mode` has them.
    pub mode: Option<u32>,
    /// Times.
    pub times: Option<Times>,
}

impl Attributes {
    /// Nothing known, nothing to be changed.
    pub const NONE: Self = Self {
        size: None,
        owner: None,
        mode: None,
        times: None,
    };

    /// Only permissions.
    #[must_use]
    pub fn with_mode(mode: u32) -> Self {
        Self {
            mode: Some(mode),
            ..Self::NONE
        }
    }

    /// The type bits of the mode; 0 where they are not known.
    #[must_use]
    pub fn file_type(&self) -> u32 {
        self.mode.unwrap_or_default() & FILE_TYPE
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let flags = reader.u32()?;
        let mut attributes = Self::NONE;
        if flags & SIZE != 0 {
            attributes.size = Some(reader.u64()?);
        }
        if flags & OWNER != 0 {
            attributes.owner = Some((reader.u32()?, reader.u32()?));
        }
        if flags & MODE != 0 {
            attributes.mode = Some(reader.u32()?);
        }
        if flags & TIMES != 0 {
            attributes.times = Some(Times {
                access: reader.u32()?,
                modification: reader.u32()?,
            });
        }
        if flags & EXTENDED != 0 {
            for _ in 0..reader.u32()?.min(MAX_EXTENDED) {
                reader.string(crate::MAX_PACKET)?;
                reader.string(crate::MAX_PACKET)?;
            }
        }
        Ok(attributes)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let bit = |known: bool, bit| if known { bit } else { 0 };
        put_u32(
            out,
            bit(self.size.is_some(), SIZE)
                | bit(self.owner.is_some(), OWNER)
                | bit(self.mode.is_some(), MODE)
                | bit(self.times.is_some(), TIMES),
        );
        if let Some(size) = self.size {
            put_u64(out, size);
        }
        if let Some((user, group)) = self.owner {
            put_u32(out, user);
            put_u32(out, group);
        }
        if let Some(mode) = self.mode {
            put_u32(out, mode);
        }
        if let Some(times) = self.times {
            put_u32(out, times.access);
            put_u32(out, times.modification);
        }
    }
}
