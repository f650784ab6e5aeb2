use std::fmt;
use std::str::FromStr;

/// The state of a session as `x_state` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// No process of the session exists.
    Stopped,
    /// A start or resume is under way.
    Starting,
    /// The user is being provisioned; takes as long as it takes.
    Provisioning,
    /// The NX port waits for the client: a connection to it will be served.
    Listening,
    /// A client is connected.
    Connected,
    /// The client is gone or being let go.
    Suspending,
    /// The desktop lives on without a client.
    Suspended,
    /// The session is being ended.
    Stopping,
}

impl SessionState {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Stopped,
        Self::Starting,
        Self::Provisioning,
        Self::Listening,
        Self::Connected,
        Self::Suspending,
        Self::Suspended,
        Self::Stopping,
    ];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Provisioning => "provisioning",
            Self::Listening => "listening",
            Self::Connected => "connected",
            Self::Suspending => "suspending",
            Self::Suspended => "suspended",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SessionState {
    type Err = crate::Error;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == word)
            .ok_or_else(|| crate::Error::Reply("unknown session state".into()))
    }
}
