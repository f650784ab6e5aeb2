//! Which operations may be carried out at the same time.
//!
//! A client that sends requests without awaiting the answers counts on their
//! order: a file just made is there to be looked at, a write is seen by the
//! look at its size that follows. OpenSSH's server keeps the order by doing
//! one thing at a time. Here, an operation waits for those before it which it
//! could meet, and no others.

use std::collections::VecDeque;

use crate::{MAX_HANDLE, Request};

/// What an operation touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Looks at names or attributes by path.
    Look,
    /// Changes names or attributes by path.
    Change,
    /// Reads through a handle.
    Read(u64),
    /// Changes a file through a handle: seen by those who look at its path.
    Write(u64),
    /// Changes the handle itself, or nothing that others see.
    Handle(u64),
    /// Looks, and makes a handle which those after it may use at once.
    Opens(u64),
    /// Changes, and makes such a handle.
    Makes(u64),
    /// Touches two handles.
    Barrier,
}

impl Touch {
    pub(crate) fn of(request: &Request<'_>) -> Self {
        match request {
            Request::Open { flags, .. } if flags.changes() => Self::Change,
            Request::OpenAs { handle, flags, .. } if flags.changes() => Self::Makes(*handle),
            Request::OpenAs { handle, .. } | Request::OpendirAs { handle, .. } => {
                Self::Opens(*handle)
            }
            Request::Setstat { .. }
            | Request::Lsetstat { .. }
            | Request::Remove { .. }
            | Request::Mkdir { .. }
            | Request::Rmdir { .. }
            | Request::Rename { .. }
            | Request::PosixRename { .. }
            | Request::Symlink { .. }
            | Request::Hardlink { .. } => Self::Change,
            Request::Read { handle, .. }
            | Request::Fstat { handle }
            | Request::Fstatvfs { handle } => Self::Read(number(handle)),
            Request::Write { handle, .. } | Request::Fsetstat { handle, .. } => {
                Self::Write(number(handle))
            }
            Request::Close { handle } | Request::Readdir { handle } | Request::Fsync { handle } => {
                Self::Handle(number(handle))
            }
            Request::CopyData { .. } => Self::Barrier,
            _ => Self::Look,
        }
    }

    /// Whether this one has to wait for an earlier one.
    fn waits_for(self, earlier: Self) -> bool {
        match (self, earlier) {
            (Self::Barrier, _) | (_, Self::Barrier) => true,
            (
                Self::Read(own) | Self::Write(own) | Self::Handle(own),
                Self::Opens(made) | Self::Makes(made),
            ) if own == made => true,
            (own, Self::Opens(_)) => own.waits_for(Self::Look),
            (own, Self::Makes(_)) => own.waits_for(Self::Change),
            (Self::Opens(_), earlier) => Self::Look.waits_for(earlier),
            (Self::Makes(_), earlier) => Self::Change.waits_for(earlier),
            (Self::Look, earlier) => matches!(earlier, Self::Change | Self::Write(_)),
            (Self::Change, earlier) => {
                matches!(earlier, Self::Look | Self::Change | Self::Write(_))
            }
            // Two handles can be of one file: a write is waited for by
            // whatever reads or writes after it.
            (Self::Read(own), earlier) => match earlier {
                Self::Change | Self::Write(_) => true,
                Self::Handle(other) => own == other,
                _ => false,
            },
            (Self::Write(own), earlier) => match earlier {
                Self::Change | Self::Write(_) => true,
                Self::Read(other) | Self::Handle(other) => own == other,
                _ => false,
            },
            (Self::Handle(own), earlier) => match earlier {
                Self::Write(_) => true,
                Self::Read(other) | Self::Handle(other) => own == other,
                _ => false,
            },
        }
    }
}

/// A handle's number; one that is none of ours is like any other that is
/// none.
pub(crate) fn number(handle: &[u8]) -> u64 {
    debug_assert!(handle.len() <= MAX_HANDLE);
    handle
        .try_into()
        .map_or(u64::MAX, |bytes: [u8; 8]| u64::from_be_bytes(bytes))
}

#[derive(Debug)]
struct Entry {
    sequence: u64,
    touch: Touch,
    packet: Option<Vec<u8>>,
}

/// Operations in the order in which they were asked for, waiting or being
/// carried out.
#[derive(Debug, Default)]
pub(crate) struct Order {
    entries: VecDeque<Entry>,
    next: u64,
    waiting: usize,
    bytes: usize,
}

impl Order {
    /// Takes a request's packet and what it touches.
    pub(crate) fn push(&mut self, touch: Touch, packet: Vec<u8>) {
        self.bytes = self.bytes.saturating_add(packet.len());
        self.waiting += 1;
        self.entries.push_back(Entry {
            sequence: self.next,
            touch,
            packet: Some(packet),
        });
        self.next += 1;
    }

