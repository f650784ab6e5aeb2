//! Whether the other end is there, and how far away.

use std::time::{Duration, Instant};

use crate::limits::{MIN_DOUBT, MIN_SILENCE};

/// What is due to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    /// The silence has lasted too long.
    Lost,
}

/// Silence, pings and the round trip of one connection (PROTOCOL.md §4).
#[derive(Debug)]
pub(crate) struct Liveness {
    keepalive: Duration,
    heard: Instant,
    /// When the ping that has no answer was sent.
    asked: Option<Instant>,
    /// That ping asks whether a network that has changed still leads there.
    doubted: bool,
    number: u64,
    round_trip: Option<Duration>,
}

impl Liveness {
    pub(crate) fn new(keepalive: Duration, round_trip: Option<Duration>, now: Instant) -> Self {
        Self {
            keepalive,
            heard: now,
            asked: None,
            doubted: false,
            number: 0,
            round_trip,
        }
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Something arrived.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.doubted = false;
    }

    /// Begins a ping whose answer is not waited for as long as else: its bytes,
    /// where there is none of the kind.
    pub(crate) fn doubt(&mut self, now: Instant) -> Option<[u8; 8]> {
        if std::mem::replace(&mut self.doubted, true) {
            return None;
        }
        Some(self.ask(now))
    }

    /// Begins a ping: its bytes.
    pub(crate) fn ask(&mut self, now: Instant) -> [u8; 8] {
        self.number = self.number.wrapping_add(1);
        self.asked = Some(now);
        self.number.to_be_bytes()
    }

    /// A pong came. One that was not asked for says nothing.
    pub(crate) fn answered(&mut self, bytes: [u8; 8], now: Instant) {
        if bytes != self.number.to_be_bytes() {
            return;
        }
        let Some(asked) = self.asked.take() else {
            return;
        };
        let sample = now.saturating_duration_since(asked);
        self.round_trip = Some(match self.round_trip {
            None => sample,
            Some(before) => before.saturating_mul(7).saturating_add(sample) / 8,
        });
    }

    /// Silence that counts as a loss.
    fn patience(&self) -> Duration {
        self.round_trip
            .unwrap_or_default()
            .saturating_mul(3)
            .max(MIN_SILENCE)
    }

    /// When the silence will have lasted too long: counted from the last byte,
    /// and half as long from the ping, for a machine that slept has itself not
    /// listened.
    fn limit(&self, asked: Instant) -> Instant {
        if self.doubted {
            let thrice = self.round_trip.unwrap_or_default().saturating_mul(3);
            return asked + thrice.max(MIN_DOUBT);
        }
        let patience = self.patience();
        (self.heard + patience).max(asked + patience / 2)
    }

    pub(crate) fn deadline(&self) -> Instant {
        match self.asked {
            // One that was overtaken by other bytes no longer counts for
            // silence.
            Some(asked) => self.limit(asked),
            None => self.heard + self.keepalive,
        }
    }

    pub(crate) fn due(&self, now: Instant) -> Due {
        if now < self.deadline() {
            Due::Nothing
        } else if self.asked.is_some() {
            Due::Lost
        } else {
            Due::Ping
        }
    }
}
