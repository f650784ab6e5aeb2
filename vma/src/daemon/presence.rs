//! Whether the session's client is there: on the carrier it may be away for a
//! while and the session stays connected.

use tokio::time::Instant;

use crate::ctl;

/// What is known of it, and since when; nothing without the carrier, and of a
/// session that this daemon has taken over until its client goes or comes.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Presence(Option<(bool, Instant)>);

impl Presence {
    /// The session process has told of the carrier: whether its connection has
    /// come `up`, and whether there is a client that may go on with it. Says
    /// whether it was there before, and is not now.
    pub(super) fn told(&mut self, up: bool, goes_on: bool, now: Instant) -> bool {
        let was_there = matches!(self.0, Some((true, _)));
        self.0 = match self.0 {
            _ if !goes_on => None,
            Some((there, since)) if there == up => Some((there, since)),
            // One that has not come yet is not away.
            None if !up => None,
            _ => Some((up, now)),
        };
        was_there && !up
    }

    /// What is said of it.
    pub(super) fn describe(self, now: Instant) -> Option<ctl::Client> {
        self.0.map(|(there, since)| ctl::Client {
            there,
            seconds: now.saturating_duration_since(since).as_secs(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_client_is_away_since_it_was_there() {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let client = |there, seconds| Some(ctl::Client { there, seconds });
        let mut presence = Presence::default();
        // It begins, and comes.
        presence.told(false, true, at(0));
        assert_eq!(presence.describe(at(1)), None);
        presence.told(true, true, at(1));
        assert_eq!(presence.describe(at(3)), client(true, 2));
        assert!(presence.told(false, true, at(5)));
        // Somebody comes who may be the client.
        assert!(!presence.told(false, true, at(7)));
        assert_eq!(presence.describe(at(8)), client(false, 3));
        presence.told(true, true, at(9));
        assert_eq!(presence.describe(at(9)), client(true, 0));
        // The session is suspended.
        assert!(presence.told(false, false, at(10)));
        assert_eq!(presence.describe(at(10)), None);
    }
}
