use std::borrow::Cow;

use crate::{Error, MAX_HEAD};

/// Received bytes that are not consumed yet, and how far the end of the head
/// has been looked for: each byte is looked at once, however it is dripped.
#[derive(Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    scanned: usize,
}

impl Input {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes up to `most` bytes from the front.
    pub(crate) fn take(&mut self, most: usize) -> Vec<u8> {
        let n = most.min(self.bytes.len());
        let rest = self.bytes.split_off(n);
        self.scanned = 0;
        std::mem::replace(&mut self.bytes, rest)
    }

    /// Takes a whole head, unfolded, with the empty line that ends it.
    pub(crate) fn take_head(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.skip_empty_lines();
        let Some(end) = self.head_end() else {
            if self.bytes.len() > MAX_HEAD {
                return Err(Error::HeadTooLarge { limit: MAX_HEAD });
            }
            return Ok(None);
        };
        if end > MAX_HEAD {
            return Err(Error::HeadTooLarge { limit: MAX_HEAD });
        }
        let head = self.take(end);
        Ok(Some(match unfold(&head) {
            Cow::Borrowed(_) => head,
            Cow::Owned(unfolded) => unfolded,
        }))
    }

    /// Some clients send an empty line after a body; it belongs to no message.
    fn skip_empty_lines(&mut self) {
        if self.scanned > 0 {
            return;
        }
        let n = self
            .bytes
            .iter()
            .take_while(|b| **b == b'\r' || **b == b'\n')
            .count();
        if n > 0 {
            self.bytes.drain(..n);
        }
    }

    /// The position after the empty line; both `\r\n` and `\n` end a line.
    fn head_end(&mut self) -> Option<usize> {
        // An end may straddle what was looked at before.
        let from = self.scanned.saturating_sub(2);
        let fresh = self.bytes.get(from..).unwrap_or_default();
        for newline in memchr::memchr_iter(b'\n', fresh) {
            let end = match fresh.get(newline + 1..) {
                Some([b'\n', ..]) => newline + 2,
                Some([b'\r', b'\n', ..]) => newline + 3,
                _ => continue,
            };
            return Some(from + end);
        }
        self.scanned = self.bytes.len();
        None
    }
}

/// Joins header lines that the reference folds (a long `Authorization` comes
/// as several lines, each but the first indented) with one space.
fn unfold(head: &[u8]) -> Cow<'_, [u8]> {
    let folded =
        |at: usize| matches!(head.get(at + 1), Some(b' ' | b'\t')) && head.get(at) == Some(&b'\n');
    if !memchr::memchr_iter(b'\n', head).any(folded) {
        return Cow::Borrowed(head);
    }
    let mut out = Vec::with_capacity(head.len());
    let mut rest = head;
    while let Some(newline) = memchr::memchr(b'\n', rest) {
        let (line, after) = rest.split_at_checked(newline + 1).unwrap_or((rest, &[]));
        if matches!(after.first(), Some(b' ' | b'\t')) {
            out.extend_from_slice(line.trim_ascii_end());
            out.push(b' ');
            let indent = after
                .iter()
                .take_while(|b| matches!(b, b' ' | b'\t'))
                .count();
            rest = after.get(indent..).unwrap_or_default();
        } else {
            out.extend_from_slice(line);
            rest = after;
        }
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}
