//! Whether the session's client is there: on the carrier it may be away for a
//! while and the session stays connected.

use tokio::time::Instant;

use crate::ctl;

/// What is known of it; nothing without the carrier.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Presence {
    /// Whether there is a client that may go on.
    goes_on: bool,
    /// Whether it is there, and since when; nothing of one that has not come
    /// yet, and of a session that this daemon has taken over until its client
    /// goes or comes.
    there: Option<(bool, Instant)>,
}

/// What has become of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    /// It is there, or somebody is who may be the client.
    There,
    /// It has lost its connection, and may be back.
    Lost,
    /// It will not come back.
    Gone,
    /// What it was before.
    Same,
}

impl Presence {
    /// The session process has told of the carrier: whether its connection has
    /// come `up`, and whether there is a client that may go on with it.
    pub(super) fn told(&mut self, up: bool, goes_on: bool, now: Instant) -> Became {
        let was_known = std::mem::replace(&mut self.goes_on, goes_on);
        let was_there = matches!(self.there, Some((true, _)));
        self.there = match self.there {
            _ if !goes_on => None,
            Some((there, since)) if there == up => Some((there, since)),
            // One that has not come yet is not away.
            None if !up => None,
            _ => Some((up, now)),
        };
        match (up, goes_on) {
            (true, true) => Became::There,
            (false, true) if was_there => Became::Lost,
            // It may have come up and ended at the same moment.
            (_, false) if was_known => Became::Gone,
            _ => Became::Same,
        }
    }

    /// What is said of it.
    pub(super) fn describe(self, now: Instant) -> Option<ctl::Client> {
        self.there.map(|(there, since)| ctl::Client {
            there,
            seconds: now.saturating_duration_since(since).as_secs(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(begin: Instant, second: u64) -> Instant {
        begin + Duration::from_secs(second)
    }

    #[test]
    fn a_client_is_away_since_it_was_there() {
        let begin = Instant::now();
        let client = |there, seconds| Some(ctl::Client { there, seconds });
        let mut presence = Presence::default();
        // It begins, and comes.
        assert_eq!(presence.told(false, true, at(begin, 0)), Became::Same);
        assert_eq!(presence.describe(at(begin, 1)), None);
        assert_eq!(presence.told(true, true, at(begin, 1)), Became::There);
        assert_eq!(presence.describe(at(begin, 3)), client(true, 2));
        assert_eq!(presence.told(false, true, at(begin, 5)), Became::Lost);
        // Somebody comes who may be the client.
        assert_eq!(presence.told(false, true, at(begin, 7)), Became::Same);
        assert_eq!(presence.describe(at(begin, 8)), client(false, 3));
        assert_eq!(presence.told(true, true, at(begin, 9)), Became::There);
        assert_eq!(presence.describe(at(begin, 9)), client(true, 0));
        // The session is suspended.
        assert_eq!(presence.told(false, false, at(begin, 10)), Became::Gone);
        assert_eq!(presence.describe(at(begin, 10)), None);
        assert_eq!(presence.told(false, false, at(begin, 11)), Became::Same);
    }

    #[test]
    fn a_client_that_ends_as_it_comes_is_gone() {
        let begin = Instant::now();
        let mut presence = Presence::default();
        assert_eq!(presence.told(false, true, begin), Became::Same);
        // Up, and over already.
        assert_eq!(presence.told(true, false, begin), Became::Gone);
        assert_eq!(presence.told(false, false, begin), Became::Same);
        assert_eq!(presence.describe(begin), None);
    }
}
