use crate::input::Input;
use crate::request::body_length;
use crate::{Error, Response, ResponseHead, Status};

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseEvent {
    /// An interim response; the final one follows.
    Interim(ResponseHead),
    /// 101: from here on the connection speaks another protocol. Its bytes
    /// that came along are given by [`ResponseReader::take_rest`].
    Upgraded(ResponseHead),
    /// The final response.
    Response(Response),
}

/// Reads the responses to one request after another from bytes as they arrive.
///
/// Feed with [`receive`](Self::receive) and [`receive_end`](Self::receive_end),
/// then call [`poll`](Self::poll) until it gives `None`, and feed again.
pub struct ResponseReader {
    input: Input,
    ended: bool,
    head: Option<(ResponseHead, Body)>,
    body_limit: usize,
}

#[derive(Clone, Copy)]
enum Body {
    Length(usize),
    UntilEnd,
}

impl ResponseReader {
    /// A reader that refuses bodies over `body_limit` bytes.
    #[must_use]
    pub fn new(body_limit: usize) -> Self {
        Self {
            input: Input::default(),
            ended: false,
            head: None,
            body_limit,
        }
    }

    /// Takes bytes of the connection.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
    }

    /// The peer has closed its side.
    pub fn receive_end(&mut self) {
        self.ended = true;
    }

    /// The next event; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the bytes are no response, and [`Error::Truncated`] when the
    /// connection ended before or within one.
    pub fn poll(&mut self) -> Result<Option<ResponseEvent>, Error> {
        if self.head.is_none() {
            let Some(bytes) = self.input.take_head()? else {
                return if self.ended {
                    Err(Error::Truncated)
                } else {
                    Ok(None)
                };
            };
            let head = ResponseHead::parse(&bytes)?;
            if head.status == Status::SWITCHING_PROTOCOLS {
                return Ok(Some(ResponseEvent::Upgraded(head)));
            }
            if head.status.is_interim() {
                return Ok(Some(ResponseEvent::Interim(head)));
            }
            let body = match (head.headers.content_length()?, head.status.code()) {
                (_, 204 | 304) => Body::Length(0),
                (None, _) => Body::UntilEnd,
                (announced, _) => Body::Length(body_length(announced, self.body_limit)?),
            };
            self.head = Some((head, body));
        }
        self.poll_body()
    }

    fn poll_body(&mut self) -> Result<Option<ResponseEvent>, Error> {
        let Some((head, body)) = self.head.take() else {
            return Ok(None);
        };
        let received = self.input.len();
        let whole = match body {
            Body::Length(length) if received >= length => Some(length),
            Body::UntilEnd if received > self.body_limit => {
                let length = u64::try_from(received).unwrap_or(u64::MAX);
                return Err(Error::BodyTooLarge {
                    length,
                    limit: self.body_limit,
                });
            }
            Body::UntilEnd if self.ended => Some(received),
            Body::Length(_) if self.ended => return Err(Error::Truncated),
            _ => None,
        };
        match whole {
            Some(length) => {
                let response = Response {
                    head,
                    body: self.input.take(length),
                };
                Ok(Some(ResponseEvent::Response(response)))
            }
            None => {
                self.head = Some((head, body));
                Ok(None)
            }
        }
    }

    /// What was received after the last response: the tunnel's first bytes.
    #[must_use]
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.input.take(usize::MAX)
    }
}
