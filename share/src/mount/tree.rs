use std::collections::HashMap;
use std::time::{Duration, Instant};

use qvd_sftp::Attributes;

/// How long what was seen of a file or folder is taken to be so. Longer is
/// faster, and shows later what others change at the sharing end.
pub const LEASE: Duration = Duration::from_secs(5);

/// How long a name that a listing lacks is taken to be absent: a user who puts
/// a file into the folder at its own end looks for it here the next moment.
const ABSENT_LEASE: Duration = Duration::from_secs(1);

/// How long a folder that was made here is taken to hold what was put there
/// from here.
const OWN_LEASE: Duration = Duration::from_secs(20);

/// Most names of listings kept in mind.
const MAX_LISTED: usize = 50_000;

/// What the kernel knows by number.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) parent: u64,
    pub(super) name: Vec<u8>,
    lookups: u64,
    known: Option<(Attributes, Instant)>,
    /// Removed, or replaced: it has no path any more.
    pub(super) removed: bool,
    /// Open files of it.
    pub(super) handles: Vec<u64>,
    /// Size and time of what the kernel has in its pages.
    pub(super) paged: Option<(Option<u64>, Option<u32>)>,
    /// How often a name was looked up in it that was not known, and since when.
    missed: Option<(u32, Instant)>,
    /// How often it was changed from here.
    changes: u64,
}

#[derive(Debug)]
struct Listing {
    /// Names, with what was seen of them and how long that holds.
    entries: HashMap<Vec<u8>, (Attributes, Instant)>,
    /// How long these are the names that are shown.
    until: Instant,
    /// How long no other names are taken to be there.
    absent_until: Instant,
    /// It was made here.
    own: bool,
    /// When it was made, among the others.
    order: u64,
}

/// What is known of a name.
#[derive(Debug)]
pub(super) enum Known {
    /// It is there.
    There(Attributes, Duration),
    /// It is not.
    Absent,
    /// Nothing.
    Unknown,
}

/// The numbers of files and folders, and what is known of them for how long.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: HashMap<u64, Node>,
    numbers: HashMap<(u64, Vec<u8>), u64>,
    listings: HashMap<u64, Listing>,
    listed: usize,
    next: u64,
    order: u64,
}

impl Tree {
    /// The mounted folder itself.
    pub(super) const ROOT: u64 = 1;

    pub(super) fn new() -> Self {
        let root = Node {
            parent: Self::ROOT,
            name: Vec::new(),
            lookups: 1,
            known: None,
            removed: false,
            handles: Vec::new(),
            paged: None,
            missed: None,
            changes: 0,
        };
        Self {
            nodes: HashMap::from([(Self::ROOT, root)]),
            numbers: HashMap::new(),
            listings: HashMap::new(),
            listed: 0,
            next: Self::ROOT + 1,
            order: 0,
        }
    }

    pub(super) fn node(&self, ino: u64) -> Option<&Node> {
        self.nodes.get(&ino)
    }

    pub(super) fn node_mut(&mut self, ino: u64) -> Option<&mut Node> {
        self.nodes.get_mut(&ino)
    }

    pub(super) fn number(&self, parent: u64, name: &[u8]) -> Option<u64> {
        self.numbers.get(&(parent, name.to_vec())).copied()
    }

    /// The path for the peer, relative to the mounted folder; `None` for what
    /// is removed.
    pub(super) fn path(&self, ino: u64) -> Option<Vec<u8>> {
        if ino == Self::ROOT {
            return Some(b".".to_vec());
        }
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = ino;
        while at != Self::ROOT {
            let node = self.nodes.get(&at).filter(|node| !node.removed)?;
            names.push(&node.name);
            at = node.parent;
        }
        names.reverse();
        Some(names.join(&b'/'))
    }

    pub(super) fn child_path(&self, parent: u64, name: &[u8]) -> Option<Vec<u8>> {
        if parent == Self::ROOT {
            return Some(name.to_vec());
        }
        let mut path = self.path(parent)?;
        path.push(b'/');
        path.extend_from_slice(name);
        Some(path)
    }

    /// How many folders are above the one `ino` is in.
    pub(super) fn depth(&self, ino: u64) -> usize {
        let mut depth = 0;
        let mut at = ino;
        while at != Self::ROOT {
            let Some(node) = self.nodes.get(&at) else {
                break;
            };
            at = node.parent;
            if at != Self::ROOT {
                depth += 1;
            }
        }
        depth
    }

