use std::fmt;

use crate::headers::is_control;
use crate::{Error, Headers, Status};

/// Method, target and header lines of a request.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// `GET`, `PUT`, `POST`.
    pub method: String,
    /// The target as it is on the line. Bytes: the slave channel sends paths raw.
    pub target: Vec<u8>,
    /// The header lines.
    pub headers: Headers,
}

impl RequestHead {
    /// A head without header lines.
    #[must_use]
    pub fn new(method: impl Into<String>, target: impl Into<Vec<u8>>) -> Self {
        Self {
            method: method.into(),
            target: target.into(),
            headers: Headers::new(),
        }
    }

    /// The same head with one more header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The target before `?`.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.target.split(|b| *b == b'?').next().unwrap_or_default()
    }

    /// The target after `?`, empty where there is none.
    #[must_use]
    pub fn query(&self) -> &[u8] {
        self.target
            .splitn(2, |b| *b == b'?')
            .nth(1)
            .unwrap_or_default()
    }

    /// Whether the peer wants the connection closed after the answer.
    #[must_use]
    pub fn wants_close(&self) -> bool {
        self.headers.has_token("Connection", "close")
    }

    /// Appends the head to `out`.
    ///
    /// # Errors
    /// [`Error::Unwritable`] when a part would break the line it stands in.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        if !is_method(self.method.as_bytes()) {
            return Err(Error::Unwritable("method"));
        }
        if !is_target(&self.target) {
            return Err(Error::Unwritable("request target"));
        }
        out.extend_from_slice(self.method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(&self.target);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        self.headers.write(out)?;
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    pub(crate) fn parse(head: &[u8]) -> Result<Self, Error> {
        let (line, block) = first_line(head);
        // The target ends at the last space: the slave channel of the
        // reference sends folder names raw, spaces included.
        let method_end = line
            .iter()
            .position(|b| *b == b' ')
            .ok_or(Error::RequestLine)?;
        let target_end = line
            .iter()
            .rposition(|b| *b == b' ')
            .ok_or(Error::RequestLine)?;
        let method = line.get(..method_end).ok_or(Error::RequestLine)?;
        let target = line
            .get(method_end + 1..target_end)
            .ok_or(Error::RequestLine)?;
        let version = line.get(target_end + 1..).ok_or(Error::RequestLine)?;
        if !is_method(method) || !is_target(target) {
            return Err(Error::RequestLine);
        }
        check_version(version, Error::RequestLine)?;
        Ok(Self {
            method: String::from_utf8_lossy(method).into_owned(),
            target: target.to_vec(),
            headers: Headers::parse(block)?,
        })
    }
}

impl fmt::Debug for RequestHead {
    /// Leaves the query out: parameters can be secrets (`qvd.slave.key`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method)
            .field("path", &String::from_utf8_lossy(self.path()))
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// A request with its body.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Method, target, header lines.
    pub head: RequestHead,
    /// The body; empty where there is none.
    pub body: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} with a body of {} bytes",
            self.head,
            self.body.len()
        )
    }
}

/// Status and header lines of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status.
    pub status: Status,
    /// The reason phrase as received; the status's own when made here.
    pub reason: String,
    /// The header lines.
    pub headers: Headers,
}

impl ResponseHead {
    /// A head without header lines.
    #[must_use]
    pub fn new(status: Status) -> Self {
        Self {
            status,
            reason: status.reason().to_owned(),
            headers: Headers::new(),
        }
    }

    /// The same head with one more header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Appends the head to `out`.
    ///
    /// # Errors
    /// [`Error::Unwritable`] when a part would break the line it stands in.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.reason.bytes().any(is_control) {
            return Err(Error::Unwritable("reason phrase"));
        }
        out.extend_from_slice(
            format!("HTTP/1.1 {} {}\r\n", self.status.code(), self.reason).as_bytes(),
        );
        self.headers.write(out)?;
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    pub(crate) fn parse(head: &[u8]) -> Result<Self, Error> {
        let (line, block) = first_line(head);
        let mut parts = line.splitn(3, |b| *b == b' ');
        let version = parts.next().unwrap_or_default();
        let code = parts.next().unwrap_or_default();
        let reason = parts.next().unwrap_or_default();
        check_version(version, Error::StatusLine)?;
        if code.len() != 3 || !code.iter().all(u8::is_ascii_digit) {
            return Err(Error::StatusLine);
        }
        let status = std::str::from_utf8(code)
            .ok()
            .and_then(|c| c.parse().ok())
            .and_then(Status::from_code)
            .ok_or(Error::StatusLine)?;
        if reason.iter().any(|b| is_control(*b)) {
            return Err(Error::StatusLine);
        }
        Ok(Self {
            status,
            reason: String::from_utf8_lossy(reason).into_owned(),
            headers: Headers::parse(block)?,
        })
    }
}

/// A response with its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status and header lines. `Content-Length` is added when written.
    pub head: ResponseHead,
    /// The body; empty where there is none.
    pub body: Vec<u8>,
}

impl Response {
    /// A response with a body of this content type.
    #[must_use]
    pub fn new(status: Status, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let head = ResponseHead::new(status).header("Content-Type", content_type);
        Self {
            head,
            body: body.into(),
        }
    }

    /// A `text/plain` response: the status, and `reason` in the next line.
    #[must_use]
    pub fn text(status: Status, reason: &str) -> Self {
        Self::new(status, "text/plain", format!("{reason}\n"))
    }

    /// The same response with one more header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.head.headers.push(name, value);
        self
    }

    /// Appends head and body to `out`; the body's length goes last among the
    /// header lines, as in the reference's responses.
    ///
    /// # Errors
    /// [`Error::Unwritable`] when a part would break the line it stands in.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut head = self.head.clone();
        if head.headers.value("Content-Length").is_none() {
            head.headers
                .push("Content-Length", self.body.len().to_string());
        }
        head.write(out)?;
        out.extend_from_slice(&self.body);
        Ok(())
    }
}

/// Splits a head into its first line, without its end, and the rest.
fn first_line(head: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'\n', head).map_or(head.len(), |i| i + 1);
    let (line, rest) = head.split_at_checked(end).unwrap_or((head, &[]));
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

fn check_version(version: &[u8], malformed: Error) -> Result<(), Error> {
    match version {
        b"HTTP/1.1" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Error::Version)
        }
        _ => Err(malformed),
    }
}

fn is_method(method: &[u8]) -> bool {
    !method.is_empty() && method.len() <= 32 && method.iter().all(u8::is_ascii_uppercase)
}

fn is_target(target: &[u8]) -> bool {
    target.first() == Some(&b'/') && !target.iter().any(|b| is_control(*b) || *b == b'\t')
}
