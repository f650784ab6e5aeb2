//! Whether the session's client is there: on the carrier it may be away for a
//! while and the session stays connected.

use std::time::Duration;

use tokio::time::Instant;

use crate::control::Client;

/// What is known of it; nothing without the carrier.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Presence {
    /// Whether it is there, and since when; nothing of one that has not come
    /// yet.
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
    /// The session process has told of the carrier: whether a connection has
    /// come `up`, whether there is a client that may go on with it, and what it
    /// says of the client.
    pub(super) fn told(
        &mut self,
        up: bool,
        goes_on: bool,
        client: Option<Client>,
        now: Instant,
    ) -> Became {
        let there = client.map(|client| {
            let since = now.checked_sub(Duration::from_secs(client.seconds));
            (client.there, since.unwrap_or(now))
        });
        let before = std::mem::replace(&mut self.there, there.filter(|_| goes_on));
        let is_away = |of| matches!(of, Some((false, _)));
        // Or it was away when this daemon came.
        let has_left = is_away(self.there) && !is_away(before);
        let is_there = up || client.is_some_and(|client| client.there);
        match (is_there, goes_on) {
            (true, true) => Became::There,
            (false, true) if has_left => Became::Lost,
            (false, true) => Became::Same,
            // It may have come up and ended at the same moment.
            (_, false) => Became::Gone,
        }
    }

    /// What is said of it.
    pub(super) fn describe(self, now: Instant) -> Option<Client> {
        self.there.map(|(there, since)| Client {
            there,
            seconds: now.saturating_duration_since(since).as_secs(),
        })
    }
}

/// The NX ports that were opened for a session's clients, by their numbers.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Ports {
    /// The one that was opened last.
    opened: u64,
    /// The one to which a client has come last.
    pub(super) came: u64,
}

impl Ports {
    /// The number of the next one, which is opened.
    pub(super) fn open(&mut self) -> u64 {
        self.opened = self.opened.saturating_add(1);
        self.opened
    }

    /// What has become of the client that is meant now, when that is what has
    /// become of one that came to this port; of 0, to one that an older session
    /// process does not tell.
    pub(super) fn told(&mut self, became: Became, port: u64) -> Became {
        let last = match became {
            // A connection that came to the port before the last may be lost by
            // now: its client has asked for the last.
            Became::There => self.opened,
            // Who has come after that is another one, or comes again.
            Became::Lost | Became::Gone => self.came,
            Became::Same => 0,
        };
        // Of the ports that an earlier daemon had opened.
        self.opened = self.opened.max(port);
        match port == 0 || port >= last {
            true => became,
            false => Became::Same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_an_earlier_client_is_not_of_the_next_one() {
        use Became::{Gone, Lost, Same, There};
        let mut ports = Ports::default();
        assert_eq!(ports.open(), 1);
        ports.came = 1;
        assert_eq!(ports.told(There, 1), There);
        // Another port is open, to which nobody has come yet.
        assert_eq!(ports.open(), 2);
        assert_eq!(ports.told(There, 1), Same, "its client has asked anew");
        for became in [Lost, Gone, Same] {
            assert_eq!(ports.told(became, 1), became);
        }
        // Somebody has come: what is told of the one before comes too late.
        ports.came = 2;
        for became in [There, Lost, Gone] {
            assert_eq!(ports.told(became, 1), Same);
            assert_eq!(ports.told(became, 2), became);
            assert_eq!(ports.told(became, 0), became, "of an older process");
        }
    }

    #[test]
    fn ports_of_an_earlier_daemon_have_their_numbers() {
        let mut ports = Ports::default();
        assert_eq!(ports.told(Became::There, 7), Became::There);
        assert_eq!(ports.open(), 8);
        assert_eq!(ports.told(Became::There, 7), Became::Same);
    }

    #[test]
    fn a_client_is_there_or_away_since_then() {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let client = |there, seconds| Some(Client { there, seconds });
        let mut presence = Presence::default();
        // It begins, and comes.
        let became = presence.told(false, true, None, at(0));
        assert_eq!((became, presence.describe(at(1))), (Became::Same, None));
        let became = presence.told(true, true, client(true, 0), at(1));
        assert_eq!(became, Became::There);
        assert_eq!(presence.describe(at(3)), client(true, 2));
        let became = presence.told(false, true, client(false, 0), at(5));
        assert_eq!(became, Became::Lost);
        // Somebody comes who may be the client.
        let became = presence.told(false, true, client(false, 2), at(7));
        assert_eq!(became, Became::Same);
        assert_eq!(presence.describe(at(8)), client(false, 3));
        let became = presence.told(true, true, client(true, 0), at(9));
        assert_eq!(became, Became::There);
        assert_eq!(presence.describe(at(9)), client(true, 0));
        // The session is suspended.
        let became = presence.told(false, false, None, at(10));
        assert_eq!((became, presence.describe(at(10))), (Became::Gone, None));
    }

    #[test]
    fn a_daemon_that_comes_later_knows_since_when() {
        let now = Instant::now() + Duration::from_secs(100);
        let client = |there, seconds| Some(Client { there, seconds });
        for (there, what) in [(false, Became::Lost), (true, Became::There)] {
            let mut presence = Presence::default();
            let became = presence.told(false, true, client(there, 60), now);
            assert_eq!(became, what);
            let later = now + Duration::from_secs(2);
            assert_eq!(presence.describe(later), client(there, 62));
        }
    }

    #[test]
    fn a_client_that_ends_as_it_comes_is_gone() {
        let now = Instant::now();
        let mut presence = Presence::default();
        assert_eq!(presence.told(false, true, None, now), Became::Same);
        // Up, and over already.
        let there = Client {
            there: true,
            seconds: 0,
        };
        assert_eq!(presence.told(true, false, Some(there), now), Became::Gone);
        assert_eq!(presence.describe(now), None);
        // One of whom there is no hello.
        let mut presence = Presence::default();
        assert_eq!(presence.told(false, false, None, now), Became::Gone);
    }
}
