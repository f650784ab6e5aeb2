//! What the broker counts.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that were accepted.
    pub connections: AtomicU64,
    /// Logins that were refused.
    pub logins_refused: AtomicU64,
    /// Sessions that were connected.
    pub sessions: AtomicU64,
    /// Sessions that were under two minutes.
    pub short_sessions: AtomicU64,
    /// Connects that were refused or failed.
    pub connects_failed: AtomicU64,
    /// Tunnels open now.
    pub active: AtomicU64,
    /// Bytes from clients, of tunnels that have ended.
    pub received: AtomicU64,
    /// Bytes to clients, of tunnels that have ended.
    pub sent: AtomicU64,
}

impl Counters {
    /// One more.
    pub fn count(counter: &AtomicU64) {
        Self::add(counter, 1);
    }

    /// Some more.
    pub fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    /// Every counter: name, meaning, value.
    pub fn all(&self) -> [(&'static str, &'static str, u64); 8] {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            (
                "connections",
                "connections accepted",
                value(&self.connections),
            ),
            (
                "logins_refused",
                "logins refused",
                value(&self.logins_refused),
            ),
            ("sessions", "sessions connected", value(&self.sessions)),
            (
                "short_sessions",
                "sessions under two minutes",
                value(&self.short_sessions),
            ),
            (
                "connects_failed",
                "connects refused or failed",
                value(&self.connects_failed),
            ),
            ("active_tunnels", "tunnels open now", value(&self.active)),
            (
                "received_bytes",
                "bytes from clients, ended tunnels",
                value(&self.received),
            ),
            (
                "sent_bytes",
                "bytes to clients, ended tunnels",
                value(&self.sent),
            ),
        ]
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, _, value)) in self.all().into_iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{name}={value}")?;
        }
        Ok(())
    }
}
