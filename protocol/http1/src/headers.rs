use std::fmt;

use crate::{Error, MAX_HEADERS};

/// Header lines in their order, with names in the case they came in or are to
/// be written in. Looked up in any case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    lines: Vec<(String, Vec<u8>)>,
}

/// Headers whose values are credentials and stay out of `Debug` output.
const SECRET: [&str; 3] = ["authorization", "x-qvd-slave-key", "x-qvd-share-ticket"];

impl Headers {
    /// No header lines.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of the first line with this name, in any case.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.lines
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_slice())
    }

    /// The value of the first line with this name, if it is UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// The values of all lines with this name.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.lines
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_slice())
    }

    /// All lines in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines.iter().map(|(n, v)| (n.as_str(), v.as_slice()))
    }

    /// Appends a line. It is checked when the head is written.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) {
        self.lines.push((name.into(), value.into()));
    }

    /// Whether a comma-separated list header has this token, in any case.
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.values(name)
            .flat_map(|v| v.split(|b| *b == b','))
            .any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether the peer asks to change to `protocol` (`Connection: Upgrade`
    /// and `Upgrade: protocol`). Parameters after `;` are not compared.
    #[must_use]
    pub fn asks_upgrade_to(&self, protocol: &str) -> bool {
        self.has_token("Connection", "upgrade")
            && self.values("Upgrade").any(|v| {
                let name = v.split(|b| *b == b';').next().unwrap_or_default();
                name.trim_ascii().eq_ignore_ascii_case(protocol.as_bytes())
            })
    }

    /// The announced body length in bytes, if any.
    ///
    /// # Errors
    /// [`Error::ContentLength`] when it is not one number, and
    /// [`Error::TransferEncoding`] when the message is framed another way.
    pub fn content_length(&self) -> Result<Option<u64>, Error> {
        if self.value("Transfer-Encoding").is_some() {
            return Err(Error::TransferEncoding);
        }
        let mut length = None;
        for value in self.values("Content-Length") {
            // `+5` parses as a number in Rust and as something else elsewhere.
            let digits = value.trim_ascii();
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(Error::ContentLength);
            }
            let parsed = std::str::from_utf8(digits)
                .ok()
                .and_then(|d| d.parse::<u64>().ok())
                .ok_or(Error::ContentLength)?;
            if length.is_some_and(|l| l != parsed) {
                return Err(Error::ContentLength);
            }
            length = Some(parsed);
        }
        Ok(length)
    }

    /// Reads the header lines that follow the first line of a head, up to and
    /// with the empty line. `block` is whole and unfolded.
    pub(crate) fn parse(block: &[u8]) -> Result<Self, Error> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        match httparse::parse_headers(block, &mut slots) {
            Ok(httparse::Status::Complete((_, parsed))) => Ok(Self {
                lines: parsed
                    .iter()
                    .map(|h| (h.name.to_owned(), h.value.to_vec()))
                    .collect(),
            }),
            Err(httparse::Error::TooManyHeaders) => {
                Err(Error::TooManyHeaders { limit: MAX_HEADERS })
            }
            Ok(httparse::Status::Partial) | Err(_) => Err(Error::HeaderLine),
        }
    }

    /// Writes the lines, without the empty line that ends a head.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        for (name, value) in &self.lines {
            if !is_writable_name(name) {
                return Err(Error::Unwritable("header name"));
            }
            if value.iter().any(|b| is_control(*b)) {
                return Err(Error::Unwritable("header value"));
            }
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.lines.iter().map(|(name, value)| {
                // `Auth-…` headers carry values of the user's environment.
                let lower = name.to_ascii_lowercase();
                let secret = SECRET.contains(&lower.as_str()) || lower.starts_with("auth-");
                let shown = if secret {
                    "…".into()
                } else {
                    String::from_utf8_lossy(value).into_owned()
                };
                (name, shown)
            }))
            .finish()
    }
}

/// A control character, which would break or hide part of a line.
pub(crate) fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// The reference refuses `_` in header names, so we never write it.
fn is_writable_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^`|~".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> Headers {
        let mut h = Headers::new();
        for (n, v) in lines {
            h.push(*n, *v);
        }
        h
    }

    #[test]
    fn names_are_found_in_any_case_and_kept_in_theirs() {
        let h = headers(&[("X-QVD-VM-Info", "up")]);
        assert_eq!(h.text("x-qvd-vm-info"), Some("up"));
        assert_eq!(h.iter().next().unwrap().0, "X-QVD-VM-Info");
    }

    #[test]
    fn upgrade_needs_both_headers() {
        let both = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "qvd/1.0"),
        ]);
        assert!(both.asks_upgrade_to("QVD/1.0"));
        assert!(!headers(&[("Upgrade", "QVD/1.0")]).asks_upgrade_to("QVD/1.0"));
        assert!(!headers(&[("Connection", "Upgrade")]).asks_upgrade_to("QVD/1.0"));
        let sftp = headers(&[
            ("Connection", "Upgrade"),
            ("Upgrade", "qvd:sftp/1.0;charset=UTF-8"),
        ]);
        assert!(sftp.asks_upgrade_to("qvd:sftp/1.0"));
    }

    #[test]
    fn lengths_that_two_readers_could_see_differently_are_refused() {
        let length = |lines: &[(&str, &str)]| headers(lines).content_length();
        assert_eq!(length(&[("Content-Length", " 12 ")]), Ok(Some(12)));
        assert_eq!(
            length(&[("Content-Length", "12"), ("content-length", "12")]),
            Ok(Some(12))
        );
        for bad in ["+5", "-1", "", "1 2", "0x10", "99999999999999999999999"] {
            assert_eq!(
                length(&[("Content-Length", bad)]),
                Err(Error::ContentLength),
                "{bad}"
            );
        }
        let two = [("Content-Length", "1"), ("Content-Length", "2")];
        assert_eq!(length(&two), Err(Error::ContentLength));
        let te = [("Transfer-Encoding", "chunked"), ("Content-Length", "1")];
        assert_eq!(length(&te), Err(Error::TransferEncoding));
    }

    #[test]
    fn credentials_stay_out_of_debug_output() {
        let h = headers(&[
            ("Authorization", "Basic YWxpY2U6czNjcmV0"),
            ("X-QVD-Slave-Key", "tAxT9SK6"),
            ("Auth-41", "c2VjcmV0"),
            ("Accept", "text/plain"),
        ]);
        let shown = format!("{h:?}");
        for secret in ["YWxpY2U6czNjcmV0", "tAxT9SK6", "c2VjcmV0"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("text/plain"));
    }
}
