//! A properties file that is changed and written again.

use std::fmt;
use std::sync::Arc;

use crate::error::ConfigError;
use crate::lex::{BOM, Content, continues, escape_key, escape_value, lines, text};
use crate::limits::MAX_LINE;

/// A properties file as its author wrote it: comments, order, unknown keys and
/// line ends stay, and setting one key changes that key's line alone.
///
/// A program that stores a user's settings reads the file into this, calls
/// [`set`](Self::set) and replaces the file with [`render`](Self::render).
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    file: Arc<str>,
    bom: bool,
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Other(String),
    Entry {
        key: String,
        raw: String,
        value_at: usize,
    },
}

impl Piece {
    fn raw(&self) -> &str {
        match self {
            Self::Other(raw) | Self::Entry { raw, .. } => raw,
        }
    }

    fn is(&self, name: &str) -> bool {
        matches!(self, Self::Entry { key, .. } if key == name)
    }
}

impl Document {
    /// A document without a line.
    #[must_use]
    pub fn empty(file: &str) -> Self {
        Self {
            file: file.into(),
            bom: false,
            pieces: Vec::new(),
        }
    }

    /// Reads the bytes of a file; `file` names it in messages.
    ///
    /// # Errors
    ///
    /// Every fault of the file. A program that finds one leaves the file as it
    /// is and tells its user.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Vec<ConfigError>> {
        let file: Arc<str> = file.into();
        let whole = text(&file, bytes).map_err(|error| vec![error])?;
        let body = whole.strip_prefix(BOM);
        let bom = body.is_some();
        let (lines, errors) = lines(&file, body.unwrap_or(whole));
        if !errors.is_empty() {
            return Err(errors);
        }
        let pieces = lines.into_iter().map(|line| match line.content {
            Content::Other => Piece::Other(line.raw.to_owned()),
            Content::Entry { key, value_at, .. } => Piece::Entry {
                key,
                raw: line.raw.to_owned(),
                value_at,
            },
        });
        Ok(Self {
            file,
            bom,
            pieces: pieces.collect(),
        })
    }

    /// Whether a line sets `key`.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.pieces.iter().any(|piece| piece.is(key))
    }

    /// Sets `key` to exactly `value`: nothing in it is a reference or an escape.
    ///
    /// The line that counts, which is the last one of that key, gets the new
    /// value; a key that is not there is added at the end.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unwritable`] when the key is empty or key or value holds a
    /// NUL character or is too long for a line.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        let entry = format!("{} = {}", escape_key(key), escape_value(value));
        let why = if key.is_empty() {
            Some("has no key")
        } else if entry.contains('\0') {
            Some("holds a NUL character")
        } else if entry.len() > MAX_LINE / 2 {
            // Half, because the line may keep spaces of its own.
            Some("is too long for a line")
        } else {
            None
        };
        if let Some(why) = why {
            let (file, key) = (Arc::clone(&self.file), key.to_owned());
            return Err(ConfigError::Unwritable { file, key, why });
        }
        let end = self.line_end();
        let Some(piece) = self.pieces.iter_mut().rfind(|piece| piece.is(key)) else {
            self.end_last_line(end);
            self.pieces.push(new_entry(key, &entry, end));
            return Ok(());
        };
        if let Piece::Entry { raw, value_at, .. } = piece {
            let old_end = if raw.ends_with("\r\n") {
                "\r\n"
            } else if raw.ends_with('\n') {
                "\n"
            } else {
                ""
            };
            let head = raw.get(..*value_at).unwrap_or_default();
            // A head with an escape or continuation in it, and one that cannot
            // carry an empty value, are written anew.
            let keeps = !head.contains('\\')
                && head.len() < MAX_LINE / 4
                && (!value.is_empty() || head.trim_end().ends_with(['=', ':']));
            if keeps {
                *raw = format!("{head}{}{old_end}", escape_value(value));
            } else {
                *piece = new_entry(key, &entry, old_end);
            }
        }
        Ok(())
    }

    /// Removes every line that sets `key`, so that its default counts again.
    pub fn unset(&mut self, key: &str) {
        self.pieces.retain(|piece| !piece.is(key));
    }

    /// The text of the file.
    #[must_use]
    pub fn render(&self) -> String {
        let bom = if self.bom { "\u{feff}" } else { "" };
        std::iter::once(bom)
            .chain(self.pieces.iter().map(Piece::raw))
            .collect()
    }

    /// The line end this file uses.
    fn line_end(&self) -> &'static str {
        let crlf = self
            .pieces
            .first()
            .is_some_and(|piece| piece.raw().ends_with("\r\n"));
        if crlf { "\r\n" } else { "\n" }
    }

    /// Makes sure that a line can be added after the last one.
    fn end_last_line(&mut self, end: &str) {
        if let Some(Piece::Other(raw) | Piece::Entry { raw, .. }) = self.pieces.last_mut() {
            let continued = continues(raw);
            if !raw.ends_with('\n') {
                raw.push_str(end);
            }
            if continued {
                // An empty line, to be taken for the continuation instead.
                raw.push_str(end);
            }
        }
    }
}

