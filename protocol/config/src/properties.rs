//! Values of several files, merged.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::error::{ConfigError, Origin, Warning};
use crate::lex::{BOM, Content, Template, lines, text};
use crate::limits::MAX_KEYS;

/// The entries of one or more sources, where a later source overrides an
/// earlier one. Every value knows the source and line it came from.
///
/// References (`${other.key}`) are followed when a value is asked for, so a
/// later file may change what an earlier file refers to.
#[derive(Clone, Default)]
pub struct Properties {
    entries: BTreeMap<String, Entry>,
    repeated: Vec<Warning>,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) value: Template,
    pub(crate) at: Origin,
}

impl Properties {
    /// No entry: every key has its default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads sources in order, later ones overriding earlier ones. Each is a
    /// name for messages, usually the path, and the source's bytes.
    ///
    /// # Errors
    ///
    /// Every fault of every source.
    pub fn from_sources<'a>(
        sources: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut properties = Self::new();
        let mut errors = Vec::new();
        for (file, bytes) in sources {
            if let Err(more) = properties.add(file, bytes) {
                errors.extend(more);
            }
        }
        if errors.is_empty() {
            Ok(properties)
        } else {
            Err(errors)
        }
    }

    /// Reads one more source, whose entries override those there are.
    ///
    /// # Errors
    ///
    /// Every fault of the source. The lines without fault are taken all the
    /// same, so that a caller can go on and look for more faults.
    pub fn add(&mut self, file: &str, bytes: &[u8]) -> Result<(), Vec<ConfigError>> {
        let file: Arc<str> = file.into();
        let text = text(&file, bytes).map_err(|error| vec![error])?;
        let (lines, mut errors) = lines(&file, text.strip_prefix(BOM).unwrap_or(text));
        for line in lines {
            let Content::Entry { key, value, .. } = line.content else {
                continue;
            };
            if self.entries.len() >= MAX_KEYS && !self.entries.contains_key(&key) {
                errors.push(ConfigError::TooManyKeys {
                    at: line.at,
                    limit: MAX_KEYS,
                });
                break;
            }
            self.insert(&file, key, Entry { value, at: line.at });
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }

    fn insert(&mut self, file: &Arc<str>, key: String, entry: Entry) {
        let at = entry.at.clone();
        let Some(old) = self.entries.insert(key.clone(), entry) else {
            return;
        };
        // Compared by pointer: two sources of the same name are two sources.
        if matches!(&old.at, Origin::Line { file: same, .. } if Arc::ptr_eq(same, file)) {
            self.repeated.push(Warning::Repeated {
                at,
                key,
                earlier: old.at,
            });
        }
    }

    /// The keys that are set, in alphabetical order, with their places.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.entries
            .iter()
            .map(|(key, entry)| (key.as_str(), &entry.at))
    }

    /// Where `key` is set; nothing when it is not.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.entries.get(key).map(|entry| &entry.at)
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(crate) fn repeated(&self) -> &[Warning] {
        &self.repeated
    }
}

impl fmt::Debug for Properties {
    /// Keys and places; a value may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.keys().map(|(key, at)| (key, at.to_string())))
            .finish()
    }
}
