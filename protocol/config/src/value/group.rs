//! Keys that come in groups.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Field, LogLevel, Value};
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

/// The `log4perl.*` keys, with which the manual sends the log to syslog.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log4perl(BTreeMap<String, String>);

impl Log4perl {
    /// Names, without `log4perl.`, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether an appender of the root logger writes to syslog, as the manual's
    /// `log4perl.appender.SYSLOG = Log::Dispatch::Syslog` does.
    #[must_use]
    pub fn syslog(&self) -> bool {
        self.root().skip(1).any(|appender| {
            let class = self.0.get(&format!("appender.{appender}"));
            class.is_some_and(|class| class.rsplit("::").next() == Some("Syslog"))
        })
    }

    /// The level of the root logger, if there is one.
    #[must_use]
    pub fn level(&self) -> Option<LogLevel> {
        LogLevel::parse(self.root().next()?)
    }

    /// `log4perl.rootLogger = LEVEL, APPENDER, …`
    fn root(&self) -> impl Iterator<Item = &str> {
        let root = self
            .0
            .get("rootLogger")
            .or_else(|| self.0.get("rootCategory"));
        root.into_iter()
            .flat_map(|root| root.split(','))
            .map(str::trim)
    }
}

impl Field for Log4perl {
    const SECRET: bool = false;

    fn expected() -> Cow<'static, str> {
        "text".into()
    }

    fn accepts(_: &str) -> bool {
        true
    }

    /// A value whose references cannot be followed is left out: Log4perl has
    /// variables of its own, written the same way.
    fn read(reader: &mut Reader<'_>, key: &'static Key) -> Option<Self> {
        Some(Self(reader.texts(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log4perl(entries: &[(&str, &str)]) -> Log4perl {
        Log4perl(
            entries
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn the_syslog_appender_counts_when_the_root_logger_uses_it() {
        let appender = ("appender.SYSLOG", "Log::Dispatch::Syslog");
        let used = log4perl(&[appender, ("rootLogger", "DEBUG, SYSLOG")]);
        assert!(used.syslog());
        assert_eq!(used.level(), Some(LogLevel::Debug));
        assert!(!log4perl(&[appender, ("rootLogger", "DEBUG, LOGFILE")]).syslog());
        assert!(!log4perl(&[appender]).syslog());
        assert_eq!(log4perl(&[appender]).level(), None);
    }
}