impl fmt::Debug for Document {
    /// Without its text, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

fn new_entry(key: &str, entry: &str, end: &str) -> Piece {
    Piece::Entry {
        key: key.to_owned(),
        raw: format!("{entry}{end}"),
        value_at: escape_key(key).len() + " = ".len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse("client.conf", text.as_bytes()).unwrap()
    }

    fn set(text: &str, key: &str, value: &str) -> String {
        let mut document = document(text);
        document.set(key, value).unwrap();
        document.render()
    }

    #[test]
    fn setting_a_key_changes_its_value_alone() {
        let before = "# mine\r\n\r\n  client.link : adsl\r\nodd key\r\nclient.use_ssl=1";
        let after = "# mine\r\n\r\n  client.link : 56k\r\nodd key\r\nclient.use_ssl=1";
        assert_eq!(set(before, "client.link", "56k"), after);
    }

    #[test]
    fn a_new_key_goes_to_the_end() {
        assert_eq!(set("", "a", "1"), "a = 1\n");
        assert_eq!(set("b = 2", "a", "1"), "b = 2\na = 1\n");
        assert_eq!(set("b = 2\r\n", "a", "1"), "b = 2\r\na = 1\r\n");
    }

    #[test]
    fn a_line_added_after_a_dangling_continuation_is_not_part_of_it() {
        assert_eq!(set("b = 2\\", "a", "1"), "b = 2\\\n\na = 1\n");
        assert_eq!(set("# 2\\", "a", "1"), "# 2\\\na = 1\n");
        assert_eq!(set("b = 2\\\n", "a", "1"), "b = 2\\\n\na = 1\n");
    }

    #[test]
    fn the_last_of_repeated_keys_is_the_one_that_counts() {
        assert_eq!(set("a = 1\na = 2\n", "a", "3"), "a = 1\na = 3\n");
    }

    #[test]
    fn continued_values_become_one_line() {
        assert_eq!(set("a = 1 \\\n   2\nb=1\n", "a", "3"), "a = 3\nb=1\n");
        assert_eq!(set("a \\\n = 2\nb=1\n", "a", "3"), "a = 3\nb=1\n");
    }

    #[test]
    fn an_empty_value_keeps_a_separator() {
        assert_eq!(set("a 1\n", "a", ""), "a = \n");
        assert_eq!(set("a=1\n", "a", ""), "a=\n");
    }

    #[test]
    fn unset_removes_every_line_of_the_key() {
        let mut document = document("a = 1\n# a\na = 2\nb = 3\n");
        document.unset("a");
        assert_eq!(document.render(), "# a\nb = 3\n");
    }

    #[test]
    fn what_no_file_can_hold_is_refused() {
        let mut document = Document::empty("client.conf");
        assert_eq!(
            document.set("a", "x\0y").unwrap_err().to_string(),
            "client.conf: a: the value cannot be written: it holds a NUL character"
        );
        assert!(document.set("", "x").is_err());
        assert!(document.set("a", &"x".repeat(MAX_LINE)).is_err());
        assert_eq!(document.render(), "");
    }

    #[test]
    fn debug_output_shows_no_value() {
        let document = document("client.user.password = s3cret\n");
        assert!(!format!("{document:?}").contains("s3cret"));
    }
}
