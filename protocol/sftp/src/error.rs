/// Why the bytes of a peer cannot be understood. Nothing after them can be
/// either: the connection is at its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A packet is longer than [`crate::MAX_PACKET`].
    #[error("a packet of {length} bytes, where {limit} are the most", limit = crate::MAX_PACKET)]
    PacketTooLong {
        /// What its length field says.
        length: u32,
    },
    /// A packet ends within one of its fields, or a field is too long.
    #[error("a malformed packet of type {kind}")]
    Malformed {
        /// The packet's type byte; 0 where it has none.
        kind: u8,
    },
    /// The dialogue did not begin with a version, or had a second one.
    #[error("expected the version first, and once")]
    Version,
    /// The other side speaks an older protocol.
    #[error("version {0} of the protocol is not spoken here")]
    OldVersion(u32),
    /// An answer to no request.
    #[error("an answer to request {0}, which was not made")]
    Unasked(u32),
    /// More requests than a well-behaved peer would have under way.
    #[error("too many requests under way")]
    TooMany,
}
