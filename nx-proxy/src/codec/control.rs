//! Control messages.

/// What the agent says beside data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// A generic channel is to be opened to the service of this kind.
    Open(Service, u8),
    /// The channel is closed, its number free.
    Drop(u8),
    /// The agent sends no more on this channel.
    Finish(u8),
    /// The agent cannot take more on this channel for now, or can again.
    Congestion(u8, bool),
    /// Tokens that this end asked for have come back.
    Tokens(u8),
    /// The agent has read what was sent on generic channels before this many
    /// tokens were asked for.
    DataTokens(u8),
    /// Something that only the log is told.
    Note(&'static str),
    /// The session ends in order.
    Shutdown,
}

/// What a generic channel is joined to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Service {
    /// Printing.
    Cups,
    /// Shares of Windows.
    Smb,
    /// Sound.
    Media,
    /// The web.
    Http,
    /// A program of the other end.
    Slave,
    /// A font server of the agent's machine: opened by this end alone.
    Font,
}
