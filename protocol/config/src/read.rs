//! Reads every key of a program and collects all that is wrong.

use std::collections::BTreeMap;

use crate::error::{ConfigError, Origin, quoted};
use crate::expand;
use crate::key::{Key, Program, Status};
use crate::properties::Properties;
use crate::value::{Value, digits};

/// Declares a struct whose fields are keys: the type of a field, its key's
/// name, default, status and documentation stand once.
macro_rules! section {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(
                $field:ident: $type:ty = $key:literal $(also $alias:literal)?, $default:literal,
                    $status:expr, $doc:literal;
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        pub struct $name {
            $(
                #[doc = $doc]
                #[doc = ""]
                #[doc = concat!("Key `", $key, "`, by default `", $default, "`.")]
                pub $field: $type,
            )*
        }

        impl $name {
            pub(crate) const KEYS: &'static [$crate::key::Key] = &[
                $($crate::key::Key::of::<$type>($key, &[$($alias)?], $default, $status, $doc)),*
            ];

            /// Reads every key before it gives up on one.
            pub(crate) fn read(reader: &mut $crate::read::Reader<'_>) -> Option<Self> {
                $(
                    let $field = {
                        static KEY: $crate::key::Key = $crate::key::Key::of::<$type>(
                            $key, &[$($alias)?], $default, $status, $doc,
                        );
                        <$type as $crate::value::Field>::read(reader, &KEY)
                    };
                )*
                Some(Self { $($field: $field?),* })
            }
        }
    };
}
pub(crate) use section;

pub(crate) struct Reader<'a> {
    properties: &'a Properties,
    program: Program,
    errors: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    /// Starts reading; keys of the program that are refused are found here.
    pub(crate) fn new(properties: &'a Properties, program: Program) -> Self {
        let mut reader = Self {
            properties,
            program,
            errors: Vec::new(),
        };
        for key in program.keys() {
            if let Status::Refused(reason) = key.status() {
                reader.refuse(key, reason);
            }
        }
        reader
    }

    /// Reports that `key` is on and needs `needed`.
    pub(crate) fn missing(&mut self, key: &'static str, needed: &'static str) {
        let at = self
            .properties
            .origin(key)
            .cloned()
            .unwrap_or(Origin::Default);
        self.errors.push(ConfigError::Missing { at, key, needed });
    }

    /// Reports that a key of a group makes no sense.
    pub(crate) fn invalid(&mut self, key: &str, expected: &str, found: &str) {
        let at = self
            .properties
            .origin(key)
            .cloned()
            .unwrap_or(Origin::Default);
        self.errors.push(ConfigError::Invalid {
            at,
            key: key.to_owned(),
            expected: expected.to_owned(),
            found: quoted(found),
        });
    }

    /// The configuration if everything was right, else every error.
    pub(crate) fn finish<T>(mut self, config: Option<T>) -> Result<T, Vec<ConfigError>> {
        match config {
            Some(config) if self.errors.is_empty() => Ok(config),
            _ => {
                // A default is wrong only when it refers to a key that is set
                // wrong, and that is the one to report.
                let of_a_line = |error: &ConfigError| error.at() != Some(&Origin::Default);
                if self.errors.iter().any(of_a_line) {
                    self.errors.retain(of_a_line);
                }
                self.errors.sort_by(|a, b| a.at().cmp(&b.at()));
                // A value that several others refer to fails once for each.
                self.errors.dedup();
                Err(self.errors)
            }
        }
    }

    pub(crate) fn value<T: Value>(&mut self, key: &'static Key) -> Option<T> {
        let mut names = [key.name()]
            .into_iter()
            .chain(key.aliases().iter().copied());
        let name = names.find(|name| self.properties.entry(name).is_some());
        let name = name.unwrap_or(key.name());
        let (text, at) = self.text(name)?;
        self.parse(key, name, &text, at)
    }

    /// The set keys of a numbered group, each with its number.
    pub(crate) fn numbered<T: Value>(&mut self, key: &'static Key) -> Option<Vec<(u32, T)>> {
        let properties = self.properties;
        let mut members = Some(Vec::new());
        for (name, at) in properties.keys() {
            let Some(suffix) = key.suffix(name) else {
                continue;
            };
            let Some(number) = digits(suffix).and_then(|digits| digits.parse().ok()) else {
                self.errors.push(ConfigError::Invalid {
                    at: at.clone(),
                    key: name.to_owned(),
                    expected: format!("a number for the * of {}", key.name()),
                    found: quoted(suffix),
                });
                members = None;
                continue;
            };
            let value = self
                .text(name)
                .and_then(|(text, at)| self.parse(key, name, &text, at));
            match (value, &mut members) {
                (Some(value), Some(members)) => members.push((number, value)),
                _ => members = None,
            }
        }
        members
    }

    /// The set keys of a group with their texts, as far as these can be had.
    pub(crate) fn texts(&mut self, key: &'static Key) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for (full, _) in self.properties.keys() {
            if let Some(suffix) = key.suffix(full)
                && let Ok(Some((text, _))) = expand::value(self.properties, self.program, full)
            {
                texts.insert(suffix.to_owned(), text);
            }
        }
        texts
    }

    /// Whether a line sets `name`.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.properties.entry(name).is_some()
    }

    fn text(&mut self, name: &str) -> Option<(String, Origin)> {
        match expand::value(self.properties, self.program, name) {
            Ok(value) => value,
            Err(error) => {
                self.errors.push(error);
                None
            }
        }
    }

    fn parse<T: Value>(&mut self, key: &Key, name: &str, text: &str, at: Origin) -> Option<T> {
        let value = T::parse(text);
        if value.is_none() {
            self.errors.push(ConfigError::Invalid {
                at,
                key: name.to_owned(),
                expected: T::expected().into_owned(),
                found: if key.is_secret() {
                    "something else".to_owned()
                } else {
                    quoted(text)
                },
            });
        }
        value
    }

    fn refuse(&mut self, key: &'static Key, reason: &'static str) {
        let properties = self.properties;
        for (name, at) in properties.keys().filter(|(name, _)| key.matches(name)) {
            let Some((text, _)) = self.text(name) else {
                continue;
            };
            if text != key.default() {
                let (at, key) = (at.clone(), name.to_owned());
                self.errors.push(ConfigError::Refused { at, key, reason });
            }
        }
    }
}
