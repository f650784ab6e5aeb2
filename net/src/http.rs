//! A server's side of an HTTP connection in QVD's dialect.

use std::io;
use std::time::Duration;

use qvd_http1::{Request, RequestReader, Response, ResponseHead};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// Bytes read at a time.
const READ_SIZE: usize = 8 * 1024;

/// How long a peer may take to have read the last answer.
const LINGER: Duration = Duration::from_secs(1);

/// How long a server waits for its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From the first byte of a request to its last: a head dripped byte by
    /// byte gets no more time than one sent whole.
    pub request: Duration,
    /// To the first byte of the first request.
    pub first: Duration,
    /// Between requests.
    pub idle: Duration,
    /// For the peer to take an answer.
    pub write: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(15),
            first: Duration::from_secs(120),
            idle: Duration::from_secs(120),
            write: Duration::from_secs(30),
        }
    }
}

/// Why a connection gives no more requests.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer's bytes are no request; answered with the error's status.
    #[error("malformed request: {0}")]
    Malformed(#[from] qvd_http1::Error),
    /// The peer closed the connection within a request.
    #[error("connection closed within a request")]
    Truncated,
    /// The peer took too long.
    #[error("peer too slow")]
    TooSlow,
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A server's side of one connection.
pub struct ServerConnection<S> {
    stream: S,
    reader: RequestReader,
    deadlines: Deadlines,
    /// The peer has sent something.
    begun: bool,
    out: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ServerConnection<S> {
    /// A connection whose request bodies are at most `body_limit` bytes.
    pub fn new(stream: S, body_limit: usize, deadlines: Deadlines) -> Self {
        Self {
            stream,
            reader: RequestReader::new(body_limit),
            deadlines,
            begun: false,
            out: Vec::new(),
        }
    }

    /// The next request; `None` when the peer has closed between requests or
    /// was idle for too long.
    ///
    /// # Errors
    /// See [`Error`]. A malformed request has been answered already: close.
    pub async fn next_request(&mut self) -> Result<Option<Request>, Error> {
        let mut deadline = self.read_deadline();
        loop {
            match self.reader.poll() {
                Ok(Some(request)) => return Ok(Some(request)),
                Ok(None) => {}
                Err(error) => {
                    let status = error.status();
                    let answer = Response::text(status, &format!("{status}: {error}"));
                    // The peer may be gone; what is told is the first fault.
                    let _ = self.respond(&answer.header("Connection", "close")).await;
                    self.close().await;
                    return Err(error.into());
                }
            }
            let within = self.reader.is_within_message();
            let mut chunk = [0; READ_SIZE];
            let read = timeout_at(deadline, self.stream.read(&mut chunk)).await;
            match read {
                Err(_) if within => return Err(Error::TooSlow),
                Err(_) => return Ok(None),
                Ok(Err(e)) if !within && e.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(None);
                }
                Ok(read) => match read? {
                    0 if within => return Err(Error::Truncated),
                    0 => return Ok(None),
                    n => self.reader.receive(chunk.get(..n).unwrap_or_default()),
                },
            }
            self.begun = true;
            if !within {
                deadline = Instant::now() + self.deadlines.request;
            }
        }
    }

    fn read_deadline(&self) -> Instant {
        let within = self.reader.is_within_message();
        Instant::now()
            + match (within, self.begun) {
                (true, _) => self.deadlines.request,
                (false, true) => self.deadlines.idle,
                (false, false) => self.deadlines.first,
            }
    }

    /// Sends a whole response.
    ///
    /// # Errors
    /// [`Error::TooSlow`] when the peer does not take it in time.
    pub async fn respond(&mut self, response: &Response) -> Result<(), Error> {
        self.out.clear();
        response.write(&mut self.out)?;
        self.send().await
    }

    /// Sends an interim response, or the 101.
    ///
    /// # Errors
    /// [`Error::TooSlow`] when the peer does not take it in time.
    pub async fn respond_head(&mut self, head: &ResponseHead) -> Result<(), Error> {
        self.out.clear();
        head.write(&mut self.out)?;
        self.send().await
    }

    async fn send(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + self.deadlines.write;
        let written = timeout_at(deadline, async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        });
        written.await.map_err(|_| Error::TooSlow)??;
        Ok(())
    }

    /// Says that nothing more comes, and waits a moment for the peer to close:
    /// a connection that is closed over bytes nobody has read is reset, and the
    /// last answer lost with it.
    pub async fn close(&mut self) {
        let closed = async {
            self.stream.shutdown().await?;
            let mut chunk = [0; READ_SIZE];
            while self.stream.read(&mut chunk).await? > 0 {}
            Ok::<_, io::Error>(())
        };
        // However it ends, it is closed.
        let _ = timeout_at(Instant::now() + LINGER, closed).await;
    }

    /// Waits until the peer has closed the connection or sent more, for
    /// instance while its request is being worked on. What it sent is kept.
    ///
    /// Resolves with `false` when the peer is gone; with `true` when it sent
    /// bytes, after which there is nothing to learn by calling this again
    /// before [`next_request`](Self::next_request). Cancel safe.
    pub async fn peer_stays(&mut self) -> bool {
        let mut chunk = [0; READ_SIZE];
        match self.stream.read(&mut chunk).await {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.reader.receive(chunk.get(..n).unwrap_or_default());
                true
            }
        }
    }

    /// The stream, for the protocol that follows a 101, and what the peer
    /// has already sent of it.
    pub fn into_parts(mut self) -> (S, Vec<u8>) {
        let rest = self.reader.take_rest();
        (self.stream, rest)
    }
}

