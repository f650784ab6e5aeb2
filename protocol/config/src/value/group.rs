//! Keys that come in groups.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Field, Value};
use crate::key::Key;
use crate::read::Reader;

/// The values of `prefix.0`, `prefix.1` and so on, in the order of their
/// numbers. Numbers may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numbered<T>(Vec<T>);

impl<T> Numbered<T> {
    /// The values.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl<T: Value> Field for Numbered<T> {
    const SECRET: bool = T::SECRET;

    fn expected() -> Cow<'static, str> {
        T::expected()
    }

    fn accepts(text: &str) -> bool {
        text.is_empty() || T::parse(text).is_some()
    }

    fn read(reader: &mut Reader<'_>, key: &'static Key) -> Option<Self> {
        let members = reader.numbered::<Option<T>>(key)?;
        let members: BTreeMap<u32, Option<T>> = members.into_iter().collect();
        Some(Self(members.into_values().flatten().collect()))
    }
}
