use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Makes of a peer's paths paths relative to the shared folder.
#[derive(Debug)]
pub(super) struct Places {
    /// Components of the path by which the peer knows the folder.
    announced: Vec<Vec<u8>>,
}

/// A path relative to the shared folder, without `.` and empty components.
/// `..` is still in it: the kernel keeps it beneath.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place(Vec<u8>);

impl Places {
    pub(super) fn new(announced: &[u8]) -> Self {
        Self {
            announced: components(announced).map(<[u8]>::to_vec).collect(),
        }
    }

    /// An absolute path which begins with the announced one is of the folder;
    /// any other is taken from the folder too, as if that were the root.
    pub(super) fn place(&self, path: &[u8]) -> Place {
        let mut rest: Vec<&[u8]> = components(path).collect();
        if path.starts_with(b"/") && !self.announced.is_empty() {
            let own = self.announced.iter().map(Vec::as_slice);
            if rest.len() >= self.announced.len()
                && own.eq(rest.iter().take(self.announced.len()).copied())
            {
                rest.drain(..self.announced.len());
            }
        }
        Place(rest.join(&b'/'))
    }
}

impl Place {
    /// For the kernel: the folder itself is `.`.
    pub(super) fn path(&self) -> &Path {
        if self.0.is_empty() {
            return Path::new(".");
        }
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The folder that holds it, and its name in it; `None` for the shared
    /// folder itself and for what ends with `..`.
    pub(super) fn split(&self) -> Option<(&Path, &Path)> {
        let cut = self.0.iter().rposition(|b| *b == b'/');
        let (parent, name) = match cut {
            Some(at) => (self.0.get(..at)?, self.0.get(at + 1..)?),
            None => (&b"."[..], self.0.as_slice()),
        };
        if name.is_empty() || name == b".." {
            return None;
        }
        Some((
            Path::new(OsStr::from_bytes(parent)),
            Path::new(OsStr::from_bytes(name)),
        ))
    }

    /// How deep in the folder its own folder is, as far as the text says.
    pub(super) fn depth(&self) -> usize {
        let mut depth = 0_usize;
        for part in components(&self.0) {
            if part == b".." {
                depth = depth.saturating_sub(1);
            } else {
                depth += 1;
            }
        }
        depth.saturating_sub(1)
    }

    /// Its path as the peer is told it: the shared folder is the root.
    pub(super) fn absolute(&self) -> Vec<u8> {
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in components(&self.0) {
            if part == b".." {
                parts.pop();
            } else {
                parts.push(part);
            }
        }
        [&b"/"[..], &parts.join(&b'/')].concat()
    }
}

/// Whether a link at that depth, with that target, can lead out of the
/// folder: absolute ones do, and those with more `..` than there are folders
/// above. A `..` after a name could climb from wherever a link of that name
/// leads to, so there is none.
pub(super) fn leads_out(depth: usize, target: &[u8]) -> bool {
    if target.starts_with(b"/") || target.is_empty() {
        return true;
    }
    let climbs = components(target).take_while(|part| *part == b"..").count();
    climbs > depth || components(target).skip(climbs).any(|part| part == b"..")
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|b| *b == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announced_path_and_any_other_are_of_the_folder() {
        let places = Places::new(b"//srv/docs/");
        let cases: [(&[u8], &str); 8] = [
            (b"/srv/docs/a/b", "a/b"),
            (b"/srv//docs", "."),
            (b"/srv/documents", "srv/documents"),
            (b"a/./b/", "a/b"),
            (b"", "."),
            (b"/", "."),
            (b"srv/docs", "srv/docs"),
            (b"../x", "../x"),
        ];
        for (path, place) in cases {
            assert_eq!(places.place(path).path(), Path::new(place), "{path:?}");
        }
    }

    #[test]
    fn a_place_has_a_folder_and_a_name() {
        let places = Places::new(b"");
        let place = places.place(b"a/b/c");
        assert_eq!(place.split(), Some((Path::new("a/b"), Path::new("c"))));
        assert_eq!(place.depth(), 2);
        assert_eq!(
            places.place(b"c").split(),
            Some((Path::new("."), Path::new("c")))
        );
        assert_eq!(places.place(b".").split(), None);
        assert_eq!(places.place(b"a/..").split(), None);
        assert_eq!(places.place(b"a/../../b").absolute(), b"/b");
        assert_eq!(places.place(b".").absolute(), b"/");
    }

    #[test]
    fn links_that_lead_out_are_known() {
        for (depth, target, out) in [
            (0, &b"a"[..], false),
            (0, b"../a", true),
            (1, b"../a", false),
            (2, b"../../a/b", false),
            (2, b"../a/../b", true),
            (5, b"/etc/passwd", true),
            (0, b"", true),
        ] {
            assert_eq!(leads_out(depth, target), out, "{depth} {target:?}");
        }
    }
}
