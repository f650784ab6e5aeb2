//! What a stream carries, and how urgent that is.

/// What a stream carries (PROTOCOL.md §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The desktop.
    Nx,
    /// What client and agent tell each other.
    Control,
    /// A request of the slave channel.
    Slave,
    /// Sound.
    Audio,
    /// A forwarded port.
    Tcp,
    /// A shared folder.
    Share,
    /// A print job.
    Print,
}

/// Who goes first: the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// The desktop, before everything.
    Nx,
    /// What somebody waits for.
    Interactive,
    /// What takes its time.
    Bulk,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 7] = [
        Self::Nx,
        Self::Control,
        Self::Slave,
        Self::Audio,
        Self::Tcp,
        Self::Share,
        Self::Print,
    ];

    /// How urgent its data is.
    #[must_use]
    pub const fn priority(self) -> Priority {
        match self {
            Self::Nx => Priority::Nx,
            Self::Control | Self::Slave | Self::Audio | Self::Tcp => Priority::Interactive,
            Self::Share | Self::Print => Priority::Bulk,
        }
    }

    /// Its name, as PROTOCOL.md has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nx => "nx",
            Self::Control => "control",
            Self::Slave => "slave",
            Self::Audio => "audio",
            Self::Tcp => "tcp",
            Self::Share => "share",
            Self::Print => "print",
        }
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Nx => 1,
            Self::Control => 2,
            Self::Slave => 3,
            Self::Audio => 4,
            Self::Tcp => 5,
            Self::Share => 6,
            Self::Print => 7,
        }
    }

    /// The kind with a number, `None` for one of a later version.
    #[must_use]
    pub fn of(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}