    /// The number of a name, made where there is none, as the kernel is told
    /// of it: it forgets it later.
    pub(super) fn found(
        &mut self,
        parent: u64,
        name: &[u8],
        attributes: Attributes,
        now: Instant,
    ) -> u64 {
        let ino = match self.number(parent, name) {
            Some(ino) => ino,
            None => {
                let ino = self.next;
                self.next += 1;
                self.numbers.insert((parent, name.to_vec()), ino);
                let node = Node {
                    parent,
                    name: name.to_vec(),
                    lookups: 0,
                    known: None,
                    removed: false,
                    handles: Vec::new(),
                    paged: None,
                    missed: None,
                    changes: 0,
                };
                self.nodes.insert(ino, node);
                ino
            }
        };
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups += 1;
        }
        self.learn(ino, attributes, now);
        ino
    }

    /// The kernel forgets.
    pub(super) fn forget(&mut self, ino: u64, count: u64, now: Instant) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        node.lookups = node.lookups.saturating_sub(count);
        if node.lookups == 0 && node.handles.is_empty() && ino != Self::ROOT {
            let (parent, name) = (node.parent, node.name.clone());
            if self.numbers.get(&(parent, name.clone())) == Some(&ino) {
                self.numbers.remove(&(parent, name.clone()));
            }
            let known = self.nodes.remove(&ino).and_then(|node| node.known);
            self.unlist(ino);
            // What is known of it is all that is left of its writes.
            if let Some(listing) = self.listings.get_mut(&parent)
                && let Some(seen) = listing.entries.get_mut(&name)
            {
                *seen = known.unwrap_or((Attributes::NONE, now));
            }
        }
    }

    /// What the peer says of a file.
    pub(super) fn learn(&mut self, ino: u64, attributes: Attributes, now: Instant) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.known = Some((attributes, now + LEASE));
        }
    }

    /// What is known changes by what was done here.
    pub(super) fn change(&mut self, ino: u64, now: Instant, change: impl FnOnce(&mut Attributes)) {
        if let Some(node) = self.nodes.get_mut(&ino)
            && let Some((attributes, until)) = &mut node.known
        {
            change(attributes);
            *until = now + LEASE;
            node.changes += 1;
        }
    }

    /// How often a file was changed from here: what the peer said of it before
    /// the last time is not what it is.
    pub(super) fn changes(&self, ino: u64) -> u64 {
        self.nodes.get(&ino).map_or(0, |node| node.changes)
    }

    /// What is known, for how long.
    pub(super) fn fresh(&self, ino: u64, now: Instant) -> Option<(Attributes, Duration)> {
        let (attributes, until) = self.nodes.get(&ino)?.known?;
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then_some((attributes, left))
    }

    /// What was known last, fresh or not.
    pub(super) fn last_known(&self, ino: u64) -> Option<Attributes> {
        self.nodes
            .get(&ino)?
            .known
            .map(|(attributes, _)| attributes)
    }

    /// What is known of a name in a folder.
    pub(super) fn look(&self, parent: u64, name: &[u8], now: Instant) -> Known {
        if let Some(ino) = self.number(parent, name)
            && let Some((attributes, left)) = self.fresh(ino, now)
        {
            return Known::There(attributes, left);
        }
        let Some(listing) = self.listings.get(&parent) else {
            return Known::Unknown;
        };
        let left = listing.until.saturating_duration_since(now);
        if left.is_zero() {
            return Known::Unknown;
        }
        let Some((attributes, until)) = listing.entries.get(name) else {
            let absent = listing.absent_until > now;
            return if absent {
                Known::Absent
            } else {
                Known::Unknown
            };
        };
        let left = until.saturating_duration_since(now);
        // What was known of it by itself may be newer than the listing.
        let newer = self
            .number(parent, name)
            .and_then(|ino| self.nodes.get(&ino)?.known)
            .is_some_and(|(_, known)| known > *until);
        if left.is_zero() || newer || attributes.mode.is_none() {
            return Known::Unknown;
        }
        Known::There(*attributes, left)
    }

    /// A folder was listed whole.
    pub(super) fn listed(
        &mut self,
        folder: u64,
        entries: impl ExactSizeIterator<Item = (Vec<u8>, Attributes)>,
        now: Instant,
    ) {
        self.unlist(folder);
        if entries.len() > MAX_LISTED {
            return;
        }
        while self.listed + entries.len() > MAX_LISTED {
            let oldest = self
                .listings
                .iter()
                .min_by_key(|(_, listing)| listing.order);
            let Some(oldest) = oldest.map(|(ino, _)| *ino) else {
                break;
            };
            self.unlist(oldest);
        }
        let until = now + LEASE;
        let entries = entries.map(|(name, seen)| (name, (seen, until)));
        self.list(folder, entries.collect(), until, now + ABSENT_LEASE, false);
    }

    /// A folder was made here: it is empty.
    pub(super) fn made(&mut self, folder: u64, now: Instant) {
        self.unlist(folder);
        let until = now + OWN_LEASE;
        self.list(folder, HashMap::new(), until, until, true);
    }

    /// Whether a folder was made here, and not long ago.
    pub(super) fn is_own(&self, folder: u64, now: Instant) -> bool {
        let listing = self.listings.get(&folder);
        listing.is_some_and(|listing| listing.own && listing.until > now)
    }

    fn list(
        &mut self,
        folder: u64,
        entries: HashMap<Vec<u8>, (Attributes, Instant)>,
        until: Instant,
        absent_until: Instant,
        own: bool,
    ) {
        self.listed += entries.len();
        self.order += 1;
        let listing = Listing {
            entries,
            until,
            absent_until,
            own,
            order: self.order,
        };
        self.listings.insert(folder, listing);
    }

    fn unlist(&mut self, folder: u64) {
        if let Some(listing) = self.listings.remove(&folder) {
            self.listed = self.listed.saturating_sub(listing.entries.len());
        }
    }

    /// The names of a folder that is known whole.
    pub(super) fn names(&self, folder: u64, now: Instant) -> Option<Vec<(Vec<u8>, Attributes)>> {
        let listing = self.listings.get(&folder).filter(|one| one.until > now)?;
        // All of them have to be known still, or it is no listing.
        let known = |(name, (seen, until)): (&Vec<u8>, &(Attributes, Instant))| {
            let better = self
                .number(folder, name)
                .and_then(|ino| self.fresh(ino, now));
            let seen = (*until > now && seen.mode.is_some()).then_some(*seen);
            let attributes = better.map(|(attributes, _)| attributes).or(seen)?;
            Some((name.clone(), attributes))
        };
        listing.entries.iter().map(known).collect()
    }

    /// A name was looked up in a folder and not known: how often that was so
    /// lately.
    pub(super) fn missed(&mut self, folder: u64, now: Instant) -> u32 {
        let Some(node) = self.nodes.get_mut(&folder) else {
            return 0;
        };
        let lately = node.missed.filter(|(_, since)| *since + LEASE > now);
        let (count, since) = lately.unwrap_or((0, now));
        node.missed = Some((count.saturating_add(1), since));
        count.saturating_add(1)
    }

    /// A name was put into a folder from here.
    pub(super) fn added(&mut self, parent: u64, name: &[u8], attributes: Attributes, now: Instant) {
        let seen = (attributes, now + LEASE);
        if let Some(listing) = self.listings.get_mut(&parent)
            && listing.entries.insert(name.to_vec(), seen).is_none()
        {
            self.listed += 1;
        }
        self.touched(parent);
    }

    /// A name was removed from a folder from here.
    pub(super) fn removed(&mut self, parent: u64, name: &[u8]) {
        if let Some(ino) = self.numbers.remove(&(parent, name.to_vec())) {
            if let Some(node) = self.nodes.get_mut(&ino) {
                node.removed = true;
            }
            self.unlist(ino);
        }
        if let Some(listing) = self.listings.get_mut(&parent)
            && listing.entries.remove(name).is_some()
        {
            self.listed = self.listed.saturating_sub(1);
        }
        self.touched(parent);
    }

    /// What was put into a folder from here was not.
    pub(super) fn unmade(&mut self, ino: u64) {
        let place = self.nodes.get(&ino).filter(|node| !node.removed);
        if let Some((parent, name)) = place.map(|node| (node.parent, node.name.clone())) {
            self.removed(parent, &name);
        }
    }

    /// A name was changed from here.
    pub(super) fn renamed(&mut self, from: (u64, &[u8]), to: (u64, &[u8]), now: Instant) {
        if from == to {
            return;
        }
        let listed = self
            .listings
            .get(&from.0)
            .and_then(|listing| listing.entries.get(from.1))
            .map_or(Attributes::NONE, |(attributes, _)| *attributes);
        self.removed(to.0, to.1);
        if let Some(ino) = self.numbers.remove(&(from.0, from.1.to_vec())) {
            if let Some(node) = self.nodes.get_mut(&ino) {
                node.parent = to.0;
                node.name = to.1.to_vec();
            }
            self.numbers.insert((to.0, to.1.to_vec()), ino);
        }
        self.removed(from.0, from.1);
        self.added(to.0, to.1, listed, now);
    }

    /// A folder's own attributes have changed by what was done in it.
    fn touched(&mut self, folder: u64) {
        if let Some(node) = self.nodes.get_mut(&folder)
            && let Some((attributes, _)) = &mut node.known
            && let Some(times) = &mut attributes.times
        {
            times.modification = times
                .modification
                .max(super::convert::seconds(fuser::TimeOrNow::Now));
        }
    }
}
