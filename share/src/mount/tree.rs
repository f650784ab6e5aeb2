mod listings;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use hashbrown::HashTable;
use qvd_sftp::Attributes;

use self::listings::Listing;
use super::links::Links;
use super::node::Node;

/// How long what was seen of a file or folder is taken to be so. Longer is
/// faster, and shows later what others change at the sharing end.
pub const LEASE: Duration = Duration::from_secs(5);

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
    nodes: HashMap<u64, Box<Node>>,
    /// Numbers by folder and name, which are in the nodes.
    names: HashTable<u64>,
    hasher: RandomState,
    listings: HashMap<u64, Listing>,
    listed: usize,
    links: Links,
    next: u64,
    order: u64,
}

impl Tree {
    /// The mounted folder itself.
    pub(super) const ROOT: u64 = 1;

    pub(super) fn new() -> Self {
        let mut root = Node::new(Self::ROOT, b"");
        root.lookups = 1;
        Self {
            nodes: HashMap::from([(Self::ROOT, Box::new(root))]),
            names: HashTable::new(),
            hasher: RandomState::new(),
            listings: HashMap::new(),
            listed: 0,
            links: Links::default(),
            next: Self::ROOT + 1,
            order: 0,
        }
    }

    pub(super) fn node(&self, ino: u64) -> Option<&Node> {
        self.nodes.get(&ino).map(Box::as_ref)
    }

    pub(super) fn node_mut(&mut self, ino: u64) -> Option<&mut Node> {
        self.nodes.get_mut(&ino).map(Box::as_mut)
    }

    /// Open files of a file.
    pub(super) fn handles(&self, ino: u64) -> &[u64] {
        self.node(ino).map_or(&[], Node::handles)
    }

    /// The other names of a file, as far as they were made from here.
    pub(super) fn others(&self, ino: u64) -> &[u64] {
        self.links.others(ino)
    }

    /// One name was made a hard link to the file of another.
    pub(super) fn linked(&mut self, one: u64, other: u64) {
        self.links.join(one, other);
    }

    /// How long the kernel may take attributes to be so: those of a file that
    /// is written by another name it could not know.
    pub(super) fn lease(&self, ino: u64, left: Duration) -> Duration {
        if self.others(ino).is_empty() {
            left
        } else {
            Duration::ZERO
        }
    }

    fn hash(&self, parent: u64, name: &[u8]) -> u64 {
        self.hasher.hash_one((parent, name))
    }

    fn is(&self, ino: u64, parent: u64, name: &[u8]) -> bool {
        self.node(ino)
            .is_some_and(|node| node.parent == parent && node.name() == name)
    }

    pub(super) fn number(&self, parent: u64, name: &[u8]) -> Option<u64> {
        let hash = self.hash(parent, name);
        self.names
            .find(hash, |ino| self.is(*ino, parent, name))
            .copied()
    }

    /// Makes a node of this number the one of its folder and name.
    fn enter(&mut self, ino: u64) {
        let Self {
            nodes,
            names,
            hasher,
            ..
        } = self;
        let hash = |ino: &u64| {
            nodes
                .get(ino)
                .map_or(0, |node| hasher.hash_one((node.parent, node.name())))
        };
        names.insert_unique(hash(&ino), ino, hash);
    }

    /// Takes the node of a name from its place.
    fn leave(&mut self, parent: u64, name: &[u8]) -> Option<u64> {
        let hash = self.hash(parent, name);
        let nodes = &self.nodes;
        let is = |ino: &u64| {
            let node = nodes.get(ino);
            node.is_some_and(|node| node.parent == parent && node.name() == name)
        };
        let entry = self.names.find_entry(hash, is).ok()?;
        Some(entry.remove().0)
    }

