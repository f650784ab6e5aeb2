//! Lines out of a stream of bytes, each within a limit.

/// Longest line kept, in bytes; what is longer is cut.
const MAX_LINE: usize = 4096;

/// Collects bytes and gives whole lines.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes bytes and gives the lines that they complete, without line ends.
    /// What is not UTF-8 is replaced.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = MAX_LINE - self.partial.len();
            self.partial
                .extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
            if ends {
                lines.push(self.take());
            }
        }
        lines
    }

    /// What came after the last line end, when no more will come.
    pub fn finish(&mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.partial);
        String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn long_lines_are_cut_and_the_next_is_whole() {
        let mut lines = Lines::default();
        assert!(lines.push(&vec![b'x'; 3 * MAX_LINE]).is_empty());
        let got = lines.push(b"x\r\nnext\n\xff\nrest");
        assert_eq!(got[0].len(), MAX_LINE);
        assert_eq!(got[1..], ["next", "\u{fffd}"]);
        assert_eq!(lines.finish().as_deref(), Some("rest"));
        assert_eq!(lines.finish(), None);
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same(text in "[a\\r\\n]{0,40}", cut in 0usize..40) {
            let all = |pieces: &[&[u8]]| {
                let mut lines = Lines::default();
                let mut got: Vec<_> = pieces.iter().flat_map(|p| lines.push(p)).collect();
                got.extend(lines.finish());
                got
            };
            let (a, b) = text.as_bytes().split_at(cut.min(text.len()));
            prop_assert_eq!(all(&[a, b]), all(&[text.as_bytes()]));
        }
    }
}
