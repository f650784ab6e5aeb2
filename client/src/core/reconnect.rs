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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(180);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn running() -> Reconnect {
        let mut machine = Reconnect::new(LIMIT);
        machine.up(seconds(0));
        machine
    }

    #[test]
    fn what_is_left_counts_every_way_it_is_tried() {
        let mut machine = Reconnect::carried(seconds(10));
        machine.up(seconds(0));
        machine.failed(Code::SessionLost, seconds(100), 0);
        let left = |beyond, now| machine.left_with(seconds(beyond), seconds(now));
        assert_eq!(left(180, 103), seconds(177));
        assert_eq!(left(5, 103), seconds(7));
        assert_eq!(left(0, 103), seconds(7));
        assert_eq!(left(0, 200), seconds(0));
    }

    #[test]
    fn a_lost_session_is_tried_at_once_and_then_ever_later() {
        let mut machine = running();
        let lost = machine.failed(Code::SessionLost, seconds(100), 0);
        assert_eq!(lost, Action::TryAfter(Duration::ZERO));
        let mut waits = Vec::new();
        for _ in 0..8 {
            match machine.failed(Code::ConnectFailed, seconds(101), u32::MAX) {
                Action::TryAfter(wait) => waits.push(wait.as_millis()),
                Action::GiveUp => panic!("gave up after {waits:?}"),
            }
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000]);
        let quick = machine.failed(Code::ConnectFailed, seconds(101), 0);
        assert_eq!(quick, Action::TryAfter(seconds(5)), "half of it at least");
    }

    #[test]
    fn attempts_are_counted_on_when_it_is_tried_in_another_way() {
        let mut machine = running();
        assert_eq!((machine.attempt(), machine.attempts()), (1, 0));
        machine.failed(Code::SessionLost, seconds(100), 0);
        machine.tried_before(40);
        assert_eq!(machine.attempts(), 40);
        let now = machine.failed(Code::ConnectFailed, seconds(110), u32::MAX);
        assert_eq!(now, Action::TryAfter(Duration::ZERO));
        assert_eq!(machine.attempt(), 41);
        let next = machine.failed(Code::ConnectFailed, seconds(110), u32::MAX);
        assert_eq!(next, Action::TryAfter(FIRST_WAIT));
        assert_eq!(machine.attempt(), 42);
        // Another outage has its own.
        machine.up(seconds(111));
        machine.failed(Code::SessionLost, seconds(150), 0);
        assert_eq!(machine.attempt(), 1);
    }

    #[test]
    fn what_was_never_up_is_not_tried_again() {
        let mut machine = Reconnect::new(LIMIT);
        for code in Code::ALL {
            assert_eq!(machine.failed(*code, seconds(1), 0), Action::GiveUp);
        }
    }

    #[test]
    fn what_does_not_go_away_by_itself_ends_the_client() {
        for code in [
            Code::LoginRefused,
            Code::NotAllowed,
            Code::NoSuchVm,
            Code::RequestRefused,
            Code::Protocol,
            Code::Display,
            Code::Engine,
            Code::Internal,
            Code::Interrupted,
        ] {
            assert_eq!(running().failed(code, seconds(1), 0), Action::GiveUp);
            let mut machine = running();
            machine.failed(Code::SessionLost, seconds(1), 0);
            assert_eq!(machine.failed(code, seconds(2), 0), Action::GiveUp);
        }
    }

    #[test]
    fn the_last_attempt_is_made_at_the_limit() {
        let mut machine = running();
        machine.failed(Code::SessionLost, seconds(10), 0);
        for _ in 0..10 {
            machine.failed(Code::ConnectFailed, seconds(20), 0);
        }
        let last = machine.failed(Code::ConnectFailed, seconds(189), u32::MAX);
        assert_eq!(last, Action::TryAfter(seconds(1)));
        let over = machine.failed(Code::ConnectFailed, seconds(190), u32::MAX);
        assert_eq!(over, Action::GiveUp);
    }

    #[test]
    fn a_session_that_stays_up_has_a_new_outage_next_time() {
        let mut machine = running();
        machine.failed(Code::SessionLost, seconds(10), 0);
        machine.failed(Code::ConnectFailed, seconds(100), 0);
        machine.up(seconds(150));
        let again = machine.failed(Code::SessionLost, seconds(170), 0);
        assert_eq!(again, Action::TryAfter(Duration::ZERO));
        assert_eq!(machine.left(seconds(171)), seconds(179));
    }

    #[test]
    fn two_clients_do_not_take_a_session_from_each_other_for_ever() {
        let mut machine = running();
        let mut now = 100;
        machine.failed(Code::SessionLost, seconds(now), 0);
        let mut relapses = 0;
        loop {
            machine.up(seconds(now + 1));
            now += 2;
            if machine.failed(Code::SessionLost, seconds(now), 0) == Action::GiveUp {
                break;
            }
            relapses += 1;
        }
        assert_eq!(relapses, MOST_RELAPSES);
    }

    #[test]
    fn a_vm_that_looks_stopped_is_not_believed_at_once() {
        let mut machine = running();
        assert!(!machine.is_out() && machine.was_up());
        machine.failed(Code::SessionLost, seconds(10), 0);
        assert!(machine.is_out() && !machine.knows_stopped(seconds(24)));
        let soon = machine.failed(Code::VmStopped, seconds(24), 0);
        assert!(matches!(soon, Action::TryAfter(_)));
        assert!(machine.knows_stopped(seconds(25)));
        let later = machine.failed(Code::VmStopped, seconds(25), 0);
        assert_eq!(later, Action::GiveUp);
    }

    #[test]
    fn a_vm_that_looks_stopped_may_be_there_again_while_its_session_is_kept() {
        let mut machine = Reconnect::carried(LIMIT);
        machine.up(seconds(0));
        machine.failed(Code::SessionLost, seconds(10), 0);
        let late = machine.failed(Code::VmStopped, seconds(185), 0);
        assert!(matches!(late, Action::TryAfter(_)));
        let over = machine.failed(Code::VmStopped, seconds(190), 0);
        assert_eq!(over, Action::GiveUp);
    }

    #[test]
    fn a_carrier_that_is_lost_as_soon_as_it_is_back_is_tried_for_ever_and_never_wildly() {
        let mut machine = Reconnect::carried(LIMIT);
        let mut now = seconds(0);
        machine.up(now);
        for round in 0..10_000 {
            now += Duration::from_millis(300);
            let Action::TryAfter(wait) = machine.failed(Code::SessionLost, now, 0) else {
                panic!("given up in round {round}");
            };
            assert!(wait <= Duration::from_millis(250), "{wait:?}");
            assert!(round == 0 || wait >= Duration::from_millis(50), "{wait:?}");
            now += wait;
            machine.up(now);
        }
        // Once it does not come back, there is an end.
        let begin = now;
        while let Action::TryAfter(wait) = machine.failed(Code::ConnectFailed, now, u32::MAX) {
            now += wait.max(Duration::from_millis(1));
        }
        assert!(now >= begin + LIMIT && now < begin + 2 * LIMIT);
    }

    #[test]
    fn no_limit_no_attempt() {
        let mut machine = Reconnect::new(Duration::ZERO);
        machine.up(seconds(0));
        let lost = machine.failed(Code::SessionLost, seconds(1), 0);
        assert_eq!(lost, Action::GiveUp);
    }

    proptest! {
        /// Behind a broker that lets each of them take the session.
        #[test]
        fn of_two_clients_that_reconnect_one_gives_up(
            worked_for in 0_u64..100,
            chances in prop::collection::vec(any::<u32>(), 100),
            takes in prop::collection::vec(0_u64..12_000, 100),
        ) {
            let mut clients = [running(), Reconnect::new(LIMIT)];
            // The user turns to the second, which the first does not know.
            let mut now = seconds(worked_for);
            clients[1].up(now);
            let mut holder = 1;
            let mut tries = [clients[0].failed(Code::SessionLost, now, 0), Action::GiveUp];
            for (chance, takes) in chances.into_iter().zip(takes) {
                let other = 1 - holder;
                let Action::TryAfter(wait) = tries[other] else {
                    return Ok(());
                };
                // The holder is told to go when the other asks, which has the
                // session when the agent has let it go.
                now += wait;
                tries[holder] = clients[holder].failed(Code::SessionLost, now, chance);
                now += Duration::from_millis(takes);
                clients[other].up(now);
                holder = other;
            }
            prop_assert!(false, "they still take it from each other");
        }

        #[test]
        fn no_outage_outlasts_its_limit(
            chances in prop::collection::vec(any::<u32>(), 1..500),
            takes in 0_u64..20_000,
        ) {
            let mut machine = running();
            let begin = seconds(50);
            let mut now = begin;
            let mut code = Code::SessionLost;
            for chance in chances {
                match machine.failed(code, now, chance) {
                    Action::TryAfter(wait) => {
                        prop_assert!(now + wait <= begin + LIMIT);
                        now += wait + Duration::from_millis(takes);
                    }
                    Action::GiveUp => {
                        prop_assert!(now >= begin + LIMIT);
                        break;
                    }
                }
                code = Code::ConnectFailed;
            }
        }
    }
}