    /// The number of a name, made where there is none.
    fn number_or_new(&mut self, parent: u64, name: &[u8]) -> u64 {
        if let Some(ino) = self.number(parent, name) {
            return ino;
        }
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, Box::new(Node::new(parent, name)));
        self.enter(ino);
        ino
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
            names.push(node.name());
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
        let ino = self.number_or_new(parent, name);
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups = node.lookups.saturating_add(1);
            node.learn(attributes, now);
        }
        ino
    }

    /// The same for a name of a listing that was asked for at `asked`, if it is
    /// no older one. What is known from later stays, and is given.
    pub(super) fn shown(
        &mut self,
        parent: u64,
        name: &[u8],
        attributes: Attributes,
        asked: Option<Instant>,
        now: Instant,
    ) -> (u64, Attributes) {
        let ino = self.number_or_new(parent, name);
        let Some(node) = self.nodes.get_mut(&ino) else {
            return (ino, attributes);
        };
        node.lookups = node.lookups.saturating_add(1);
        let stays = asked.is_none_or(|asked| node.is_newer(asked));
        match node.last_known().filter(|_| stays) {
            Some(known) => (ino, known),
            None => {
                if attributes.mode.is_some() {
                    node.learn(attributes, now);
                }
                (ino, attributes)
            }
        }
    }

    /// The kernel forgets.
    pub(super) fn forget(&mut self, ino: u64, count: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            node.lookups = node.lookups.saturating_sub(count);
        }
        self.drop_needless(ino);
    }

    fn drop_needless(&mut self, ino: u64) {
        if ino == Self::ROOT || !self.node(ino).is_some_and(Node::is_needless) {
            return;
        }
        self.unlist(ino);
        if let Some(node) = self.node(ino) {
            let (parent, name) = (node.parent, node.name().to_vec());
            if self.number(parent, &name) == Some(ino) {
                self.leave(parent, &name);
            }
            self.nodes.remove(&ino);
            self.links.part(ino);
        }
    }

    /// What the peer says of a file.
    pub(super) fn learn(&mut self, ino: u64, attributes: Attributes, now: Instant) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.learn(attributes, now);
        }
    }

    /// What is known changes by what was done here.
    pub(super) fn change(&mut self, ino: u64, now: Instant, change: impl FnOnce(&mut Attributes)) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.change(now, change);
        }
        for other in self.links.others(ino) {
            if let Some(node) = self.nodes.get_mut(other) {
                node.expire(now);
            }
        }
    }

    /// How often a file was changed from here: what the peer said of it before
    /// the last time is not what it is.
    pub(super) fn changes(&self, ino: u64) -> u64 {
        self.node(ino).map_or(0, Node::changes)
    }

    /// What is known, for how long.
    pub(super) fn fresh(&self, ino: u64, now: Instant) -> Option<(Attributes, Duration)> {
        self.node(ino)?.fresh(now)
    }

    /// What was known last, fresh or not.
    pub(super) fn last_known(&self, ino: u64) -> Option<Attributes> {
        self.node(ino)?.last_known()
    }

    /// What is known of a name in a folder.
    pub(super) fn look(&self, parent: u64, name: &[u8], now: Instant) -> Known {
        if let Some(ino) = self.number(parent, name) {
            return match self.fresh(ino, now) {
                Some((attributes, left)) if attributes.mode.is_some() => {
                    Known::There(attributes, left)
                }
                _ => Known::Unknown,
            };
        }
        match self.listings.get(&parent) {
            Some(listing) if listing.until > now && listing.absent_until > now => Known::Absent,
            _ => Known::Unknown,
        }
    }

    /// A name was looked up in a folder and not known: how often that was so
    /// lately.
    pub(super) fn missed(&mut self, folder: u64, now: Instant) -> u32 {
        self.nodes.get_mut(&folder).map_or(0, |n| n.missed(now))
    }

    /// A name was put into a folder from here.
    pub(super) fn added(&mut self, parent: u64, name: &[u8], attributes: Attributes, now: Instant) {
        if self.listings.contains_key(&parent) {
            let ino = self.number_or_new(parent, name);
            if let Some(node) = self.nodes.get_mut(&ino) {
                node.learn(attributes, now);
            }
            self.join(parent, ino);
        }
        self.touched(parent);
    }

    /// A name was removed from a folder from here.
    pub(super) fn removed(&mut self, parent: u64, name: &[u8]) {
        if let Some(ino) = self.leave(parent, name) {
            self.part(parent, ino);
            if let Some(node) = self.nodes.get_mut(&ino) {
                node.removed = true;
            }
            self.unlist(ino);
            self.drop_needless(ino);
        }
        self.touched(parent);
    }

    /// What was put into a folder from here was not.
    pub(super) fn unmade(&mut self, ino: u64) {
        let place = self.node(ino).filter(|node| !node.removed);
        if let Some((parent, name)) = place.map(|node| (node.parent, node.name().to_vec())) {
            self.removed(parent, &name);
        }
    }

    /// A name was changed from here.
    pub(super) fn renamed(&mut self, from: (u64, &[u8]), to: (u64, &[u8])) {
        if from == to {
            return;
        }
        self.removed(to.0, to.1);
        if let Some(ino) = self.leave(from.0, from.1) {
            self.part(from.0, ino);
            if let Some(node) = self.nodes.get_mut(&ino) {
                node.rename(to.0, to.1);
            }
            self.enter(ino);
            self.join(to.0, ino);
            self.drop_needless(ino);
        }
        self.touched(from.0);
        self.touched(to.0);
    }

    /// Two files have changed their names.
    pub(super) fn exchanged(&mut self, one: u64, other: u64) {
        let place = |ino| {
            let node = self.node(ino)?;
            Some((node.parent, node.name().to_vec()))
        };
        let (Some(of_one), Some(of_other)) = (place(one), place(other)) else {
            return;
        };
        for (ino, from, to) in [(one, &of_one, &of_other), (other, &of_other, &of_one)] {
            self.leave(from.0, &from.1);
            self.part(from.0, ino);
            if let Some(node) = self.node_mut(ino) {
                node.rename(to.0, &to.1);
            }
        }
        for (ino, parent) in [(one, of_other.0), (other, of_one.0)] {
            self.enter(ino);
            self.join(parent, ino);
        }
    }

    /// A folder's own attributes have changed by what was done in it.
    fn touched(&mut self, folder: u64) {
        if let Some(node) = self.nodes.get_mut(&folder) {
            node.touch(|attributes| {
                if let Some(times) = &mut attributes.times {
                    let now = super::convert::seconds(fuser::TimeOrNow::Now);
                    times.modification = times.modification.max(now);
                }
            });
        }
    }
}
