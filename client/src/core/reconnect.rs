//! When to try again to get a session back that was lost: the decisions, with
//! times and chance passed in.

use std::time::Duration;

use super::failure::Code;

/// The first wait between two attempts. The first attempt follows the loss at
/// once: most outages are over when they are noticed.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait between two attempts: somebody is looking at the screen.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A session that stays up this long is back for good. One that is lost
/// sooner goes on with the outage it came from.
const STABLE: Duration = Duration::from_secs(15);

/// How often a session may come back and be lost at once. Two clients that
/// take the same session from each other would do so for ever.
const MOST_RELAPSES: u32 = 3;

/// The same for a session on the carrier, which nobody takes from another by
/// resuming it: only a broker that drops connections as soon as they are there
/// has it lost so soon again and again.
const CARRIED_STABLE: Duration = Duration::from_secs(1);

/// The longest waits of a session on the carrier, while the outage has lasted
/// no longer than the first: somebody sits before a window that stands still.
const CARRIED_WAITS: [(Duration, Duration); 2] = [
    (Duration::from_secs(15), Duration::from_millis(250)),
    (Duration::from_secs(60), Duration::from_secs(1)),
];

/// How long a VM may look stopped before that is believed: a broker may say so
/// of one that it cannot reach.
const STOPPED: Duration = Duration::from_secs(15);

/// What to do after a session was lost or an attempt has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Try again after this time.
    TryAfter(Duration),
    /// It is hopeless: tell the user.
    GiveUp,
}

/// One session's outages.
///
/// Time is the time since any fixed moment. Feed it [`up`](Self::up) whenever
/// the desktop is in its window, and [`failed`](Self::failed) whenever the
/// session or an attempt to get it back has ended with a failure; do what that
/// says. A session that ended in order is not its business.
#[derive(Debug, Clone)]
pub struct Reconnect {
    /// How long an outage may last; zero for never trying.
    limit: Duration,
    /// How long it stays up when it is back for good.
    stable: Duration,
    /// Whether it is on the carrier, where the user waits at a frozen window.
    carried: bool,
    /// When the session came up last; `None` while it is not up.
    up: Option<Duration>,
    /// Whether it ever was up.
    was_up: bool,
    outage: Option<Outage>,
}

#[derive(Debug, Clone, Copy)]
struct Outage {
    begin: Duration,
    /// Attempts made before, in another way.
    earlier: u32,
    /// Attempts made since the session was last up.
    attempts: u32,
    /// How often the session came back and was lost at once.
    relapses: u32,
}

