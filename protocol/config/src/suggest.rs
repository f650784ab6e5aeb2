//! Finds the key that was meant.

use crate::key::{Key, Program};

/// The program's key that is spelt most like `name`, if one is near enough to
/// be what was meant: at most a fifth of its letters differ, where two always
/// may.
pub(crate) fn nearest(program: Program, name: &str) -> Option<&'static str> {
    let keys = program.keys().filter(|key| key.is_single()).map(Key::name);
    let allowed = |key: &str| (key.len() / 5).max(2);
    // A difference in length alone tells most keys, and every endless one, apart.
    let alike = keys.filter(|key| key.len().abs_diff(name.len()) <= allowed(key));
    let (distance, key) = alike.map(|key| (distance(key, name), key)).min()?;
    (distance <= allowed(key)).then_some(key)
}

/// How many letters must be inserted, removed or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        let mut next = vec![left];
        for (b, &above) in b.iter().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(a != *b))
                .min(above + 1)
                .min(left + 1);
            diagonal = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("vma.rpc.port", "vma.rpc.prot"), 2);
    }

    #[test]
    fn only_near_keys_are_suggested() {
        assert_eq!(nearest(Program::Vma, "vma.rpc.prot"), Some("vma.rpc.port"));
        assert_eq!(
            nearest(Program::Vma, "vma.on_action.preconnect"),
            Some("vma.on_action.pre-connect")
        );
        assert_eq!(nearest(Program::Vma, "database.host"), None);
        assert_eq!(nearest(Program::Vma, &"x".repeat(10_000)), None);
    }
}
