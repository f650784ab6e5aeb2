/// Most bytes of a directory's name on Linux.
pub const MAX_NAME: usize = 255;

/// What the reference calls a shared `/`.
pub const ROOT_NAME: &[u8] = b"Root";

/// The name of the directory on which the folder at `path` is mounted: its
/// last component, `Root` where there is none.
///
/// Whatever the peer sent, it is one component that stays in its directory
/// and does not hide: control characters become `_`, a name of dots is
/// `Root`, a leading dot becomes `_`, and it is cut to [`MAX_NAME`] bytes, at
/// a character's start where the name is UTF-8.
#[must_use]
pub fn mount_name(path: &[u8]) -> Vec<u8> {
    let last = path
        .split(|b| *b == b'/')
        .rfind(|part| !part.is_empty())
        .unwrap_or(ROOT_NAME);
    if last.iter().all(|b| *b == b'.') {
        return ROOT_NAME.to_vec();
    }
    let mut name: Vec<u8> = last
        .iter()
        .map(|b| if *b < 0x20 || *b == 0x7f { b'_' } else { *b })
        .collect();
    if let Some(first) = name.first_mut().filter(|b| **b == b'.') {
        *first = b'_';
    }
    let is_text = std::str::from_utf8(&name).is_ok();
    while name.len() > MAX_NAME || (is_text && std::str::from_utf8(&name).is_err()) {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_component_or_root() {
        let cases: [(&[u8], &[u8]); 9] = [
            (b"/srv/rig/sharesrc/docs", b"docs"),
            (b"/home/ann/docs/", b"docs"),
            (b"docs", b"docs"),
            (b"/", b"Root"),
            (b"", b"Root"),
            (b"/home/..", b"Root"),
            (b"/home/ann/.ssh", b"_ssh"),
            (b"/a/b\nc", b"b_c"),
            (b"/a/caf\xe9", b"caf\xe9"),
        ];
        for (path, name) in cases {
            assert_eq!(mount_name(path), name, "{path:?}");
        }
        let long = "ä".repeat(200);
        assert_eq!(mount_name(long.as_bytes()), "ä".repeat(127).as_bytes());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_one_safe_component(path in proptest::collection::vec(any::<u8>(), 0..600)) {
            let name = mount_name(&path);
            prop_assert!((1..=MAX_NAME).contains(&name.len()));
            prop_assert!(name.iter().all(|b| *b >= 0x20 && *b != b'/' && *b != 0x7f));
            prop_assert!(name.first() != Some(&b'.'));
        }
    }
}