    /// The first that waits for nothing, with a number by which it is
    /// [`done`](Self::done).
    pub(crate) fn start(&mut self) -> Option<(u64, Vec<u8>)> {
        if self.waiting == 0 {
            return None;
        }
        let free = (0..self.entries.len()).find(|at| {
            let Some(entry) = self.entries.get(*at) else {
                return false;
            };
            let mut earlier = self.entries.iter().take(*at);
            entry.packet.is_some() && !earlier.any(|one| entry.touch.waits_for(one.touch))
        })?;
        let entry = self.entries.get_mut(free)?;
        let packet = entry.packet.take()?;
        self.waiting = self.waiting.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(packet.len());
        Some((entry.sequence, packet))
    }

    /// One was carried out.
    pub(crate) fn done(&mut self, sequence: u64) {
        if let Ok(at) = self
            .entries
            .binary_search_by_key(&sequence, |entry| entry.sequence)
        {
            self.entries.remove(at);
        }
    }

    /// How many wait or are being carried out.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether any waits.
    pub(crate) fn waits(&self) -> bool {
        self.waiting > 0
    }

    /// Bytes of those that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn touch() -> impl Strategy<Value = Touch> {
        prop_oneof![
            Just(Touch::Look),
            Just(Touch::Change),
            (0..3_u64).prop_map(Touch::Read),
            (0..3_u64).prop_map(Touch::Write),
            (0..3_u64).prop_map(Touch::Handle),
            (0..3_u64).prop_map(Touch::Opens),
            (0..3_u64).prop_map(Touch::Makes),
            Just(Touch::Barrier),
        ]
    }

    proptest! {
        /// However they are carried out, all are, and none that has to wait
        /// for another starts before that one is done.
        #[test]
        fn nothing_overtakes_what_it_waits_for(
            touches in proptest::collection::vec(touch(), 1..20),
            choices in proptest::collection::vec(any::<prop::sample::Index>(), 60),
        ) {
            let mut order = Order::default();
            for touch in &touches {
                order.push(*touch, vec![0]);
            }
            let mut running: Vec<u64> = Vec::new();
            let mut done: Vec<u64> = Vec::new();
            let mut choices = choices.iter().cycle();
            while done.len() < touches.len() {
                while let Some((sequence, _)) = order.start() {
                    let at = usize::try_from(sequence).unwrap();
                    for (earlier, other) in touches.iter().enumerate().take(at) {
                        if touches[at].waits_for(*other) {
                            prop_assert!(done.contains(&u64::try_from(earlier).unwrap()));
                        }
                    }
                    running.push(sequence);
                }
                prop_assert!(!running.is_empty(), "everything waits");
                let ended = running.remove(choices.next().unwrap().index(running.len()));
                order.done(ended);
                done.push(ended);
            }
            prop_assert_eq!((order.len(), order.bytes()), (0, 0));
        }
    }

    #[test]
    fn a_handle_is_used_when_it_is_made() {
        let mut order = Order::default();
        let own = [Touch::Opens(1), Touch::Read(1), Touch::Handle(1)];
        let other = [Touch::Read(2), Touch::Makes(3), Touch::Handle(3)];
        for touch in own.into_iter().chain(other) {
            order.push(touch, vec![0]);
        }
        let started = |order: &mut Order| -> Vec<u64> {
            std::iter::from_fn(|| order.start())
                .map(|(n, _)| n)
                .collect()
        };
        // Opening the third is a change, which waits for the look that opening
        // the first is.
        assert_eq!(started(&mut order), [0, 3]);
        order.done(0);
        assert_eq!(started(&mut order), [1, 4]);
        order.done(4);
        assert_eq!(started(&mut order), [5]);
        order.done(1);
        assert_eq!(started(&mut order), [2]);
    }

    #[test]
    fn reads_and_looks_go_together_and_writes_do_not() {
        let mut order = Order::default();
        for touch in [Touch::Read(1), Touch::Look, Touch::Read(1), Touch::Write(2)] {
            order.push(touch, vec![0]);
        }
        order.push(Touch::Read(3), vec![0]);
        order.push(Touch::Look, vec![0]);
        let started: Vec<_> = std::iter::from_fn(|| order.start())
            .map(|(n, _)| n)
            .collect();
        assert_eq!(started, [0, 1, 2, 3]);
        // Handles 2 and 3 may be of one file.
        order.done(3);
        assert_eq!(order.start().map(|(n, _)| n), Some(4));
        assert_eq!(order.start().map(|(n, _)| n), Some(5));
    }
}
