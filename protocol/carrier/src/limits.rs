//! Every limit of the carrier, named. Those of the wire are PROTOCOL.md's.

use std::time::Duration;

/// Bytes of a frame's header (PROTOCOL.md §3).
pub const HEADER: usize = 7;

/// Most bytes of a frame's payload.
pub const MAX_PAYLOAD: usize = 16 * 1024;

/// Bytes of data in one frame of a stream that is not NX's: what NX may have
/// to wait for, 3.3 ms on a link of 10 Mbit/s.
pub const CHUNK: usize = 4 * 1024;

/// Most bytes of metadata in OPEN and ACCEPT: room for a path of Linux.
pub const MAX_METADATA: usize = 4096;

/// Most bytes of the text in REFUSE and END.
pub const MAX_TEXT: usize = 256;

/// Most bytes of credit that are granted and unused, on one stream.
pub const MAX_CREDIT: u32 = 16 * 1024 * 1024;

/// Streams that one end holds, of both sides' opening, unless configured.
pub const MAX_STREAMS: usize = 128;

/// Frames without data that may wait to be sent. A peer that lets more gather
/// does nothing but ask.
pub const MAX_CONTROL: usize = 4096;

/// Events that may wait for the program. One input of 64 KiB makes fewer.
pub const MAX_EVENTS: usize = 16 * 1024;

/// Bytes kept for replay, unless configured.
pub const REPLAY: usize = 8 * 1024 * 1024;

/// Least bytes kept for replay: below, bulk data would find no room.
pub const MIN_REPLAY: usize = 128 * 1024;

/// Bytes a program may write ahead on one stream.
pub const SEND_BUFFER: usize = 256 * 1024;

/// Credit a stream is opened with, unless configured: what may lie unread.
pub const WINDOW: u32 = 1024 * 1024;

/// Unacknowledged bytes at which an ACK is due.
pub const ACK_BYTES: u64 = 64 * 1024;

/// Time after which an ACK is due for the first byte that has none.
pub const ACK_DELAY: Duration = Duration::from_millis(25);

/// Silence after which a PING is sent, unless configured.
pub const KEEPALIVE: Duration = Duration::from_secs(2);

/// Least silence that counts as a lost connection.
pub const MIN_SILENCE: Duration = Duration::from_secs(4);

/// Time for the hellos of a connection.
pub const HELLO_TIME: Duration = Duration::from_secs(10);

/// Time an END waits to be acknowledged.
pub const LINGER: Duration = Duration::from_secs(4);
