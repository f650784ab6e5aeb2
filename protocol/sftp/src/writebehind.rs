use crate::Failure;

/// The writes of one open file: sent without awaiting the answer to the one
/// before, small ones in a row joined while others are under way.
#[derive(Debug, Default)]
pub struct WriteBehind {
    /// What is not sent yet, and where it goes.
    tail: Vec<u8>,
    offset: u64,
    under_way: usize,
    failure: Option<Failure>,
}

impl WriteBehind {
    /// Takes a write; `send` is called for each piece that is to go now, of at
    /// most `most` bytes. The rest goes by a later call, the latest at
    /// [`flush`](Self::flush).
    pub fn write(
        &mut self,
        offset: u64,
        data: &[u8],
        most: usize,
        mut send: impl FnMut(u64, &[u8]),
    ) {
        if self.is_next(offset) && self.tail.len().saturating_add(data.len()) <= most {
            self.tail.extend_from_slice(data);
            if self.under_way == 0 || self.tail.len() >= most {
                self.flush(send);
            }
            return;
        }
        self.flush(&mut send);
        let small = data.len() < most / 2;
        if small && self.under_way > 0 {
            self.offset = offset;
            self.tail.extend_from_slice(data);
            return;
        }
        let mut at = offset;
        for piece in data.chunks(most.max(1)) {
            send(at, piece);
            self.under_way += 1;
            at = at.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
    }

    fn is_next(&self, offset: u64) -> bool {
        let length = u64::try_from(self.tail.len()).unwrap_or(u64::MAX);
        !self.tail.is_empty() && self.offset.checked_add(length) == Some(offset)
    }

    /// Sends what is not sent yet.
    pub fn flush(&mut self, mut send: impl FnMut(u64, &[u8])) {
        if !self.tail.is_empty() {
            send(self.offset, &self.tail);
            self.under_way += 1;
            self.tail.clear();
            self.tail.shrink_to(64 * 1024);
        }
    }

    /// A write, or another change that was not awaited, is sent beside these.
    pub fn also_sent(&mut self) {
        self.under_way += 1;
    }

    /// One was answered.
    pub fn answered(&mut self, outcome: Result<(), Failure>) {
        self.under_way = self.under_way.saturating_sub(1);
        if let Err(failure) = outcome {
            self.failure.get_or_insert(failure);
        }
    }

    /// Whether nothing is unsent or unanswered.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.under_way == 0 && self.tail.is_empty()
    }

    /// Whether everything that was sent is answered.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.under_way == 0
    }

    /// The first failure since the last call: to be told once, by the next
    /// call of a program that can.
    pub fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Status;

    proptest! {
        /// Whatever is written and whenever it is answered, what was sent in
        /// order makes the same file.
        #[test]
        fn what_is_sent_is_what_was_written(
            writes in proptest::collection::vec((0_u64..300, 1_usize..70, any::<u8>(), any::<bool>()), 1..40),
            most in 8_usize..64,
        ) {
            let mut file = vec![0_u8; 1000];
            let mut sent_file = file.clone();
            let mut behind = WriteBehind::default();
            let mut next = 0;
            for (offset, length, byte, sequential) in writes {
                let offset = if sequential { next } else { offset };
                let offset = offset.min(900);
                next = offset + u64::try_from(length).unwrap();
                let data = vec![byte; length];
                let at = usize::try_from(offset).unwrap();
                file[at..at + length].copy_from_slice(&data);
                let mut pieces = 0;
                behind.write(offset, &data, most, |at, piece| {
                    assert!(piece.len() <= most);
                    pieces += 1;
                    let at = usize::try_from(at).unwrap();
                    sent_file[at..at + piece.len()].copy_from_slice(piece);
                });
                if byte % 2 == 0 {
                    for _ in 0..pieces {
                        behind.answered(Ok(()));
                    }
                }
            }
            behind.flush(|at, piece| {
                let at = usize::try_from(at).unwrap();
                sent_file[at..at + piece.len()].copy_from_slice(piece);
            });
            prop_assert_eq!(file, sent_file);
        }
    }

    #[test]
    fn small_writes_are_joined_while_one_is_under_way() {
        let mut behind = WriteBehind::default();
        let mut sent = Vec::new();
        for at in 0..10 {
            behind.write(at * 10, &[1; 10], 1000, |at, piece| {
                sent.push((at, piece.len()));
            });
        }
        assert_eq!(sent, [(0, 10)]);
        behind.flush(|at, piece| sent.push((at, piece.len())));
        assert_eq!(sent, [(0, 10), (10, 90)]);
        behind.answered(Ok(()));
        behind.answered(Err(Status::Failure.into()));
        assert!(behind.is_clean());
        assert_eq!(behind.take_failure(), Some(Status::Failure.into()));
        assert_eq!(behind.take_failure(), None);
    }
}
