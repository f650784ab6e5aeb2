//! What `check-config` and `--show-config` print.

use std::fmt;

use crate::error::{Origin, Warning};
use crate::expand;
use crate::key::{Key, Program, Status};
use crate::properties::Properties;
use crate::suggest;

/// A key with the value that counts and the place it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting {
    /// The key.
    pub key: String,
    /// Its value with references followed, or `(not shown)`.
    pub value: String,
    /// Where it was set.
    pub at: Origin,
}

impl fmt::Display for Setting {
    /// As a line of a properties file and, behind it, where it was set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} = {}  ({})",
            self.key,
            self.value.escape_debug(),
            self.at
        )
    }
}

impl Properties {
    /// What is odd about these entries for `program` and stops nothing, in the
    /// order of places.
    #[must_use]
    pub fn warnings(&self, program: Program) -> Vec<Warning> {
        let mut warnings: Vec<(&Origin, Warning)> = Vec::new();
        for (name, at) in self.keys() {
            let known = program.key(name);
            if let Some(warning) = self.judge(program, known, name, at) {
                warnings.push((at, warning));
            }
            if known.is_none_or(|key| !key.is_single())
                && let Err(error) = expand::value(self, program, name)
            {
                warnings.push((at, Warning::Expansion(error)));
            }
        }
        for warning in self.repeated() {
            if let Warning::Repeated { at, .. } | Warning::Locked { at, .. } = warning {
                warnings.push((at, warning.clone()));
            }
        }
        warnings.sort_by_key(|(at, _)| *at);
        warnings.into_iter().map(|(_, warning)| warning).collect()
    }

    fn judge(
        &self,
        program: Program,
        known: Option<&'static Key>,
        name: &str,
        at: &Origin,
    ) -> Option<Warning> {
        let (at, key) = (at.clone(), name.to_owned());
        match known.map(Key::status) {
            Some(Status::Supported | Status::Refused(_)) => None,
            Some(Status::Unused) => {
                // Setting what is the case anyway misleads nobody.
                let value = expand::value(self, program, name).ok().flatten();
                let default = known.map(Key::default);
                let same = value.is_some_and(|(value, _)| default == Some(value.as_str()));
                (!same).then_some(Warning::Unused { at, key })
            }
            None => match Program::ALL
                .into_iter()
                .find(|other| other.key(name).is_some())
            {
                Some(other) => Some(Warning::OtherProgram {
                    at,
                    key,
                    reader: other.name(),
                }),
                None => {
                    let nearest = suggest::nearest(program, name);
                    Some(Warning::UnknownKey { at, key, nearest })
                }
            },
        }
    }

    /// Every key of `program` with its value, in the order of its headings, then
    /// the keys it does not know. Values that cannot be expanded are left out:
    /// reading the configuration reports them.
    #[must_use]
    pub fn settings(&self, program: Program) -> Vec<Setting> {
        let mut settings = Vec::new();
        let mut push = |name: &str, secret: bool| {
            if let Ok(Some((value, at))) = expand::value(self, program, name) {
                let hide = secret && !value.is_empty();
                let value = if hide {
                    "(not shown)".to_owned()
                } else {
                    value
                };
                settings.push(Setting {
                    key: name.to_owned(),
                    value,
                    at,
                });
            }
        };
        for key in program.keys() {
            if key.is_single() {
                push(key.name(), key.is_secret());
            } else {
                let members = self.keys().filter(|(name, _)| key.matches(name));
                members.for_each(|(name, _)| push(name, key.is_secret()));
            }
        }
        for (name, _) in self.keys().filter(|(name, _)| program.key(name).is_none()) {
            // Another program's secret, or a misspelt one, may stand here.
            push(name, true);
        }
        settings
    }
}
