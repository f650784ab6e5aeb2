//! What is known about a key.

use std::borrow::Cow;

use crate::value::Field;

/// A program that reads a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Program {
    /// The agent in the virtual machine, `qvd-vma`.
    Vma,
    /// The programs on the user's machine, `qvdclient` first of them.
    Client,
    /// The broker, `qvd-server`.
    Server,
}

impl Program {
    /// Every program.
    pub const ALL: [Self; 3] = [Self::Vma, Self::Client, Self::Server];

    /// The name of its executable.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vma => "qvd-vma",
            Self::Client => "qvdclient",
            Self::Server => "qvd-server",
        }
    }

    /// Where its configuration lies. The client reads `~/.qvd/client.conf`
    /// after this one.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Vma => "/etc/qvd/vma.conf",
            Self::Client => "/etc/qvd/client.conf",
            Self::Server => "/etc/qvd/l7r.conf",
        }
    }

    /// Its keys under the headings of its configuration file and manual page.
    #[must_use]
    pub fn sections(self) -> &'static [Section] {
        match self {
            Self::Vma => crate::vma::SECTIONS,
            Self::Client => crate::client::SECTIONS,
            Self::Server => crate::server::SECTIONS,
        }
    }

    /// Its keys, in the order of the headings.
    pub fn keys(self) -> impl Iterator<Item = &'static Key> {
        self.sections().iter().flat_map(|section| section.keys)
    }

    /// The key that `name` is, or is one of (`client.auth_env_share.list.0`).
    #[must_use]
    pub fn key(self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.matches(name))
    }
}

/// Keys of one subject.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// The keys, never none.
    pub keys: &'static [Key],
}

/// Whether setting a key has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It has.
    Supported,
    /// Its value is checked, and nothing reads it yet.
    Unused,
    /// Setting it to anything but its default is an error, since ignoring it
    /// would do something else than what was asked for. Holds the reason.
    Refused(&'static str),
}

/// One key a program reads: the single source of its name, default, type and
/// documentation.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    name: &'static str,
    aliases: &'static [&'static str],
    default: &'static str,
    status: Status,
    doc: &'static str,
    secret: bool,
    expected: fn() -> Cow<'static, str>,
    accepts: fn(&str) -> bool,
}

impl Key {
    pub(crate) const fn of<T: Field>(
        name: &'static str,
        aliases: &'static [&'static str],
        default: &'static str,
        status: Status,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            aliases,
            default,
            status,
            doc,
            secret: T::SECRET,
            expected: T::expected,
            accepts: T::accepts,
        }
    }

    /// Its name. A name that ends in `.*` stands for every key that begins so.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Other names with the same meaning.
    #[must_use]
    pub const fn aliases(&self) -> &'static [&'static str] {
        self.aliases
    }

    /// Its default, written as in a file: it may hold `${other.key}`.
    #[must_use]
    pub const fn default(&self) -> &'static str {
        self.default
    }

    /// What setting it does.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// What it is for, in a sentence or two.
    #[must_use]
    pub const fn doc(&self) -> &'static str {
        self.doc
    }

    /// What a value must be, to follow the word "expected".
    #[must_use]
    pub fn expected(&self) -> Cow<'static, str> {
        (self.expected)()
    }

    /// Whether a value, with its references followed, is of the key's type.
    #[must_use]
    pub fn accepts(&self, value: &str) -> bool {
        (self.accepts)(value)
    }

    /// Whether its value must not be shown or logged.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        self.secret
    }

    /// Whether it is one key and not a group (`log4perl.*`).
    #[must_use]
    pub fn is_single(&self) -> bool {
        !self.name.ends_with(".*")
    }

    /// Whether `name` is this key, one of its other names, or of its group.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.suffix(name).is_some()
    }

    /// What follows the group's prefix in `name`; empty for a single key.
    pub(crate) fn suffix<'n>(&self, name: &'n str) -> Option<&'n str> {
        std::iter::once(&self.name)
            .chain(self.aliases)
            .find_map(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => name.strip_prefix(prefix).filter(|rest| !rest.is_empty()),
                None => (name == *pattern).then_some(""),
            })
    }
}