#[cfg(test)]
mod tests {
    use qvd_http1::Status;
    use tokio::io::DuplexStream;

    use super::*;

    fn pair(deadlines: Deadlines) -> (DuplexStream, ServerConnection<DuplexStream>) {
        let (peer, ours) = tokio::io::duplex(256 * 1024);
        (peer, ServerConnection::new(ours, 16, deadlines))
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_dripped_byte_by_byte_gets_no_more_time_than_one_sent_whole() {
        let (mut peer, mut connection) = pair(Deadlines::default());
        let drip = tokio::spawn(async move {
            for byte in b"GET /vma/ping HTTP/1.1\r\n".iter().cycle() {
                if peer.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let start = Instant::now();
        assert!(matches!(
            connection.next_request().await,
            Err(Error::TooSlow)
        ));
        assert_eq!(
            start.elapsed().as_secs(),
            Deadlines::default().request.as_secs()
        );
        drop(connection);
        drip.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_request_that_has_begun_has_its_time() {
        let deadlines = Deadlines {
            first: Duration::from_secs(15),
            ..Deadlines::default()
        };
        let (mut peer, mut connection) = pair(deadlines);
        let late = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(14)).await;
            peer.write_all(b"GET /vma/ping").await.unwrap();
            peer
        });
        let start = Instant::now();
        let heard = connection.next_request().await;
        assert!(matches!(heard, Err(Error::TooSlow)));
        assert_eq!(start.elapsed().as_secs(), 29);
        drop(late.await.unwrap());
        let (_silent, mut connection) = pair(deadlines);
        let start = Instant::now();
        assert!(connection.next_request().await.unwrap().is_none());
        assert_eq!(start.elapsed().as_secs(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_peer_is_let_go_without_an_error() {
        let (_peer, mut connection) = pair(Deadlines::default());
        assert!(connection.next_request().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_malformed_request_is_answered_once_and_ends_the_connection() {
        let (mut peer, mut connection) = pair(Deadlines::default());
        peer.write_all(b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        assert!(matches!(
            connection.next_request().await,
            Err(Error::Malformed(_))
        ));
        drop(connection);
        let mut answer = String::new();
        peer.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 505 HTTP Version Not Supported\r\n"),
            "{answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1 505").count(), 1);
    }

    #[tokio::test]
    async fn what_follows_an_upgrade_is_handed_on() {
        let (mut peer, mut connection) = pair(Deadlines::default());
        peer.write_all(b"GET / HTTP/1.1\r\n\r\nINIT").await.unwrap();
        assert!(connection.next_request().await.unwrap().is_some());
        connection
            .respond_head(&ResponseHead::new(Status::SWITCHING_PROTOCOLS))
            .await
            .unwrap();
        peer.write_all(b" and more").await.unwrap();
        assert!(connection.peer_stays().await);
        assert_eq!(connection.into_parts().1, b"INIT and more");
    }

    #[tokio::test]
    async fn a_peer_that_closes_within_a_request_is_an_error_between_requests_is_not() {
        let (mut peer, mut connection) = pair(Deadlines::default());
        peer.write_all(b"GET / HTTP/1.1\r\n\r\nGET").await.unwrap();
        drop(peer);
        assert!(connection.next_request().await.unwrap().is_some());
        assert!(matches!(
            connection.next_request().await,
            Err(Error::Truncated)
        ));
        let (peer, mut connection) = pair(Deadlines::default());
        drop(peer);
        assert!(connection.next_request().await.unwrap().is_none());
        assert!(!connection.peer_stays().await);
    }
}
