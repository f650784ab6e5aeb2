//! What happens to the bytes of one direction.

use std::num::NonZeroU32;
use std::time::Duration;

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Orderly: what was passed arrives, then the end of the stream.
    Fin,
    /// At once: TCP peers get a reset. Unix sockets know no reset; their peers
    /// see the end of the stream, and an error when something was unread.
    Reset,
}

/// Something that happens once, at a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The whole connection is cut.
    Cut(Cut),
    /// This direction stops, without being closed.
    Stall,
    /// The receiver of this direction is told that nothing more comes.
    HalfClose,
}

/// How bytes are cut into separate writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// As they come.
    #[default]
    Whole,
    /// Each byte alone.
    EveryByte,
    /// In pieces of 1 to `longest` bytes, the same ones for the same seed.
    Random {
        /// Where the sequence of lengths begins.
        seed: u64,
        /// Longest piece, in bytes.
        longest: NonZeroU32,
    },
    /// Before these bytes, counted from the start of the direction.
    At(Vec<u64>),
}

/// One byte to falsify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// Which byte, counted from the start of the direction.
    pub offset: u64,
    /// What it is combined with by exclusive or. 0 changes nothing.
    pub xor: u8,
}

/// The faults of one direction. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What happens after so many bytes of this direction have been passed on,
    /// exactly. Counted for each connection.
    pub at: Option<(u64, Fault)>,
    /// Whether nothing is read and written.
    pub stalled: bool,
    /// How writes are cut.
    pub split: Split,
    /// Time between two writes; with [`Split`], what makes it likely that the
    /// receiver reads the pieces one by one.
    pub gap: Duration,
    /// Time between receiving a byte and passing it on.
    pub latency: Duration,
    /// Bytes passed on in a second, if limited.
    pub bandwidth: Option<NonZeroU32>,
    /// Bytes to falsify.
    pub corrupt: Vec<Corruption>,
}

impl Rules {
    /// Length of the next write, at most `available`, when `passed` bytes of
    /// the direction have been written in `writes` writes.
    pub(super) fn piece(&self, passed: u64, writes: u64, available: usize) -> usize {
        let longest = match &self.split {
            Split::Whole => available,
            Split::EveryByte => 1,
            Split::Random { seed, longest } => {
                let value = mix(seed.wrapping_add(writes)) % u64::from(longest.get());
                usize::try_from(value).unwrap_or_default() + 1
            }
            Split::At(places) => {
                let next = places.iter().filter(|place| **place > passed).min();
                next.map_or(available, |next| distance(passed, *next))
            }
        };
        // Twenty writes a second are smooth enough for any bandwidth.
        let smooth = self.bandwidth.map_or(available, |bandwidth| {
            usize::try_from(bandwidth.get() / 20)
                .unwrap_or(usize::MAX)
                .max(1)
        });
        let allowed = self.at.map_or(available, |(at, _)| distance(passed, at));
        longest.min(available).min(smooth).min(allowed)
    }

    /// The fault which is due when `passed` bytes have been written.
    pub(super) fn due(&self, passed: u64) -> Option<Fault> {
        self.at
            .filter(|(at, _)| passed >= *at)
            .map(|(_, fault)| fault)
    }

    /// Falsifies what is to be falsified in `bytes`, which begin at `offset`.
    pub(super) fn falsify(&self, offset: u64, bytes: &mut [u8]) {
        for corruption in &self.corrupt {
            let place = corruption.offset.checked_sub(offset);
            let byte = place.and_then(|place| bytes.get_mut(usize::try_from(place).ok()?));
            if let Some(byte) = byte {
                *byte ^= corruption.xor;
            }
        }
    }

    /// How long the direction rests after a write of `length` bytes.
    pub(super) fn rest(&self, length: usize) -> Duration {
        let Some(bandwidth) = self.bandwidth else {
            return self.gap;
        };
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let transmission = Duration::from_secs(1).saturating_mul(length) / bandwidth.get();
        transmission.max(self.gap)
    }
}

fn distance(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}

/// The mixing step of the SplitMix64 generator: enough to cut anywhere.
fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(rules: &Rules, length: usize) -> Vec<usize> {
        let (mut passed, mut pieces) = (0, Vec::new());
        while passed < length {
            let piece = rules.piece(passed as u64, pieces.len() as u64, length - passed);
            assert!(piece > 0);
            pieces.push(piece);
            passed += piece;
        }
        pieces
    }

    #[test]
    fn splits() {
        let with = |split| Rules {
            split,
            ..Rules::default()
        };
        assert_eq!(pieces(&with(Split::Whole), 7), [7]);
        assert_eq!(pieces(&with(Split::EveryByte), 3), [1, 1, 1]);
        assert_eq!(pieces(&with(Split::At(vec![5, 0, 2])), 7), [2, 3, 2]);
        let longest = NonZeroU32::new(4).unwrap();
        let random = pieces(&with(Split::Random { seed: 3, longest }), 200);
        assert_eq!(
            random,
            pieces(&with(Split::Random { seed: 3, longest }), 200)
        );
        assert_ne!(
            random,
            pieces(&with(Split::Random { seed: 4, longest }), 200)
        );
        assert!((1..=4).all(|length| random.contains(&length)));
        assert!(random.iter().all(|length| *length <= 4));
    }

    #[test]
    fn a_fault_comes_exactly_at_its_byte() {
        let rules = Rules {
            at: Some((5, Fault::Stall)),
            ..Rules::default()
        };
        assert_eq!(rules.piece(0, 0, 100), 5);
        assert_eq!(rules.piece(3, 1, 100), 2);
        assert_eq!(rules.due(4), None);
        assert_eq!(rules.due(5), Some(Fault::Stall));
    }

    #[test]
    fn only_the_named_byte_is_falsified() {
        let corrupt = vec![Corruption {
            offset: 11,
            xor: 0xff,
        }];
        let rules = Rules {
            corrupt,
            ..Rules::default()
        };
        let mut bytes = [1, 2, 3];
        rules.falsify(10, &mut bytes);
        assert_eq!(bytes, [1, 0xfd, 3]);
        rules.falsify(12, &mut bytes);
        rules.falsify(0, &mut bytes);
        assert_eq!(bytes, [1, 0xfd, 3]);
    }

    #[test]
    fn bandwidth_is_a_time_for_each_write() {
        let bandwidth = NonZeroU32::new(1000);
        let rules = Rules {
            bandwidth,
            gap: Duration::from_millis(2),
            ..Rules::default()
        };
        assert_eq!(rules.rest(500), Duration::from_millis(500));
        assert_eq!(rules.rest(1), Duration::from_millis(2));
        assert_eq!(Rules::default().rest(1_000_000), Duration::ZERO);
    }
}
