//! How often it is said that a session is not back yet, where every line stays.

use std::time::{Duration, Instant};

/// Attempts of an outage that are told each: most outages take no more.
const EACH: u32 = 3;

/// How often it is told of those that follow, several a second.
const SOMETIMES: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Pace {
    told: u32,
    last: Option<Instant>,
}

impl Pace {
    /// Whether this attempt is to be told.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.told < EACH
            || self
                .last
                .is_none_or(|last| now.saturating_duration_since(last) >= SOMETIMES);
        if is_due {
            self.told += 1;
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_outage_is_told_by_its_first_attempts_and_now_and_then() {
        let begin = Instant::now();
        let mut pace = Pace::default();
        // Four attempts a second, for a minute.
        let told: Vec<_> = (0..240_u64)
            .map(|n| n * 250)
            .filter(|at| pace.is_due(begin + Duration::from_millis(*at)))
            .collect();
        assert_eq!(told, [0, 250, 500, 10_500, 20_500, 30_500, 40_500, 50_500]);
    }
}
