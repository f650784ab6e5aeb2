//! Splits a file's text into entries, comments and blank lines.
//!
//! The grammar is that of Java's properties files, which the reference uses:
//!
//! - an entry is `key = value`, `key : value` or `key value`. The manual writes
//!   the first everywhere and the last once
//!   (`client.slave.command "/path/to/custom/slave-command"`);
//! - `#` and `!` begin a comment, only as the first character of a line that is
//!   not a space;
//! - a backslash at the end of a line continues the entry on the next line,
//!   whose leading spaces do not count;
//! - `\t \n \r \f \uXXXX` are those characters, a backslash before any other
//!   character gives that character.
//!
//! Three things differ from Java, where its answer would hide a mistake: spaces
//! at the end of a value do not count (write `\ ` to have one), a lone word is
//! an error instead of a key with an empty value, and only a line feed ends a
//! line (with or without a carriage return before it).
//!
//! `${name}` in a value stands for another key's value; `\${` is the plain text.

use std::iter::Peekable;
use std::str::CharIndices;
use std::sync::Arc;

use crate::error::{ConfigError, Origin};
use crate::limits::{MAX_ERRORS, MAX_FILE, MAX_LINE};

/// The byte order mark some editors put before UTF-8 text.
pub(crate) const BOM: char = '\u{feff}';

/// The text of a source, once its size and encoding are known to be right.
///
/// The byte order mark is still in it, for those who write the file again.
pub(crate) fn text<'a>(file: &Arc<str>, bytes: &'a [u8]) -> Result<&'a str, ConfigError> {
    if bytes.len() > MAX_FILE {
        return Err(ConfigError::FileTooLarge {
            file: Arc::clone(file),
            limit: MAX_FILE,
        });
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
        ConfigError::NotUtf8 {
            at: Origin::Line {
                file: Arc::clone(file),
                line,
            },
        }
    })
}

/// One logical line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Its text as it stands in the file, with line ends and continuations.
    pub(crate) raw: &'a str,
    /// The line it starts on.
    pub(crate) at: Origin,
    /// What it says.
    pub(crate) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// A comment or nothing.
    Other,
    Entry {
        key: String,
        /// Where in `raw` the value begins.
        value_at: usize,
        value: Template,
    },
}

/// A value whose references are not yet followed.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Template(pub(crate) Vec<Segment>);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Text(String),
    Reference(String),
}

impl Template {
    pub(crate) fn is_empty(&self) -> bool {
        let empty = |segment: &Segment| matches!(segment, Segment::Text(text) if text.is_empty());
        self.0.iter().all(empty)
    }
}

impl std::fmt::Debug for Template {
    /// Without its text: nobody knows here whether it is a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Template(…)")
    }
}

/// Reads a text, without byte order mark, line by line. A line with a fault is
/// left out and the next one read, so that one call finds every fault.
pub(crate) fn lines<'a>(file: &Arc<str>, text: &'a str) -> (Vec<Line<'a>>, Vec<ConfigError>) {
    let mut lines = Vec::new();
    let mut errors = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let at = Origin::Line {
            file: Arc::clone(file),
            line,
        };
        let (raw, after) = rest
            .split_at_checked(logical_end(rest))
            .unwrap_or((rest, ""));
        rest = after;
        line += raw.bytes().filter(|&byte| byte == b'\n').count();
        match content(raw, &at) {
            Ok(content) => lines.push(Line { raw, at, content }),
            Err(_) if errors.len() == MAX_ERRORS => {
                errors.push(ConfigError::TooManyErrors {
                    at,
                    limit: MAX_ERRORS,
                });
                break;
            }
            Err(error) => errors.push(error),
        }
    }
    (lines, errors)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}' | '\r')
}

fn is_remark(line: &str) -> bool {
    let line = line.trim_start_matches(is_space);
    line.is_empty() || line.starts_with(['#', '!', '\n'])
}