impl Reconnect {
    /// Outages may last for `limit`.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            stable: STABLE,
            carried: false,
            up: None,
            was_up: false,
            outage: None,
        }
    }

    /// For a session on the carrier.
    #[must_use]
    pub fn carried(limit: Duration) -> Self {
        Self {
            stable: CARRIED_STABLE,
            carried: true,
            ..Self::new(limit)
        }
    }

    /// The desktop is in its window.
    pub fn up(&mut self, now: Duration) {
        self.up = Some(now);
        self.was_up = true;
    }

    /// The session, or an attempt to get it back, has failed. `chance` is a
    /// random number, the same likely everywhere.
    pub fn failed(&mut self, code: Code, now: Duration, chance: u32) -> Action {
        let hopeless = match code {
            // While the carrier's session is kept, its VM may be there again.
            Code::VmStopped => !self.carried && self.knows_stopped(now),
            code => !is_worth_another_try(code),
        };
        if hopeless || self.limit.is_zero() {
            return Action::GiveUp;
        }
        match (self.up.take(), &mut self.outage) {
            // It never was up: the user is waiting for an answer.
            (None, None) => return Action::GiveUp,
            // It was back, and so it is another outage; how soon it was lost
            // again only has the next attempt wait.
            (Some(up), Some(outage)) if self.carried && now.saturating_sub(up) < self.stable => {
                *outage = Outage {
                    begin: now,
                    earlier: 0,
                    attempts: 0,
                    relapses: (outage.relapses + 1).min(MOST_RELAPSES),
                };
            }
            (Some(up), Some(outage)) if now.saturating_sub(up) < self.stable => {
                outage.relapses += 1;
                if outage.relapses > MOST_RELAPSES {
                    return Action::GiveUp;
                }
            }
            (Some(_), _) => {
                self.outage = Some(Outage {
                    begin: now,
                    earlier: 0,
                    attempts: 0,
                    relapses: 0,
                });
            }
            (None, Some(_)) => {}
        }
        let left = self.left(now);
        let Some(outage) = self.outage.as_mut().filter(|_| !left.is_zero()) else {
            return Action::GiveUp;
        };
        let longest = match now.saturating_sub(outage.begin) {
            lasted if self.carried => CARRIED_WAITS
                .iter()
                .find(|(until, _)| lasted < *until)
                .map_or(LONGEST_WAIT, |(_, longest)| *longest),
            _ => LONGEST_WAIT,
        };
        let before = outage.attempts.saturating_add(outage.relapses);
        let wait = wait(before, chance).min(longest);
        outage.attempts = outage.attempts.saturating_add(1);
        // The last attempt is made when the time is up, not after it.
        Action::TryAfter(wait.min(left))
    }

    /// The outage was tried so often in another way. It is tried anew in this
    /// one: at once, and then ever more seldom.
    pub fn tried_before(&mut self, attempts: u32) {
        if let Some(outage) = &mut self.outage {
            let before = outage.earlier.saturating_add(outage.attempts);
            // The one that follows the loss was made in the other way.
            outage.earlier = before.saturating_sub(1).max(attempts);
            outage.attempts = 0;
        }
    }

    /// How long the outage may still last; the whole limit without one.
    #[must_use]
    pub fn left(&self, now: Duration) -> Duration {
        match self.outage {
            Some(outage) => self.limit.saturating_sub(now.saturating_sub(outage.begin)),
            None => self.limit,
        }
    }

    /// How long it may still last when it is tried for `beyond` in another
    /// way, from its beginning, once this one's time is up.
    #[must_use]
    pub fn left_with(&self, beyond: Duration, now: Duration) -> Duration {
        self.left(now).max(beyond.saturating_sub(self.lasted(now)))
    }

    /// How long the outage has lasted.
    #[must_use]
    pub fn lasted(&self, now: Duration) -> Duration {
        let begin = self.outage.map_or(now, |outage| outage.begin);
        now.saturating_sub(begin)
    }

    /// Whether a VM that looks stopped now is stopped, so that the user is to
    /// be asked.
    #[must_use]
    pub fn knows_stopped(&self, now: Duration) -> bool {
        self.lasted(now) >= STOPPED
    }

    /// Whether there ever was a session to get back.
    #[must_use]
    pub fn was_up(&self) -> bool {
        self.was_up
    }

    /// Whether the session is lost, and known to be.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.up.is_none() && self.outage.is_some()
    }

    /// The number of the attempt that is made next, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempts().max(1)
    }

    /// How many attempts the outage has had, or has begun.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.outage
            .map_or(0, |outage| outage.earlier.saturating_add(outage.attempts))
    }
}

/// Doubled with each attempt, and anything between half of that and all of
/// it: a broker that comes back is not met by all its clients at once.
fn wait(before: u32, chance: u32) -> Duration {
    let Some(doublings) = before.checked_sub(1) else {
        return Duration::ZERO;
    };
    let full = FIRST_WAIT
        .saturating_mul(1 << doublings.min(16))
        .min(LONGEST_WAIT);
    let half = full / 2;
    half + half.mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

/// Whether the cause may go away by itself. A refused login never does: one
/// more attempt may lock the account.
fn is_worth_another_try(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownHost
            | Code::ConnectFailed
            | Code::VmUnavailable
            | Code::TimedOut
            | Code::SessionLost
    )
}

#[cfg(test)]
mod tests;
