/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenFlags(u32);

impl OpenFlags {
    /// For reading.
    pub const READ: Self = Self(1);
    /// For writing.
    pub const WRITE: Self = Self(2);
    /// Every write goes to the end.
    pub const APPEND: Self = Self(4);
    /// Made where there is none.
    pub const CREATE: Self = Self(8);
    /// Emptied.
    pub const TRUNCATE: Self = Self(16);
    /// With [`Self::CREATE`]: refused where there is one.
    pub const EXCLUSIVE: Self = Self(32);

    /// Flags as they are on the wire. Bits with no meaning are kept.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Flags as they go on the wire.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// These and those.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether opening so can change a folder or a file by itself.
    #[must_use]
    pub const fn changes(self) -> bool {
        self.has(Self::CREATE) || self.has(Self::TRUNCATE)
    }
}
