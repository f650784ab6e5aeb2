//! What can be wrong with a configuration, and where.

use std::fmt;
use std::sync::Arc;

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Nowhere: it is the key's default.
    Default,
    /// In a source, usually a file.
    Line {
        /// The name the caller gave the source.
        file: Arc<str>,
        /// The line the entry starts on, from 1.
        line: usize,
    },
    /// On the command line or in the environment.
    Given {
        /// The option or variable.
        by: Arc<str>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Line { file, line } => write!(f, "{file}:{line}"),
            Self::Given { by } => f.write_str(by),
        }
    }
}

/// One fault of a configuration.
///
/// The text of each is one sentence that starts with the place. A value of a
/// key that holds a secret never appears in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The source is larger than [`MAX_FILE`](crate::limits::MAX_FILE).
    #[error("{file}: the file is larger than {limit} bytes")]
    FileTooLarge {
        /// Name of the source.
        file: Arc<str>,
        /// The limit in bytes.
        limit: usize,
    },
    /// A byte sequence that is not UTF-8.
    #[error("{at}: the line is not valid UTF-8")]
    NotUtf8 {
        /// The line.
        at: Origin,
    },
    /// A NUL character, which no path, argument or variable can hold.
    #[error("{at}: the line holds a NUL character")]
    Nul {
        /// The line.
        at: Origin,
    },
    /// A logical line beyond [`MAX_LINE`](crate::limits::MAX_LINE).
    #[error("{at}: the line with its continuations is longer than {limit} bytes")]
    LineTooLong {
        /// The line.
        at: Origin,
        /// The limit in bytes.
        limit: usize,
    },
    /// More keys than [`MAX_KEYS`](crate::limits::MAX_KEYS).
    #[error("{at}: more than {limit} keys are set")]
    TooManyKeys {
        /// The line of the first key too many.
        at: Origin,
        /// The limit.
        limit: usize,
    },
    /// A line that begins with `=` or `:`.
    #[error("{at}: the key is missing before the `{separator}`")]
    NoKey {
        /// The line.
        at: Origin,
        /// The separator found first.
        separator: char,
    },
    /// A lone word.
    #[error("{at}: expected `key = value`, found only {}", quoted(found))]
    NoValue {
        /// The line.
        at: Origin,
        /// The word.
        found: String,
    },
    /// A `\u` that does not name a character.
    #[error("{at}: `\\u` needs four hexadecimal digits that name a character")]
    BadEscape {
        /// The line.
        at: Origin,
    },
    /// `${` without `}`.
    #[error("{at}: {}: `${{` is not closed by `}}`", shown(key))]
    UnclosedReference {
        /// The line.
        at: Origin,
        /// The key being set.
        key: String,
    },
    /// `${name}` where no key of that name is set or known.
    #[error(
        "{at}: {}: `${{{}}}` names a key that is not set",
        shown(key),
        shown(name)
    )]
    UnknownReference {
        /// The line holding the reference.
        at: Origin,
        /// The key whose value holds the reference.
        key: String,
        /// The key it names.
        name: String,
    },
    /// Values that refer to each other in a circle.
    #[error("{at}: {}: the value refers to itself: {}", shown(key), joined(chain))]
    ReferenceCycle {
        /// The line holding the reference that closes the circle.
        at: Origin,
        /// The key whose value holds that reference.
        key: String,
        /// The keys of the circle; first and last are the same.
        chain: Vec<String>,
    },
    /// References beyond [`MAX_DEPTH`](crate::limits::MAX_DEPTH),
    /// [`MAX_REFERENCES`](crate::limits::MAX_REFERENCES) or
    /// [`MAX_VALUE`](crate::limits::MAX_VALUE).
    #[error("{at}: {}: expanding `${{…}}` gives {excess}", shown(key))]
    TooMuchExpansion {
        /// The line of the value being expanded.
        at: Origin,
        /// Its key.
        key: String,
        /// Which limit was passed.
        excess: Excess,
    },
    /// A key that is on and needs another that is not set.
    #[error("{at}: {key}: needs {needed}, which is not set")]
    Missing {
        /// The line of the key that is on.
        at: Origin,
        /// The key that is on.
        key: &'static str,
        /// The key that is not set.
        needed: &'static str,
    },
    /// More faults than [`MAX_ERRORS`](crate::limits::MAX_ERRORS): the rest of
    /// the source was not read.
    #[error("{at}: more than {limit} faults, the rest of the file is not read")]
    TooManyErrors {
        /// The line of the first fault too many.
        at: Origin,
        /// The limit.
        limit: usize,
    },
    /// A value that is not of its key's type.
    #[error("{at}: {}: expected {expected}, found {found}", shown(key))]
    Invalid {
        /// The line.
        at: Origin,
        /// The key.
        key: String,
        /// What the key takes.
        expected: String,
        /// The value in backquotes and fit for a terminal, or words where it is
        /// empty or secret.
        found: String,
    },
    /// A value that no properties file can hold.
    #[error("{file}: {}: the value cannot be written: it {why}", shown(key))]
    Unwritable {
        /// Name of the document.
        file: Arc<str>,
        /// The key to be set.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A key that is known and will not be honoured.
    #[error("{at}: {}: refused: {reason}", shown(key))]
    Refused {
        /// The line.
        at: Origin,
        /// The key.
        key: String,
        /// Why.
        reason: &'static str,
    },
}

