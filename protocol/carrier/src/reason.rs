//! Why a stream or a session came to its end.

/// Why a stream was refused or reset (PROTOCOL.md §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Code {
    /// The far end does not want it.
    #[error("not wanted")]
    Unwanted,
    /// The far end does not know the kind of stream.
    #[error("kind of stream not known")]
    UnknownKind,
    /// The far end holds as many streams as it is willing to.
    #[error("too many streams")]
    TooMany,
    /// What was asked for is not there.
    #[error("not there")]
    Missing,
    /// The far end does not allow it.
    #[error("not allowed")]
    Forbidden,
    /// What a stream was forwarded to failed.
    #[error("the far end of the stream failed")]
    Failed,
    /// The one who asked has thought better of it.
    #[error("cancelled")]
    Cancelled,
}

impl Code {
    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Unwanted => 1,
            Self::UnknownKind => 2,
            Self::TooMany => 3,
            Self::Missing => 4,
            Self::Forbidden => 5,
            Self::Failed => 6,
            Self::Cancelled => 7,
        }
    }

    /// The code with a number; one without a meaning is taken as `Unwanted`.
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            2 => Self::UnknownKind,
            3 => Self::TooMany,
            4 => Self::Missing,
            5 => Self::Forbidden,
            6 => Self::Failed,
            7 => Self::Cancelled,
            _ => Self::Unwanted,
        }
    }
}

/// Why a session ended (PROTOCOL.md §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// As it should.
    #[error("done")]
    Done,
    /// Somebody broke the protocol.
    #[error("protocol violated")]
    Violation,
    /// Somebody asked for more than can be answered.
    #[error("flooded with frames")]
    Flood,
    /// The agent suspended it, or another client took it over.
    #[error("suspended")]
    Suspended,
    /// The connection was away for too long.
    #[error("away for too long")]
    Expired,
    /// An error of the speaker's own.
    #[error("internal error")]
    Internal,
}

impl Reason {
    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Violation => 1,
            Self::Flood => 2,
            Self::Suspended => 3,
            Self::Expired => 4,
            Self::Internal => 5,
        }
    }

    /// The reason with a number; one without a meaning is taken as
    /// `Internal`.
    #[must_use]
    pub const fn of(number: u8) -> Self {
        match number {
            0 => Self::Done,
            1 => Self::Violation,
            2 => Self::Flood,
            3 => Self::Suspended,
            4 => Self::Expired,
            _ => Self::Internal,
        }
    }
}
