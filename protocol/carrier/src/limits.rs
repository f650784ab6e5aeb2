//! Every limit of the carrier, named. Those of the wire are PROTOCOL.md's.

use std::time::Duration;

/// Bytes of a frame's header (PROTOCOL.md §3).
pub const HEADER: usize = 7;

/// Most bytes of a frame's payload.
pub const MAX_PAYLOAD: usize = 16 * 1024;

/// Most bytes of data in a frame that is sent: with its header it fills a
/// record of TLS, and four of them what a TLS library takes at once.
pub const FULL_CHUNK: usize = MAX_PAYLOAD - HEADER;

/// Bytes of a block that is read to.
pub const BLOCK: usize = 64 * 1024;

/// Best as many bytes of a program are read to a block: of full frames they
/// make four, and no fifth of a few bytes.
pub const FULL_BLOCK: usize = 4 * FULL_CHUNK;

/// Least bytes of data in a full frame of a stream that is not NX's: what NX
/// has to wait for on a slow link, 1.1 ms at 10 Mbit/s. With its header and
/// TLS's it fits a segment of TCP.
pub const LEAST_CHUNK: usize = 1400;

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

/// Events that may wait for the program.
pub const MAX_EVENTS: usize = 16 * 1024;

/// Bytes of input after which the events are to be taken, and the output: no
/// frames of so many bytes ask for more answers, or tell of more, than may
/// wait.
pub const MAX_INPUT: usize = 32 * 1024;

// Of the frames that ask for an answer, OPEN is the shortest.
const _: () = assert!(MAX_INPUT / (HEADER + 5) < MAX_CONTROL);
const _: () = assert!(MAX_INPUT / HEADER < MAX_EVENTS);

/// Bytes kept for replay, unless configured.
pub const REPLAY: usize = 8 * 1024 * 1024;

/// Least bytes kept for replay: below, bulk data would find no room.
pub const MIN_REPLAY: usize = 128 * 1024;

/// Bytes a program may write ahead on one stream.
pub const SEND_BUFFER: usize = 256 * 1024;

/// Credit a stream is opened with, unless configured: what may lie unread.
pub const WINDOW: u32 = 1024 * 1024;

/// Most credit of a stream whose peer is far away and fast.
pub const MAX_WINDOW: u32 = 8 * 1024 * 1024;

/// Unacknowledged bytes at which an ACK is due.
pub const ACK_BYTES: u64 = 256 * 1024;

/// Time after which an ACK is due for the first byte that has none.
pub const ACK_DELAY: Duration = Duration::from_millis(25);

/// Unacknowledged bytes that are more than what a user types: their ACK is due
/// after [`ACK_SOON`].
pub const ACK_FEW: u64 = 1024;

/// See [`ACK_FEW`].
pub const ACK_SOON: Duration = Duration::from_micros(500);

/// Unacknowledged bytes of a link that is fast: their ACK is due after
/// [`ACK_AT_ONCE`], as a sender at its window waits for it.
pub const ACK_MANY: u64 = 16 * 1024;

/// See [`ACK_MANY`].
pub const ACK_AT_ONCE: Duration = Duration::from_micros(250);

/// Bytes that may be on their way at the beginning of a connection before bulk
/// data waits.
pub const START_WINDOW: usize = 32 * 1024;

/// Least bytes that may be: on a link of 10 Mbit/s these are 3.4 ms.
pub const LEAST_WINDOW: usize = 3 * (LEAST_CHUNK + HEADER);

/// How long bulk data may wait on its way, where the network does not vary
/// more by itself.
pub const WAITING: Duration = Duration::from_millis(1);

/// Most time that one frame is taken to need, on the slowest link.
pub const MAX_WAITING: Duration = Duration::from_millis(200);

/// How long bulk data may be held back to find out how long the way takes,
/// where that is not longer itself.
pub const PROBE: Duration = Duration::from_millis(200);

/// Positions of which it is known when they were sent.
pub const MAX_MARKS: usize = 512;

/// Bytes that all windows of a session together may have grown by.
pub const MAX_GROWTH: u32 = 24 * 1024 * 1024;

/// Silence after which a PING is sent, unless configured.
pub const KEEPALIVE: Duration = Duration::from_secs(2);

/// Least silence that counts as a lost connection.
pub const MIN_SILENCE: Duration = Duration::from_secs(4);

/// The same after a change of the network.
pub const MIN_DOUBT: Duration = Duration::from_secs(1);

/// Time for the hellos of a connection.
pub const HELLO_TIME: Duration = Duration::from_secs(10);

/// Time an END waits to be acknowledged.
pub const LINGER: Duration = Duration::from_secs(4);
