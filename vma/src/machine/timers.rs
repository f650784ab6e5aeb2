use std::time::Duration;

/// How long a session may take for its steps, from `internal.nxagent.timeout.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// nxagent from its start, or wake, until it listens.
    pub initiating: Duration,
    /// The client from then until it comes.
    pub listening: Duration,
    /// NX from then until it has begun. It takes some eighty round trips.
    pub beginning: Duration,
    /// The same of a client on the carrier, which may be away meanwhile.
    pub carried: Duration,
    /// nxagent from the signal to suspend until it is.
    pub suspending: Duration,
    /// The session from the signal to end until every process is gone.
    pub stopping: Duration,
}

impl Default for Timeouts {
    /// The reference's times, which has none for the beginning of NX.
    fn default() -> Self {
        Self {
            initiating: Duration::from_secs(20),
            listening: Duration::from_secs(10),
            beginning: Duration::from_secs(120),
            carried: Duration::from_secs(180),
            suspending: Duration::from_secs(20),
            stopping: Duration::from_secs(20),
        }
    }
}
