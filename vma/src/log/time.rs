//! The times of log lines. Always UTC: the agent does not read the time zone
//! of a disk image, and a log that is sent elsewhere is read elsewhere.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A moment, in the parts that a line is written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    year: u64,
    month: u64,
    day: u64,
    second: u64,
    micros: u32,
}

impl Moment {
    /// The moment at hand.
    #[must_use]
    pub fn now() -> Self {
        // A clock before 1970 is no clock.
        Self::at(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        )
    }

    /// The moment this long after the beginning of 1970.
    #[must_use]
    pub fn at(since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs();
        let (year, month, day) = civil(seconds / 86400);
        Self {
            year,
            month,
            day,
            second: seconds % 86400,
            micros: since_epoch.subsec_micros(),
        }
    }

    fn clock(&self) -> String {
        let second = self.second;
        format!(
            "{:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }

    /// As RFC 3339 has it, with microseconds: `2026-01-31T09:05:00.000001Z`.
    #[must_use]
    pub fn rfc3339(&self) -> String {
        format!(
            "{:04}-{:02}-{:02}T{}.{:06}Z",
            self.year,
            self.month,
            self.day,
            self.clock(),
            self.micros
        )
    }

    /// As RFC 3164 has it: `Jan 31 09:05:00`.
    #[must_use]
    pub fn rfc3164(&self) -> String {
        let month = usize::try_from(self.month.saturating_sub(1)).unwrap_or_default();
        let month = MONTHS.get(month).copied().unwrap_or("Jan");
        format!("{month} {:2} {}", self.day, self.clock())
    }

    /// As Log4perl's `%d` has it: `2026/01/31 09:05:00`.
    #[must_use]
    pub fn log4perl(&self) -> String {
        format!(
            "{:04}/{:02}/{:02} {}",
            self.year,
            self.month,
            self.day,
            self.clock()
        )
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian
/// calendar. Years are taken to begin in March, so that the leap day is the
/// last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01.
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_their_standards_say() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00.000001Z"),
            (951_782_399, "2000-02-28T23:59:59.000001Z"),
            (951_782_400, "2000-02-29T00:00:00.000001Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000001Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000001Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000001Z"),
        ] {
            let moment = Moment::at(Duration::new(seconds, 1000));
            assert_eq!(moment.rfc3339(), date);
        }
        let moment = Moment::at(Duration::from_secs(951_782_405));
        assert_eq!(moment.rfc3164(), "Feb 29 00:00:05");
        assert_eq!(moment.log4perl(), "2000/02/29 00:00:05");
        assert_eq!(Moment::at(Duration::ZERO).rfc3164(), "Jan  1 00:00:00");
    }
}