impl ConfigError {
    /// A code that stays the same when the sentence is reworded.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::FileTooLarge { .. } => "config.file-too-large",
            Self::NotUtf8 { .. } => "config.not-utf8",
            Self::Nul { .. } => "config.nul",
            Self::LineTooLong { .. } => "config.line-too-long",
            Self::TooManyKeys { .. } => "config.too-many-keys",
            Self::NoKey { .. } => "config.no-key",
            Self::NoValue { .. } => "config.no-value",
            Self::BadEscape { .. } => "config.bad-escape",
            Self::UnclosedReference { .. } => "config.unclosed-reference",
            Self::UnknownReference { .. } => "config.unknown-reference",
            Self::ReferenceCycle { .. } => "config.reference-cycle",
            Self::TooMuchExpansion { .. } => "config.too-much-expansion",
            Self::Missing { .. } => "config.missing",
            Self::TooManyErrors { .. } => "config.too-many-errors",
            Self::Invalid { .. } => "config.invalid",
            Self::Unwritable { .. } => "config.unwritable",
            Self::Refused { .. } => "config.refused",
        }
    }
}

impl ConfigError {
    /// The line to blame; nothing when the fault is a whole file's.
    #[must_use]
    pub fn at(&self) -> Option<&Origin> {
        match self {
            Self::FileTooLarge { .. } | Self::Unwritable { .. } => None,
            Self::NotUtf8 { at }
            | Self::Nul { at }
            | Self::LineTooLong { at, .. }
            | Self::TooManyKeys { at, .. }
            | Self::NoKey { at, .. }
            | Self::NoValue { at, .. }
            | Self::BadEscape { at }
            | Self::UnclosedReference { at, .. }
            | Self::UnknownReference { at, .. }
            | Self::ReferenceCycle { at, .. }
            | Self::TooMuchExpansion { at, .. }
            | Self::Missing { at, .. }
            | Self::TooManyErrors { at, .. }
            | Self::Invalid { at, .. }
            | Self::Refused { at, .. } => Some(at),
        }
    }
}

/// The limit an expansion passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// Too many references inside each other.
    Depth(usize),
    /// Too many references in all.
    References(usize),
    /// Too long a text.
    Length(usize),
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Depth(limit) => write!(f, "more than {limit} references inside each other"),
            Self::References(limit) => write!(f, "more than {limit} references"),
            Self::Length(limit) => write!(f, "more than {limit} bytes"),
        }
    }
}

/// Something in a configuration that stops nothing and is worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A key that no program of QVD reads.
    UnknownKey {
        /// The line.
        at: Origin,
        /// The key.
        key: String,
        /// A known key with nearly that name.
        nearest: Option<&'static str>,
    },
    /// A key that another program of QVD reads.
    OtherProgram {
        /// The line.
        at: Origin,
        /// The key.
        key: String,
        /// The name of the program that reads it.
        reader: &'static str,
    },
    /// A key of the reference that is accepted and changes nothing yet.
    Unused {
        /// The line.
        at: Origin,
        /// The key.
        key: String,
    },
    /// A key set twice in the same source: the later line counts.
    Repeated {
        /// The later line.
        at: Origin,
        /// The key.
        key: String,
        /// The earlier line.
        earlier: Origin,
    },
    /// A key that an earlier source has locked: the earlier value counts.
    Locked {
        /// The later line.
        at: Origin,
        /// The key.
        key: String,
        /// The line that counts.
        earlier: Origin,
    },
    /// A reference that cannot be followed, in a value nothing reads.
    Expansion(ConfigError),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey {
                at,
                key,
                nearest: Some(nearest),
            } => {
                write!(
                    f,
                    "{at}: {}: unknown key, did you mean {nearest}",
                    shown(key)
                )
            }
            Self::UnknownKey {
                at,
                key,
                nearest: None,
            } => write!(f, "{at}: {}: unknown key", shown(key)),
            Self::OtherProgram { at, key, reader } => {
                write!(f, "{at}: {}: only {reader} reads this key", shown(key))
            }
            Self::Unused { at, key } => {
                write!(
                    f,
                    "{at}: {}: the key is not supported yet, it has no effect",
                    shown(key)
                )
            }
            Self::Repeated { at, key, earlier } => {
                write!(
                    f,
                    "{at}: {}: replaces the value set at {earlier}",
                    shown(key)
                )
            }
            Self::Locked { at, key, earlier } => {
                write!(
                    f,
                    "{at}: {}: ignored, the value set at {earlier} cannot be changed",
                    shown(key)
                )
            }
            Self::Expansion(error) => error.fmt(f),
        }
    }
}

/// A text of a file for a message: on one line, without what moves a terminal's
/// cursor, and not too long.
fn shown(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// The same in backquotes, with a word for none.
pub(crate) fn quoted(text: &str) -> String {
    if text.is_empty() {
        "nothing".to_owned()
    } else {
        format!("`{}`", shown(text))
    }
}

fn joined(chain: &[String]) -> String {
    chain
        .iter()
        .map(|key| shown(key))
        .collect::<Vec<_>>()
        .join(" -> ")
}
