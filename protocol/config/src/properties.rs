//! Values of several files, merged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::error::{ConfigError, Origin, Warning};
use crate::lex::{BOM, Content, Segment, Template, lines, text};
use crate::limits::MAX_KEYS;

/// The entries of one or more sources, where a later source overrides an
/// earlier one. Every value knows the source and line it came from.
///
/// References (`${other.key}`) are followed when a value is asked for, so a
/// later file may change what an earlier file refers to.
#[derive(Clone, Default)]
pub struct Properties {
    entries: BTreeMap<String, Entry>,
    locked: BTreeSet<String>,
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

    /// Sets one key to a plain text, without references, that is in no file: an
    /// option of the command line or a variable of the environment.
    pub fn set(&mut self, key: &str, value: &str, by: &str) {
        let by: Arc<str> = by.into();
        let at = Origin::Given {
            by: Arc::clone(&by),
        };
        let value = Template(vec![Segment::Text(value.to_owned())]);
        self.insert(&by, key.to_owned(), Entry { value, at });
    }

    /// Keeps the keys of which `which` is true as they are set now, whatever
    /// later sources say: what an administrator decides for a machine.
    pub fn lock(&mut self, which: impl Fn(&str) -> bool) {
        let keys = self.entries.keys().filter(|key| which(key));
        self.locked.extend(keys.cloned());
    }

    /// Sets `key` to what `other` says, whatever said otherwise, and locks it.
    /// Nothing happens when `other` is not set or empty.
    pub fn force(&mut self, key: &str, other: &str) {
        let entry = self
            .entries
            .get(other)
            .filter(|entry| !entry.value.is_empty());
        if let Some(entry) = entry.cloned() {
            self.entries.insert(key.to_owned(), entry);
            self.locked.insert(key.to_owned());
        }
    }

    /// Whether later sources cannot change `key`.
    #[must_use]
    pub fn is_locked(&self, key: &str) -> bool {
        self.locked.contains(key)
    }

    fn insert(&mut self, file: &Arc<str>, key: String, entry: Entry) {
        let at = entry.at.clone();
        if let Some(old) = self.entries.get(&key)
            && self.locked.contains(&key)
        {
            // Who wants what is the case anyway is not refused anything.
            if old.value != entry.value {
                let earlier = old.at.clone();
                self.repeated.push(Warning::Locked { at, key, earlier });
            }
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientConfig, Program};

    const SYSTEM: &[u8] = b"client.force.host.name = only\nclient.link = lan\n";

    fn locked() -> Properties {
        let mut properties = Properties::from_sources([("sys", SYSTEM)]).unwrap();
        properties.lock(|key| key.starts_with("client.force."));
        properties
    }

    #[test]
    fn what_is_locked_stays_and_who_tried_is_told() {
        let mut properties = locked();
        let own = b"client.force.host.name = mine\nclient.link = wan\n";
        properties.add("own", own).unwrap();
        properties.set("client.force.host.name", "other", "-h");
        let warnings = properties.warnings(Program::Client);
        let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        let told = "client.force.host.name: ignored, the value set at sys:1 cannot be changed";
        assert_eq!(warnings, [format!("own:1: {told}"), format!("-h: {told}")]);
        let config = ClientConfig::from_properties(&properties).unwrap();
        assert_eq!(config.login.force_host.unwrap().as_str(), "only");
        assert_eq!(config.session.link.to_string(), "wan", "this is not locked");
    }

    #[test]
    fn what_is_given_is_plain_text_and_knows_by_whom() {
        let mut properties = locked();
        properties.set("client.user.name", "${client.link}", "QVDLOGIN");
        let config = ClientConfig::from_properties(&properties).unwrap();
        assert_eq!(config.login.user.as_deref(), Some("${client.link}"));
        let at = properties.origin("client.user.name").unwrap();
        assert_eq!(at.to_string(), "QVDLOGIN");
        properties.set("client.host.port", "many", "-p");
        let errors = ClientConfig::from_properties(&properties).unwrap_err();
        assert!(
            errors
                .first()
                .unwrap()
                .to_string()
                .starts_with("-p: client.host.port")
        );
    }

    #[test]
    fn what_is_forced_replaces_what_was_chosen() {
        let mut properties = locked();
        properties.force("client.host.name", "client.force.host.name");
        properties.force("client.link", "client.force.link");
        properties.set("client.host.name", "other", "-h");
        properties.set("client.host.name", "only", "QVDHOST");
        assert_eq!(properties.warnings(Program::Client).len(), 1);
        let config = ClientConfig::from_properties(&properties).unwrap();
        assert_eq!(config.login.host.unwrap().as_str(), "only");
        assert_eq!(config.session.link.to_string(), "lan", "nobody forces it");
        assert!(properties.is_locked("client.host.name"));
        assert!(!properties.is_locked("client.link"));
    }
}
