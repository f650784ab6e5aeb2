//! Text that is safe to show: one line, nothing that a terminal would obey.

/// The bytes as text on one line: what is not UTF-8 is replaced, control
/// characters but the tab are written as `\x..`.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push(&mut out, c);
    }
    out
}

fn push(out: &mut String, c: char) {
    if c.is_control() && c != '\t' {
        out.push_str(&format!("\\x{:02x}", u32::from(c)));
    } else {
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_begins_a_new_line_or_moves_a_cursor() {
        assert_eq!(
            printable(b"a\tb\nc\r\x1b[1m\x7f"),
            "a\tb\\x0ac\\x0d\\x1b[1m\\x7f"
        );
        assert_eq!(printable("\u{9b}2J \u{e9}".as_bytes()), "\\x9b2J \u{e9}");
    }
}
