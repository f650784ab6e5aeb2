use std::time::{Duration, Instant};

use qvd_sftp::{Attributes, Times};

use super::tree::LEASE;

/// What the kernel, or a listing, knows by number. There is one for each name
/// of every folder that was looked into: it is kept small.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) parent: u64,
    name: Name,
    known: Option<Seen>,
    used: Option<Box<Use>>,
    /// How often the kernel was told of it, less how often it forgot.
    pub(super) lookups: u32,
    /// Removed, or replaced: it has no path any more.
    pub(super) removed: bool,
    /// It is in the listing of its folder.
    pub(super) listed: bool,
}

/// A name, without memory of its own where it is short, as most are.
#[derive(Debug)]
enum Name {
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

const SHORT: usize = 22;

impl Name {
    fn new(name: &[u8]) -> Self {
        let mut short = [0; SHORT];
        match (short.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(room), Ok(length)) => {
                room.copy_from_slice(name);
                Self::Short(length, short)
            }
            _ => Self::Long(name.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        }
    }
}

/// Attributes in little room, and until when they hold.
#[derive(Debug, Clone, Copy)]
struct Seen {
    until: Instant,
    size: u64,
    owner: (u32, u32),
    mode: u32,
    times: Times,
    has_size: bool,
    has_owner: bool,
    has_mode: bool,
    has_times: bool,
}

impl Seen {
    fn new(seen: Attributes, until: Instant) -> Self {
        Self {
            until,
            size: seen.size.unwrap_or_default(),
            owner: seen.owner.unwrap_or_default(),
            mode: seen.mode.unwrap_or_default(),
            times: seen.times.unwrap_or_default(),
            has_size: seen.size.is_some(),
            has_owner: seen.owner.is_some(),
            has_mode: seen.mode.is_some(),
            has_times: seen.times.is_some(),
        }
    }

    fn attributes(&self) -> Attributes {
        Attributes {
            size: self.has_size.then_some(self.size),
            owner: self.has_owner.then_some(self.owner),
            mode: self.has_mode.then_some(self.mode),
            times: self.has_times.then_some(self.times),
        }
    }
}

/// What is known only of those that were opened, changed or looked into.
#[derive(Debug, Default)]
struct Use {
    /// Open files of it.
    handles: Vec<u64>,
    /// Size and time of what the kernel has in its pages.
    paged: Option<Paged>,
    /// How often a name was looked up in it that was not known, and since when.
    missed: Option<(u32, Instant)>,
    /// How often it was changed from here.
    changes: u64,
}

/// Size and time of modification, which tell one state of a file from another.
pub(super) type Paged = (Option<u64>, Option<u32>);

impl Node {
    pub(super) fn new(parent: u64, name: &[u8]) -> Self {
        Self {
            parent,
            name: Name::new(name),
            known: None,
            used: None,
            lookups: 0,
            removed: false,
            listed: false,
        }
    }

    pub(super) fn name(&self) -> &[u8] {
        self.name.bytes()
    }

    pub(super) fn rename(&mut self, parent: u64, name: &[u8]) {
        self.parent = parent;
        self.name = Name::new(name);
    }

    /// Whether nobody needs it any more.
    pub(super) fn is_needless(&self) -> bool {
        self.lookups == 0 && !self.listed && self.handles().is_empty()
    }

    fn used(&mut self) -> &mut Use {
        self.used.get_or_insert_default()
    }

    /// Open files of it.
    pub(super) fn handles(&self) -> &[u64] {
        self.used.as_ref().map_or(&[], |used| &used.handles)
    }

    pub(super) fn add_handle(&mut self, fh: u64) {
        self.used().handles.push(fh);
    }

    pub(super) fn remove_handle(&mut self, fh: u64) {
        if let Some(used) = &mut self.used {
            used.handles.retain(|one| *one != fh);
        }
    }

    /// The state of the file of which the kernel has pages.
    pub(super) fn paged(&self) -> Option<Paged> {
        self.used.as_ref()?.paged
    }

    pub(super) fn set_paged(&mut self, paged: Option<Paged>) {
        if paged.is_some() || self.used.is_some() {
            self.used().paged = paged;
        }
    }

    /// A name was looked up in it in vain: how often that was so lately.
    pub(super) fn missed(&mut self, now: Instant) -> u32 {
        let missed = &mut self.used().missed;
        let lately = missed.filter(|(_, since)| *since + LEASE > now);
        let (count, since) = lately.unwrap_or((0, now));
        *missed = Some((count.saturating_add(1), since));
        count.saturating_add(1)
    }

    /// What the peer says of it.
    pub(super) fn learn(&mut self, attributes: Attributes, now: Instant) {
        self.known = Some(Seen::new(attributes, now + LEASE));
    }

    /// It was changed from here.
    pub(super) fn change(&mut self, now: Instant, change: impl FnOnce(&mut Attributes)) {
        if let Some(seen) = &mut self.known {
            let mut attributes = seen.attributes();
            change(&mut attributes);
            *seen = Seen::new(attributes, now + LEASE);
            self.used().changes += 1;
        }
    }

    /// What is known changes, and holds no longer than before.
    pub(super) fn touch(&mut self, change: impl FnOnce(&mut Attributes)) {
        if let Some(seen) = &mut self.known {
            let mut attributes = seen.attributes();
            change(&mut attributes);
            *seen = Seen::new(attributes, seen.until);
        }
    }

    /// What is known is so no more.
    pub(super) fn expire(&mut self, now: Instant) {
        if let Some(seen) = &mut self.known {
            seen.until = now;
        }
    }

    /// How often it was changed from here.
    pub(super) fn changes(&self) -> u64 {
        self.used.as_ref().map_or(0, |used| used.changes)
    }

    /// Whether what is known of it was learnt after `time`.
    pub(super) fn is_newer(&self, time: Instant) -> bool {
        self.known.is_some_and(|seen| seen.until > time + LEASE)
    }

    /// What is known, for how long.
    pub(super) fn fresh(&self, now: Instant) -> Option<(Attributes, Duration)> {
        let seen = self.known?;
        let left = seen.until.saturating_duration_since(now);
        (!left.is_zero()).then(|| (seen.attributes(), left))
    }

    /// What was known last, fresh or not.
    pub(super) fn last_known(&self) -> Option<Attributes> {
        self.known.map(|seen| seen.attributes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_small_and_keeps_its_name() {
        assert!(size_of::<Node>() <= 112, "{}", size_of::<Node>());
        for length in [1, SHORT - 1, SHORT, SHORT + 1, 255] {
            let name = vec![0xe9; length];
            assert_eq!(Node::new(1, &name).name(), name);
        }
    }

    #[test]
    fn what_is_learnt_is_known_as_it_was() {
        let now = Instant::now();
        let all = Attributes {
            size: Some(u64::MAX),
            owner: Some((1, 2)),
            mode: Some(0o100_644),
            times: Some(Times {
                access: 3,
                modification: 4,
            }),
        };
        for attributes in [all, Attributes::NONE, Attributes::with_mode(7)] {
            let mut node = Node::new(1, b"n");
            node.learn(attributes, now);
            assert_eq!(node.fresh(now), Some((attributes, LEASE)));
            assert_eq!(node.fresh(now + LEASE), None);
            assert_eq!(node.last_known(), Some(attributes));
        }
    }
}
