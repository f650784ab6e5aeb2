use crate::input::Input;
use crate::{Error, Request, RequestHead};

/// Reads requests from bytes as they arrive.
///
/// Feed with [`receive`](Self::receive), then call [`poll`](Self::poll) until
/// it gives `None`, and feed again. After a request that changes the protocol,
/// [`take_rest`](Self::take_rest) gives what followed its head.
pub struct RequestReader {
    input: Input,
    head: Option<(RequestHead, usize)>,
    body_limit: usize,
}

impl RequestReader {
    /// A reader that refuses bodies over `body_limit` bytes.
    #[must_use]
    pub fn new(body_limit: usize) -> Self {
        Self {
            input: Input::default(),
            head: None,
            body_limit,
        }
    }

    /// Takes bytes of the connection.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
    }

    /// The next whole request; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the bytes are no request; nothing after them can be understood,
    /// so answer with [`Error::status`] and close.
    pub fn poll(&mut self) -> Result<Option<Request>, Error> {
        if self.head.is_none() {
            let Some(bytes) = self.input.take_head()? else {
                return Ok(None);
            };
            let head = RequestHead::parse(&bytes)?;
            let length = body_length(head.headers.content_length()?, self.body_limit)?;
            self.head = Some((head, length));
        }
        match self.head.take() {
            Some((head, length)) if self.input.len() >= length => Ok(Some(Request {
                head,
                body: self.input.take(length),
            })),
            unfinished => {
                self.head = unfinished;
                Ok(None)
            }
        }
    }

    /// The head of the next request as soon as it is there, for a caller that
    /// reads the body itself: what came of it already is in
    /// [`take_rest`](Self::take_rest), and its length in the head, without any
    /// limit.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn poll_head(&mut self) -> Result<Option<RequestHead>, Error> {
        match self.input.take_head()? {
            Some(bytes) => RequestHead::parse(&bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Whether part of a request has arrived and the rest has not: the time
    /// for a head or a body runs.
    #[must_use]
    pub fn is_within_message(&self) -> bool {
        self.head.is_some() || !self.input.is_empty()
    }

    /// What was received after the last request, for the protocol that follows.
    #[must_use]
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.input.take(usize::MAX)
    }
}

/// Checks an announced length against the limit of its use.
pub(crate) fn body_length(announced: Option<u64>, limit: usize) -> Result<usize, Error> {
    let length = announced.unwrap_or(0);
    match usize::try_from(length) {
        Ok(n) if n <= limit => Ok(n),
        _ => Err(Error::BodyTooLarge { length, limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_before_its_body_at_every_split() {
        let bytes = b"POST /printer/a/printjob HTTP/1.1\r\nContent-Length: 99999999\r\n\r\nearly";
        for at in 0..bytes.len() - 5 {
            let (one, two) = bytes.split_at(at);
            let mut reader = RequestReader::new(0);
            reader.receive(one);
            assert_eq!(reader.poll_head().unwrap().map(drop), None, "split at {at}");
            reader.receive(two);
            let head = reader.poll_head().unwrap().unwrap();
            assert_eq!(head.headers.content_length().unwrap(), Some(99_999_999));
            assert_eq!(reader.take_rest(), b"early");
        }
        let mut reader = RequestReader::new(0);
        reader.receive(b"nonsense\r\n\r\n");
        assert!(reader.poll_head().is_err());
    }
}
