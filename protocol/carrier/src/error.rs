//! What goes wrong, by whose fault.

/// How a peer broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A type of frame that does not exist.
    #[error("frame of unknown type {0}")]
    Type(u8),
    /// A payload its type of frame cannot have.
    #[error("frame of type {0} with a wrong payload")]
    Payload(u8),
    /// A stream where none is due, or none where one is.
    #[error("frame of type {0} with a wrong stream")]
    Stream(u8),
    /// A frame that makes no sense in the state its stream is in.
    #[error("frame of type {0} out of place")]
    Place(u8),
    /// Data beyond what was granted.
    #[error("data beyond credit")]
    Credit,
    /// More credit than may be granted.
    #[error("credit beyond 16 MiB")]
    Window,
    /// A position that is no frame's end, was passed, or was never reached.
    #[error("wrong position {0}")]
    Position(u64),
    /// A hello that is none.
    #[error("no hello of a carrier")]
    Hello,
    /// No version that both speak.
    #[error("no common version")]
    Version,
}

/// What the program using the machine did wrong, or came too late for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream has gone, or was never there.
    #[error("no stream {0}")]
    NoStream(u32),
    /// The stream is not in a state for this.
    #[error("stream {0} does not allow that now")]
    State(u32),
    /// Metadata or text beyond its limit.
    #[error("{0} bytes are too long for metadata")]
    TooLong(usize),
    /// As many streams, or frames that wait, as are allowed.
    #[error("too many streams or requests")]
    Full,
    /// The session has ended.
    #[error("session has ended")]
    Ended,
    /// What only the other role does.
    #[error("not for this end of the carrier")]
    Role,
}
