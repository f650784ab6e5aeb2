//! How many connections the RPC port serves, and which give way to new ones.
//!
//! A new connection is always taken: one that was quiet for longest is closed
//! for it. So neither many connections nor slow ones keep a broker's call from
//! being answered. One address has a share of the places only, and where all
//! are taken, the one with the most gives way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use tokio::task::AbortHandle;

/// Most connections served at a time.
pub const MAX_CONNECTIONS: usize = 512;

/// Most of them from one address: a broker needs one for each session it is
/// just then starting, and one for its pings.
pub const MAX_OF_PEER: usize = 256;

/// The places of connections.
#[derive(Clone, Default)]
pub struct Places(Rc<RefCell<Table>>);

#[derive(Default)]
struct Table {
    /// Counts what happens, so that it can be told what was last.
    clock: u64,
    connections: BTreeMap<u64, Connection>,
}

struct Connection {
    peer: IpAddr,
    /// Its call is being worked on: it is closed last.
    busy: bool,
    /// When it was last heard of, by the clock.
    heard: u64,
    task: Option<AbortHandle>,
}

/// A connection's place. Given up when dropped.
pub struct Place {
    number: u64,
    places: Places,
}

impl Places {
    /// A place for a new connection, if need be another's.
    #[must_use]
    pub fn take(&self, peer: IpAddr) -> Place {
        let closed = self.0.borrow_mut().make_room(peer);
        // Ending a task gives its place back, and so needs the table.
        if let Some(task) = closed {
            tracing::debug!(%peer, "too many connections, the quietest is closed");
            task.abort();
        }
        let mut table = self.0.borrow_mut();
        let heard = table.tick();
        let connection = Connection {
            peer,
            busy: false,
            heard,
            task: None,
        };
        table.connections.insert(heard, connection);
        Place {
            number: heard,
            places: self.clone(),
        }
    }

    /// Says which task serves a place.
    pub fn serve(&self, number: u64, task: AbortHandle) {
        if let Some(connection) = self.0.borrow_mut().connections.get_mut(&number) {
            connection.task = Some(task);
        }
    }
}

impl Table {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Takes the connection out that is to make room, if one must: of the
    /// address that has the most of them.
    fn make_room(&mut self, peer: IpAddr) -> Option<AbortHandle> {
        let mut shares: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for connection in self.connections.values() {
            *shares.entry(connection.peer).or_default() += 1;
        }
        let greedy = if shares.get(&peer).is_some_and(|own| *own >= MAX_OF_PEER) {
            peer
        } else if self.connections.len() >= MAX_CONNECTIONS {
            shares.into_iter().max_by_key(|(_, share)| *share)?.0
        } else {
            return None;
        };
        let candidates = self.connections.iter().filter(|(_, c)| c.peer == greedy);
        let quietest = candidates.min_by_key(|(_, c)| (c.busy, c.heard));
        let number = quietest.map(|(number, _)| *number)?;
        self.connections.remove(&number)?.task
    }
}

impl Place {
    /// Its number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Says that a call came, or was answered.
    pub fn heard(&self, busy: bool) {
        let mut table = self.places.0.borrow_mut();
        let now = table.tick();
        if let Some(connection) = table.connections.get_mut(&self.number) {
            connection.busy = busy;
            connection.heard = now;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.borrow_mut().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    fn taken(places: &Places) -> Vec<u64> {
        places.0.borrow().connections.keys().copied().collect()
    }

    #[test]
    fn the_quietest_of_a_peer_gives_way_and_those_at_work_last() {
        let places = Places::default();
        let other = places.take(peer(2));
        let mut own: Vec<Place> = (0..MAX_OF_PEER).map(|_| places.take(peer(1))).collect();
        own[0].heard(true);
        own[1].heard(false);
        let gone = own[2].number();
        own.push(places.take(peer(1)));
        let left = taken(&places);
        assert!(!left.contains(&gone));
        assert!(left.contains(&own[0].number()) && left.contains(&other.number()));
        assert_eq!(left.len(), MAX_OF_PEER + 1);
        for place in &own {
            place.heard(true);
        }
        own.push(places.take(peer(1)));
        assert!(taken(&places).contains(&own.last().unwrap().number()));
        assert_eq!(taken(&places).len(), MAX_OF_PEER + 1);
    }

    #[test]
    fn there_is_always_room_and_places_come_back() {
        let places = Places::default();
        let all: Vec<Place> = (0..=255u8)
            .cycle()
            .take(3 * MAX_CONNECTIONS)
            .map(|n| places.take(peer(n)))
            .collect();
        assert_eq!(taken(&places).len(), MAX_CONNECTIONS);
        // Those with few keep theirs.
        let few = [10, 0, 1, 1].into();
        let broker = places.take(few);
        let more: Vec<Place> = (0..=255u8)
            .cycle()
            .take(MAX_CONNECTIONS)
            .map(|n| places.take(peer(n)))
            .collect();
        assert!(taken(&places).contains(&broker.number()));
        drop((broker, more, all));
        assert!(taken(&places).is_empty());
    }
}
