//! Listings: which names a folder has, and for how long that holds.

use std::hash::BuildHasher as _;
use std::time::{Duration, Instant};

use qvd_sftp::Attributes;

use super::super::folders::Entries;
use super::{LEASE, Tree};

/// How long a name that a listing lacks is taken to be absent: a user who puts
/// a file into the folder at its own end looks for it here the next moment.
const ABSENT_LEASE: Duration = Duration::from_secs(1);

/// How long a folder that was made here is taken to hold what was put there
/// from here.
const OWN_LEASE: Duration = Duration::from_secs(20);

/// Most names of listings kept in mind.
const MAX_LISTED: usize = 50_000;

/// The names of a folder. What is known of each is in its node.
#[derive(Debug)]
pub(super) struct Listing {
    /// The numbers of the names, in order: half the room of a table, and new
    /// ones come last.
    children: Vec<u64>,
    /// How long these are the names that are shown.
    pub(super) until: Instant,
    /// How long no other names are taken to be there.
    pub(super) absent_until: Instant,
    /// It was made here.
    own: bool,
    /// When it was made, among the others.
    order: u64,
}

impl Tree {
    /// A folder was listed whole, as asked at `asked`. What is known of a name
    /// from later stays, as does what `keeps` says of a number.
    pub(in super::super) fn listed<'a>(
        &mut self,
        folder: u64,
        entries: impl ExactSizeIterator<Item = (&'a [u8], Attributes)>,
        asked: Instant,
        now: Instant,
        keeps: impl Fn(u64) -> bool,
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
        let mut children = Vec::with_capacity(entries.len());
        for (name, attributes) in entries {
            let ino = self.number_or_new(folder, name);
            let keeps = keeps(ino);
            if let Some(node) = self.nodes.get_mut(&ino) {
                node.listed = true;
                if !keeps && !node.is_newer(asked) && attributes.mode.is_some() {
                    node.learn(attributes, now);
                }
            }
            children.push(ino);
        }
        children.sort_unstable();
        children.dedup();
        self.list(folder, children, now + LEASE, now + ABSENT_LEASE, false);
    }

    /// A folder was made here: it is empty.
    pub(in super::super) fn made(&mut self, folder: u64, now: Instant) {
        self.unlist(folder);
        let until = now + OWN_LEASE;
        self.list(folder, Vec::new(), until, until, true);
    }

    /// Whether a folder was made here, and not long ago.
    pub(in super::super) fn is_own(&self, folder: u64, now: Instant) -> bool {
        let listing = self.listings.get(&folder);
        listing.is_some_and(|listing| listing.own && listing.until > now)
    }

    fn list(
        &mut self,
        folder: u64,
        children: Vec<u64>,
        until: Instant,
        absent_until: Instant,
        own: bool,
    ) {
        self.listed += children.len();
        self.order += 1;
        let listing = Listing {
            children,
            until,
            absent_until,
            own,
            order: self.order,
        };
        self.listings.insert(folder, listing);
    }

    pub(super) fn unlist(&mut self, folder: u64) {
        let Some(listing) = self.listings.remove(&folder) else {
            return;
        };
        self.listed = self.listed.saturating_sub(listing.children.len());
        for child in listing.children {
            if let Some(node) = self.nodes.get_mut(&child) {
                node.listed = false;
            }
            self.drop_needless(child);
        }
    }

    /// Lets go of listings that hold no longer.
    pub(in super::super) fn tidy(&mut self, now: Instant) {
        let over = self.listings.iter().filter(|(_, one)| one.until <= now);
        for folder in over.map(|(folder, _)| *folder).collect::<Vec<_>>() {
            self.unlist(folder);
        }
        self.nodes.shrink_to_fit();
        let Self {
            nodes,
            names,
            hasher,
            ..
        } = self;
        names.shrink_to_fit(|ino| {
            nodes
                .get(ino)
                .map_or(0, |node| hasher.hash_one((node.parent, node.name())))
        });
    }

    /// The names of a folder that is known whole.
    pub(in super::super) fn names(&self, folder: u64, now: Instant) -> Option<Entries> {
        let listing = self.listings.get(&folder).filter(|one| one.until > now)?;
        // All of them have to be known still, or it is no listing.
        let mut entries = Entries::default();
        for child in &listing.children {
            let node = self.node(*child)?;
            let (attributes, _) = node.fresh(now)?;
            attributes.mode?;
            entries.push(node.name(), attributes);
        }
        Some(entries)
    }

    /// Takes a node into the listing of its folder, where there is one.
    pub(super) fn join(&mut self, parent: u64, ino: u64) {
        let listing = self.listings.get_mut(&parent);
        let joined = listing.is_some_and(|listing| {
            if let Err(at) = listing.children.binary_search(&ino) {
                listing.children.insert(at, ino);
                self.listed += 1;
            }
            true
        });
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.listed = joined;
        }
    }

    /// Takes a node out of the listing of a folder.
    pub(super) fn part(&mut self, parent: u64, ino: u64) {
        if let Some(listing) = self.listings.get_mut(&parent)
            && let Ok(at) = listing.children.binary_search(&ino)
        {
            listing.children.remove(at);
            self.listed = self.listed.saturating_sub(1);
        }
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.listed = false;
        }
    }
}
