//! What a session has carried.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::channel::{Channel, Kind};
use crate::codec::{Service, Totals};

/// What a session has carried so far: bytes, requests and round trips.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Bytes of NX from the agent and to it, as they went over the connection.
    pub carried: (u64, u64),
    /// Requests, replies, and bytes of NX before compression.
    pub totals: Totals,
    /// Bytes for the local ends and from them, of all channels of a kind.
    pub channels: BTreeMap<&'static str, (u64, u64)>,
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = self.carried;
        writeln!(
            f,
            "NX from the VM: {from} bytes ({} before compression)",
            self.totals.unpacked
        )?;
        writeln!(
            f,
            "NX to the VM: {to} bytes ({} before compression)",
            self.totals.packing
        )?;
        for (name, (down, up)) in &self.channels {
            writeln!(f, "channel {name}: {down} bytes from the VM, {up} to it")?;
        }
        let display = self.channels.get("x11").map_or(0, |(down, _)| *down);
        writeln!(
            f,
            "X11: {} requests, {} round trips; {} bytes of X11 per byte of NX",
            self.totals.requests,
            self.totals.replies,
            Tenths(display, from)
        )
    }
}

/// One number divided by another, with one decimal.
struct Tenths(u64, u64);

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0.saturating_mul(10) / self.1.max(1);
        write!(f, "{}.{}", tenths / 10, tenths % 10)
    }
}

/// The statistics of an engine's last session, which others may look at while
/// it runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Statistics>>);

impl Shared {
    pub(super) fn get(&self) -> Statistics {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Of a session that begins.
    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Statistics::default();
    }

    /// Brings it up to date. It is asked for once in a session and changes with
    /// every message, so what was there is filled again.
    pub(super) fn update<'c>(
        &self,
        counter: &Counter,
        totals: Totals,
        open: impl Iterator<Item = &'c Channel>,
    ) {
        let mut statistics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        statistics.carried = counter.carried;
        statistics.totals = totals;
        let channels = &mut statistics.channels;
        for bytes in channels.values_mut() {
            *bytes = (0, 0);
        }
        for (name, bytes) in &counter.closed {
            channels.insert(name, *bytes);
        }
        for channel in open {
            add(channels, channel);
        }
    }
}

/// Counts for one session.
#[derive(Debug, Default)]
pub(super) struct Counter {
    pub(super) carried: (u64, u64),
    /// Of channels that are closed.
    closed: BTreeMap<&'static str, (u64, u64)>,
}

impl Counter {
    /// Keeps the bytes of a channel that is closed.
    pub(super) fn close(&mut self, channel: &Channel) {
        add(&mut self.closed, channel);
    }
}

fn add(channels: &mut BTreeMap<&'static str, (u64, u64)>, channel: &Channel) {
    // What waits for a local end is not carried, and may never be.
    if !channel.is_there() {
        return;
    }
    let bytes = channels.entry(name(channel.kind)).or_default();
    bytes.0 += channel.bytes.0;
    bytes.1 += channel.bytes.1;
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::X => "x11",
        Kind::Service(Service::Cups) => "cups",
        Kind::Service(Service::Smb) => "smb",
        Kind::Service(Service::Media) => "media",
        Kind::Service(Service::Http) => "http",
        Kind::Service(Service::Slave) => "slave",
        Kind::Service(Service::Font) => "font",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_and_what_is_closed_are_counted_once_each() {
        let channel = |bytes| {
            let (end, _) = tokio::io::duplex(1);
            let mut channel = Channel::there(Kind::Service(Service::Media), Box::new(end));
            channel.bytes = bytes;
            channel
        };
        let (shared, mut counter) = (Shared::default(), Counter::default());
        let (one, other) = (channel((1, 20)), channel((300, 4000)));
        for _ in 0..2 {
            shared.update(&counter, Totals::default(), [&one, &other].into_iter());
            assert_eq!(shared.get().channels["media"], (301, 4020));
        }
        let never = Box::pin(std::future::pending());
        let mut coming = Channel::coming(Kind::Service(Service::Cups), never);
        coming.push(vec![0; 100]);
        shared.update(&counter, Totals::default(), [&coming].into_iter());
        counter.close(&coming);
        shared.update(&counter, Totals::default(), [].into_iter());
        assert!(!shared.get().channels.contains_key("cups"));

        counter.close(&one);
        shared.update(&counter, Totals::default(), [&other].into_iter());
        assert_eq!(shared.get().channels["media"], (301, 4020));
        shared.clear();
        assert!(shared.get().channels.is_empty());
    }

    #[test]
    fn what_was_carried_is_told_in_lines() {
        let statistics = Statistics {
            carried: (1000, 200),
            totals: Totals::default(),
            channels: BTreeMap::from([("media", (5, 6)), ("x11", (12_340, 99))]),
        };
        let text = statistics.to_string();
        assert!(text.contains("NX from the VM: 1000 bytes"), "{text}");
        assert!(text.contains("channel media: 5 bytes from the VM, 6 to it"));
        assert!(text.contains("12.3 bytes of X11 per byte of NX"), "{text}");
    }
}
