//! Names that are hard links to one file, as far as they were made from here:
//! what is written by one name is seen by the others.

use std::collections::HashMap;

/// Which numbers are of one file.
#[derive(Debug, Default)]
pub(super) struct Links {
    others: HashMap<u64, Vec<u64>>,
}

impl Links {
    /// One was made a link to the other.
    pub(super) fn join(&mut self, one: u64, other: u64) {
        let of = |links: &Self, ino| {
            let mut all = links.others(ino).to_vec();
            all.push(ino);
            all
        };
        let mut all = of(self, one);
        all.extend(of(self, other));
        all.sort_unstable();
        all.dedup();
        for ino in &all {
            let others = all.iter().copied().filter(|other| other != ino);
            self.others.insert(*ino, others.collect());
        }
    }

    /// The other names of a file.
    pub(super) fn others(&self, ino: u64) -> &[u64] {
        self.others.get(&ino).map_or(&[], Vec::as_slice)
    }

    /// A number is of nothing any more.
    pub(super) fn part(&mut self, ino: u64) {
        for other in self.others.remove(&ino).unwrap_or_default() {
            if let Some(others) = self.others.get_mut(&other) {
                others.retain(|one| *one != ino);
                if others.is_empty() {
                    self.others.remove(&other);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_of_a_file_know_each_other() {
        let mut links = Links::default();
        links.join(1, 2);
        links.join(3, 4);
        links.join(2, 3);
        links.join(2, 3);
        assert_eq!(links.others(1), [2, 3, 4]);
        assert_eq!(links.others(4), [1, 2, 3]);
        links.part(3);
        assert_eq!(links.others(4), [1, 2]);
        links.part(1);
        links.part(2);
        assert!(links.others(4).is_empty() && links.others.is_empty());
    }
}
