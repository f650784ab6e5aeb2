//! What may wait between the ends of a live session, and for how long.

use std::time::Duration;

/// X11 bytes waiting for the X server beyond which the agent is not read.
pub(super) const TO_DISPLAY: usize = 16 << 10;

/// NX bytes waiting for the agent beyond which the X server is not read.
pub(super) const FROM_DISPLAY: usize = 256 << 10;

/// The same for the local ends of other channels: what the user types must not
/// wait long behind a file.
pub(super) const FROM_CHANNEL: usize = 64 << 10;

/// NX bytes waiting for the agent beyond which it is not read: it does not read
/// either.
pub(super) const TO_AGENT: usize = 4 << 20;

/// Bytes waiting for a local end beyond which the agent is asked to stop, and
/// below which it may go on.
pub(super) const CONGESTION: (usize, usize) = (256 << 10, 64 << 10);

/// Bytes waiting for a local end beyond which the agent plainly does not stop.
pub(super) const CHANNEL: usize = 16 << 20;

/// Bytes read at once.
pub(super) const READ: usize = 32 << 10;

/// Turns after which others on the same thread get theirs.
pub(super) const TURNS: usize = 64;

/// For a local end to take what waits for it once the agent has closed the
/// channel.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(30);

/// For how long a session that shows a window has to ask nothing to be up.
pub(super) const CALM: Duration = Duration::from_millis(300);

/// From the X server's welcome to a session that is up, where nothing else
/// shows that it is.
pub(super) const SETTLE: Duration = Duration::from_secs(5);

/// For a connection to the X server.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// From the order to leave to a session that is up, where it was not yet, and
/// from leaving to the agent's end.
pub(super) const LEAVE: Duration = Duration::from_secs(4);

/// For the last bytes to the agent.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// Silence of the agent after which it is asked for a sign of life; it gives
/// one by itself every five seconds.
pub(super) const ASK: Duration = Duration::from_secs(20);

/// Silence of the agent after which it is lost, as with nxproxy under the
/// client.
pub(super) const LOST: Duration = Duration::from_secs(30);

/// A look at the clock that comes so much too late is one of a process that was
/// stopped, or of a machine that slept.
pub(super) const LATE: Duration = Duration::from_secs(2);
