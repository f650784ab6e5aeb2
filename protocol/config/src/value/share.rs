//! The folders that a client shares.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Field, HomePath, Value, digits};
use crate::key::Key;
use crate::read::Reader;

/// What a key of a folder may be.
const MEMBERS: &str = "client.share.N.path, .name or .read_only, with a number for N";

/// Most bytes of a folder's name in the session.
const MAX_NAME: usize = 255;

/// A folder that a client shares: `client.share.N.…`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedFolder {
    /// N: what its keys have in common.
    pub number: u32,
    /// The folder, `client.share.N.path`.
    pub path: HomePath,
    /// Its name in the session, `client.share.N.name`; the path's last
    /// component where there is none.
    pub name: Option<String>,
    /// Whether nothing in it can be changed from the session,
    /// `client.share.N.read_only`.
    pub read_only: bool,
}

/// The folders of `client.share.N.…`, in the order of their numbers. Numbers
/// may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedFolders(Vec<SharedFolder>);

impl SharedFolder {
    /// Whether a folder can have this name in the session.
    #[must_use]
    pub fn takes_name(text: &str) -> bool {
        is_name(text)
    }
}

impl SharedFolders {
    /// The folders.
    #[must_use]
    pub fn as_slice(&self) -> &[SharedFolder] {
        &self.0
    }
}

/// A folder whose keys are being read.
#[derive(Default)]
struct Half {
    path: Option<HomePath>,
    name: Option<String>,
    read_only: bool,
}

impl Field for SharedFolders {
    const SECRET: bool = false;

    fn expected() -> Cow<'static, str> {
        "path, name and read_only of a folder".into()
    }

    fn accepts(_: &str) -> bool {
        true
    }

    fn read(reader: &mut Reader<'_>, key: &'static Key) -> Option<Self> {
        let prefix = key.name().trim_end_matches('*');
        let mut halves: BTreeMap<u32, Half> = BTreeMap::new();
        let mut right = true;
        for (suffix, text) in reader.texts(key) {
            let full = format!("{prefix}{suffix}");
            let (number, member) = suffix.split_once('.').unwrap_or((&suffix, ""));
            let Some(number) = digits(number).and_then(|number| number.parse().ok()) else {
                reader.invalid(&full, MEMBERS, &suffix);
                right = false;
                continue;
            };
            if text.is_empty() && ["", "path"].contains(&member) {
                continue;
            }
            let half = halves.entry(number).or_default();
            let (expected, fits) = match member {
                "path" => {
                    half.path = HomePath::parse(&text);
                    (<HomePath as Value>::expected(), half.path.is_some())
                }
                "name" => {
                    half.name = (!text.is_empty()).then(|| text.clone());
                    let expected = "a name without / and control characters, not hidden";
                    (expected.into(), text.is_empty() || is_name(&text))
                }
                "read_only" => {
                    let value = bool::parse(&text);
                    half.read_only = value.unwrap_or(true);
                    (<bool as Value>::expected(), value.is_some())
                }
                _ => (MEMBERS.into(), false),
            };
            if !fits {
                reader.invalid(&full, &expected, &text);
                right = false;
            }
        }
        let mut folders = Vec::new();
        for (number, half) in halves {
            match half.path {
                Some(path) => folders.push(SharedFolder {
                    number,
                    path,
                    name: half.name,
                    read_only: half.read_only,
                }),
                None if right => {
                    let set = ["name", "read_only"]
                        .map(|member| format!("{prefix}{number}.{member}"))
                        .into_iter()
                        .find(|full| reader.is_set(full))
                        .unwrap_or_default();
                    let expected = format!("{prefix}{number}.path beside it");
                    reader.invalid(&set, &expected, "none");
                    right = false;
                }
                None => {}
            }
        }
        right.then_some(Self(folders))
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && !text.starts_with('.')
        && !text.contains(|c: char| c == '/' || c.is_control())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{ClientConfig, Properties};

    fn read(text: &str) -> Result<ClientConfig, String> {
        let properties = Properties::from_sources([("client.conf", text.as_bytes())]).unwrap();
        ClientConfig::from_properties(&properties).map_err(|errors| errors[0].to_string())
    }

    #[test]
    fn folders_are_read_in_the_order_of_their_numbers() {
        let config = read(
            "client.share.10.path = /srv/papers\nclient.share.10.read_only = 1\n\
             client.share.2.path = ~/Documents\nclient.share.2.name = My documents\n",
        )
        .unwrap();
        let folders = config.share.folders.as_slice();
        let shown: Vec<_> = folders
            .iter()
            .map(|one| {
                let path = one.path.under(Path::new("/home/ann"));
                (
                    path.display().to_string(),
                    one.name.as_deref(),
                    one.read_only,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                (
                    "/home/ann/Documents".to_owned(),
                    Some("My documents"),
                    false
                ),
                ("/srv/papers".to_owned(), None, true),
            ]
        );
        assert!(read("").unwrap().share.folders.as_slice().is_empty());
    }

    #[test]
    fn what_is_no_folder_is_told_with_its_line() {
        for (text, word) in [
            ("client.share.1.name = docs", "client.share.1.path"),
            ("client.share.1.path = ~bob/x", "beneath ~/"),
            ("client.share.x.path = /a", "a number for N"),
            ("client.share.1 = /a", "client.share.N.path"),
            ("client.share.1.pth = /a", "client.share.N.path"),
            (
                "client.share.1.path = /a\nclient.share.1.read_only = maybe",
                "1, true",
            ),
            (
                "client.share.1.path = /a\nclient.share.1.name = a/b",
                "without /",
            ),
            (
                "client.share.1.path = /a\nclient.share.1.name = .ssh",
                "not hidden",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with("client.conf:"), "{error}");
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
