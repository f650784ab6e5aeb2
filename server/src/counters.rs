//! What the server counts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A session under this counts as short: often a sign that something in it
/// fails.
pub const SHORT_SESSION: Duration = Duration::from_secs(120);

/// Numbers since the start of the server.
#[derive(Debug, Default)]
pub struct Counters {
    /// Client connections accepted.
    pub connections: AtomicU64,
    /// Logins that were refused.
    pub refused_logins: AtomicU64,
    /// Sessions that were connected.
    pub sessions: AtomicU64,
    /// Sessions that ended before [`SHORT_SESSION`].
    pub short_sessions: AtomicU64,
    /// Requests to connect that failed.
    pub failed_sessions: AtomicU64,
    /// Bytes of ended sessions from clients to VMs.
    pub bytes_up: AtomicU64,
    /// Bytes of ended sessions from VMs to clients.
    pub bytes_down: AtomicU64,
    /// Tunnels open now.
    pub tunnels: AtomicU64,
}

impl Counters {
    /// One more.
    pub fn count(counter: &AtomicU64) {
        Self::add(counter, 1);
    }

    /// So many more.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// Counts a tunnel as open until the result is dropped.
    #[must_use]
    pub fn open_tunnel(self: &Arc<Self>) -> OpenTunnel {
        Self::count(&self.tunnels);
        OpenTunnel(self.clone())
    }

    /// The numbers with what they are, in Prometheus' text format.
    #[must_use]
    pub fn prometheus(&self) -> String {
        self.table()
            .into_iter()
            .map(|(name, kind, help, counter)| {
                let value = counter.load(Ordering::Relaxed);
                format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
            })
            .collect()
    }

    fn table(&self) -> [(&'static str, &'static str, &'static str, &AtomicU64); 8] {
        [
            (
                "qvd_connections_total",
                "counter",
                "Client connections accepted.",
                &self.connections,
            ),
            (
                "qvd_refused_logins_total",
                "counter",
                "Logins refused.",
                &self.refused_logins,
            ),
            (
                "qvd_sessions_total",
                "counter",
                "Sessions connected.",
                &self.sessions,
            ),
            (
                "qvd_short_sessions_total",
                "counter",
                "Sessions of less than 120 seconds.",
                &self.short_sessions,
            ),
            (
                "qvd_failed_sessions_total",
                "counter",
                "Requests to connect that failed.",
                &self.failed_sessions,
            ),
            (
                "qvd_bytes_up_total",
                "counter",
                "Bytes of ended sessions from clients to VMs.",
                &self.bytes_up,
            ),
            (
                "qvd_bytes_down_total",
                "counter",
                "Bytes of ended sessions from VMs to clients.",
                &self.bytes_down,
            ),
            ("qvd_tunnels", "gauge", "Tunnels open.", &self.tunnels),
        ]
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, _, _, counter)) in self.table().into_iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{name}={}", counter.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}

/// A tunnel that is counted as open.
#[derive(Debug)]
pub struct OpenTunnel(Arc<Counters>);

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_format_names_every_number_once() {
        let counters = Arc::new(Counters::default());
        Counters::add(&counters.bytes_up, 17);
        let open = counters.open_tunnel();
        let text = counters.prometheus();
        assert!(text.contains("# TYPE qvd_bytes_up_total counter\nqvd_bytes_up_total 17\n"));
        assert!(text.contains("\nqvd_tunnels 1\n"));
        drop(open);
        assert!(counters.to_string().ends_with(" qvd_tunnels=0"));
    }
}
