use std::time::{Duration, Instant};

use qvd_sftp::Attributes;

use super::tree::LEASE;

/// What the kernel, or a listing, knows by number. There is one for each name
/// of every folder that was looked into: it is kept small.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) parent: u64,
    pub(super) name: Box<[u8]>,
    known: Option<(Attributes, Instant)>,
    used: Option<Box<Use>>,
    /// How often the kernel was told of it, less how often it forgot.
    pub(super) lookups: u32,
    /// Removed, or replaced: it has no path any more.
    pub(super) removed: bool,
    /// It is in the listing of its folder.
    pub(super) listed: bool,
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
            name: name.into(),
            known: None,
            used: None,
            lookups: 0,
            removed: false,
            listed: false,
        }
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
        self.known = Some((attributes, now + LEASE));
    }

    /// It was changed from here.
    pub(super) fn change(&mut self, now: Instant, change: impl FnOnce(&mut Attributes)) {
        if let Some((attributes, until)) = &mut self.known {
            change(attributes);
            *until = now + LEASE;
            self.used().changes += 1;
        }
    }

    /// What is known changes, and holds no longer than before.
    pub(super) fn touch(&mut self, change: impl FnOnce(&mut Attributes)) {
        if let Some((attributes, _)) = &mut self.known {
            change(attributes);
        }
    }

    /// How often it was changed from here.
    pub(super) fn changes(&self) -> u64 {
        self.used.as_ref().map_or(0, |used| used.changes)
    }

    /// Whether what is known of it was learnt after `time`.
    pub(super) fn is_newer(&self, time: Instant) -> bool {
        self.known.is_some_and(|(_, until)| until > time + LEASE)
    }

    /// What is known, for how long.
    pub(super) fn fresh(&self, now: Instant) -> Option<(Attributes, Duration)> {
        let (attributes, until) = self.known?;
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then_some((attributes, left))
    }

    /// What was known last, fresh or not.
    pub(super) fn last_known(&self) -> Option<Attributes> {
        self.known.map(|(attributes, _)| attributes)
    }
}
