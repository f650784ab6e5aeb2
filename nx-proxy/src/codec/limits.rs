//! What the agent may ask of this end's memory.

/// Largest data frame: one raw item of the agent is at most 4 194 304 bytes;
/// twice that leaves room for the fields around it.
pub const FRAME: usize = 8 << 20;

/// Largest raw item (MEM), in bytes.
pub const ITEM: usize = 4 << 20;

/// Largest X request after decoding, in bytes: 65535 words and the largest
/// image of 4 bytes per pixel.
pub const REQUEST: usize = 65535 * 4;

/// Largest unpacked image, in bytes: what a PutImage without BIG-REQUESTS can
/// carry.
pub const IMAGE: usize = REQUEST - 24;

/// Scans of a JPEG: a progressive one has a dozen.
pub const SCANS: usize = 64;

/// X11 bytes after which the decoding of a frame pauses: a few bits can stand
/// for a stored image, so a frame may become a million times its size. As much
/// as is read at once, so that a picture goes on while it is in the processor's
/// cache.
pub const PIECE: usize = 64 << 10;

/// Buffers that are kept to be filled again, and the largest of them.
pub(super) const SPARE: (usize, usize) = (1, 2 * PIECE);

/// The largest buffer of frames to the agent that is kept; they are small but
/// for the lists of fonts at the start.
pub(super) const SPARE_FRAME: usize = 80 << 10;

/// Bytes that all message stores of a session may hold. The agent keeps them
/// within its option `cache`, 8 MB by default.
pub const STORES: usize = 64 << 20;

/// Bytes of unpack state (alpha channels) of one resource.
pub const ALPHA: usize = 4 << 20;

/// The same of all resources of an X channel.
pub const ALPHAS: usize = 16 << 20;

/// X channels at once. nxagent opens one.
pub const X_CHANNELS: usize = 8;

/// Bytes for the agent, answers to its control messages mostly, that may wait
/// to be taken while its bytes are decoded.
pub const ANSWERS: usize = 16 << 20;

/// Requests whose replies are awaited at once.
pub const EXPECTED: usize = 65536;

/// One word of the handshake, in bytes.
pub const WORD: usize = 511;

/// The agent's list of caches, in bytes.
pub const CACHE_LIST: usize = 8192;

/// One message of the X server, in bytes.
pub const SERVER_MESSAGE: usize = 64 << 20;