/// Whether a physical line, which is no remark, ends in a continuation.
fn is_continued(physical: &str) -> bool {
    let bare = physical.strip_suffix('\n').unwrap_or(physical);
    let bare = bare.strip_suffix('\r').unwrap_or(bare);
    bare.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// Whether a logical line ends in a continuation, as the last one may.
pub(crate) fn continues(raw: &str) -> bool {
    !is_remark(raw) && is_continued(raw)
}

/// Where the logical line at the start of `text` ends, after its line feed.
fn logical_end(text: &str) -> usize {
    let mut end = 0;
    for physical in text.split_inclusive('\n') {
        let remark = end == 0 && is_remark(physical);
        end += physical.len();
        if remark || !is_continued(physical) {
            break;
        }
    }
    end
}

fn content(raw: &str, at: &Origin) -> Result<Content, ConfigError> {
    if is_remark(raw) {
        return Ok(Content::Other);
    }
    if raw.len() > MAX_LINE {
        return Err(ConfigError::LineTooLong {
            at: at.clone(),
            limit: MAX_LINE,
        });
    }
    let chars = unescape(raw, at)?;
    let mut chars = chars.into_iter().peekable();
    while chars.next_if(Char::is_space).is_some() {}
    if chars.peek().is_none() {
        return Ok(Content::Other);
    }

    let mut key = String::new();
    while let Some(c) = chars.next_if(|c| !c.is_space() && !c.is_separator()) {
        key.push(c.char);
    }
    let mut separated = false;
    while chars.next_if(Char::is_space).is_some() {
        separated = true;
    }
    if let Some(separator) = chars.next_if(Char::is_separator) {
        if key.is_empty() {
            return Err(ConfigError::NoKey {
                at: at.clone(),
                separator: separator.char,
            });
        }
        separated = true;
        while chars.next_if(Char::is_space).is_some() {}
    } else if chars.peek().is_none() {
        separated = false;
    }
    if !separated {
        return Err(ConfigError::NoValue {
            at: at.clone(),
            found: key,
        });
    }
    let value_at = chars.peek().map_or_else(|| raw.trim_end().len(), |c| c.at);
    let mut value: Vec<Char> = chars.collect();
    while value.last().is_some_and(Char::is_space) {
        value.pop();
    }
    let value = template(&value, &key, at)?;
    Ok(Content::Entry {
        key,
        value_at,
        value,
    })
}

/// A character of a logical line.
#[derive(Clone, Copy)]
struct Char {
    char: char,
    /// Where it stands in the raw text.
    at: usize,
    /// Written with a backslash: never a separator, space or reference.
    escaped: bool,
}

impl Char {
    fn is_space(&self) -> bool {
        !self.escaped && is_space(self.char)
    }

    fn is_separator(&self) -> bool {
        self.is('=') || self.is(':')
    }

    fn is(&self, c: char) -> bool {
        !self.escaped && self.char == c
    }
}

/// Resolves continuations and escapes, and drops the final line end.
fn unescape(raw: &str, at: &Origin) -> Result<Vec<Char>, ConfigError> {
    let mut out = Vec::with_capacity(raw.len());
    let mut chars = raw.char_indices().peekable();
    while let Some((index, c)) = chars.next() {
        match c {
            '\0' => return Err(ConfigError::Nul { at: at.clone() }),
            '\n' => break,
            '\\' => {
                let escaped = match chars.next() {
                    None => break,
                    Some((_, '\r')) if chars.next_if(|&(_, c)| c == '\n').is_some() => None,
                    Some((_, '\n')) => None,
                    Some((_, 't')) => Some('\t'),
                    Some((_, 'n')) => Some('\n'),
                    Some((_, 'r')) => Some('\r'),
                    Some((_, 'f')) => Some('\u{c}'),
                    Some((_, 'u')) => Some(unicode(&mut chars, at)?),
                    Some((_, c)) => Some(c),
                };
                match escaped {
                    Some('\0') => return Err(ConfigError::Nul { at: at.clone() }),
                    Some(char) => out.push(Char {
                        char,
                        at: index,
                        escaped: true,
                    }),
                    None => while chars.next_if(|&(_, c)| is_space(c)).is_some() {},
                }
            }
            char => out.push(Char {
                char,
                at: index,
                escaped: false,
            }),
        }
    }
    Ok(out)
}

/// The character of a `\u` whose two letters were read. A pair of surrogates
/// (`\ud83d\ude00`) is one character, since Java writes such files.
fn unicode(chars: &mut Peekable<CharIndices<'_>>, at: &Origin) -> Result<char, ConfigError> {
    let bad = || ConfigError::BadEscape { at: at.clone() };
    let mut units = vec![unit(chars).ok_or_else(bad)?];
    if matches!(units.first(), Some(0xd800..=0xdbff)) {
        chars.next_if(|&(_, c)| c == '\\').ok_or_else(bad)?;
        chars.next_if(|&(_, c)| c == 'u').ok_or_else(bad)?;
        units.push(unit(chars).ok_or_else(bad)?);
    }
    match char::decode_utf16(units).next() {
        Some(Ok(c)) => Ok(c),
        _ => Err(bad()),
    }
}

/// Four hexadecimal digits.
fn unit(chars: &mut Peekable<CharIndices<'_>>) -> Option<u16> {
    (0..4).try_fold(0_u16, |sum, _| {
        let (_, c) = chars.next_if(|(_, c)| c.is_ascii_hexdigit())?;
        Some(sum << 4 | u16::try_from(c.to_digit(16)?).ok()?)
    })
}

fn template(value: &[Char], key: &str, at: &Origin) -> Result<Template, ConfigError> {
    let mut segments = Vec::new();
    let mut text = String::new();
    let mut chars = value.iter().peekable();
    while let Some(c) = chars.next() {
        if !(c.is('$') && chars.next_if(|c| c.is('{')).is_some()) {
            text.push(c.char);
            continue;
        }
        let mut name = String::new();
        loop {
            match chars.next() {
                Some(c) if c.is('}') => break,
                Some(c) => name.push(c.char),
                None => {
                    let key = key.to_owned();
                    return Err(ConfigError::UnclosedReference {
                        at: at.clone(),
                        key,
                    });
                }
            }
        }
        if !text.is_empty() {
            segments.push(Segment::Text(std::mem::take(&mut text)));
        }
        segments.push(Segment::Reference(name));
    }
    if !text.is_empty() {
        segments.push(Segment::Text(text));
    }
    Ok(Template(segments))
}

/// Writes a key so that it reads back as it is.
pub(crate) fn escape_key(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for (index, c) in key.chars().enumerate() {
        match c {
            '=' | ':' | '\\' => out.extend(['\\', c]),
            '#' | '!' if index == 0 => out.extend(['\\', c]),
            BOM => out.push_str("\\ufeff"),
            c if is_space(c) || c == '\n' => push_space(&mut out, c),
            c => out.push(c),
        }
    }
    out
}

/// Writes a value so that it reads back as it is; `${` in it stays plain text.
pub(crate) fn escape_value(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars().enumerate().peekable();
    // A first `=` or `:` would be taken for the separator of `key = value`
    // only when the separator is a space, which a rewritten line may have.
    while let Some((index, c)) = chars.next() {
        let edge = index == 0 || chars.peek().is_none();
        match c {
            '\\' => out.push_str("\\\\"),
            '=' | ':' if index == 0 => out.extend(['\\', c]),
            '$' if matches!(chars.peek(), Some((_, '{'))) => out.push_str("\\$"),
            '\t' | '\n' | '\r' | '\u{c}' => push_space(&mut out, c),
            ' ' if edge => push_space(&mut out, c),
            c => out.push(c),
        }
    }
    out
}

fn push_space(out: &mut String, c: char) {
    out.push('\\');
    out.push(match c {
        '\t' => 't',
        '\n' => 'n',
        '\r' => 'r',
        '\u{c}' => 'f',
        c => c,
    });
}
