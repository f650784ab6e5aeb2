//! What is spoken on a tunnel: the carrier, or NX itself.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use nx_proxy::{NxStream, Transport};
use qvd_carrier::{Detected, MAGIC, Offer, detect, offer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::timeout;

/// How long an agent is waited for of which the broker did not say whether it
/// speaks the carrier. Longer on the way, its greeting is dropped.
const UNSURE: Duration = Duration::from_millis(500);

/// The same for one that did before: its greeting may have to be sent again on
/// a bad link.
const UNSURE_AGAIN: Duration = Duration::from_secs(3);

/// How long one that does may take.
const SURE: Duration = Duration::from_secs(10);

/// Bytes of a greeting (PROTOCOL.md §2 of the carrier).
const GREETING: usize = 12;

/// What is spoken on a tunnel.
pub(in crate::core) enum Beneath {
    /// NX.
    Plain(NxStream),
    /// The carrier: the connection, from its greeting on.
    Carrier(NxStream, Offer),
}

/// Finds out what is spoken. `said` is what the broker said of it.
pub(in crate::core) async fn listen(mut stream: NxStream, said: Option<bool>) -> Beneath {
    let limit = match said {
        Some(false) => return Beneath::Plain(stream),
        Some(true) => SURE,
        None => UNSURE,
    };
    let mut heard = Vec::with_capacity(GREETING);
    let ended = timeout(limit, greeting(&mut stream, &mut heard)).await;
    if !matches!(ended, Ok(Ok(()))) && detect(&heard) != Detected::Other {
        tracing::info!("the agent says nothing of the carrier in time: going on without");
        return Beneath::Plain(NxStream::new(Late::new(stream, heard), Vec::new()));
    }
    found(stream, heard)
}

/// The same for a session that was on the carrier before: a tunnel that is lost
/// or says nothing is no sign that the agent has it no more.
///
/// # Errors
/// When it is not found out.
pub(in crate::core) async fn listen_again(
    mut stream: NxStream,
    said: Option<bool>,
) -> io::Result<Beneath> {
    let limit = match said {
        Some(false) => return Ok(Beneath::Plain(stream)),
        Some(true) => SURE,
        None => UNSURE_AGAIN,
    };
    let mut heard = Vec::with_capacity(GREETING);
    match timeout(limit, greeting(&mut stream, &mut heard)).await {
        Ok(ended) => ended?,
        // The broker has not said that it is spoken still.
        Err(_) if said.is_none() && heard.is_empty() => {
            return Ok(Beneath::Plain(NxStream::new(
                Late::new(stream, heard),
                Vec::new(),
            )));
        }
        Err(_) => {
            let message = "the agent does not greet in time";
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
    }
    Ok(found(stream, heard))
}

/// What begins with these bytes.
fn found(stream: NxStream, heard: Vec<u8>) -> Beneath {
    match offer(&heard) {
        Some(offered) => Beneath::Carrier(NxStream::new(stream, heard), offered),
        None => Beneath::Plain(NxStream::new(stream, heard)),
    }
}

/// Reads the greeting, as far as it is one.
async fn greeting(stream: &mut NxStream, heard: &mut Vec<u8>) -> io::Result<()> {
    while heard.len() < GREETING && detect(heard) != Detected::Other {
        let mut rest = [0; GREETING];
        let rest = rest.get_mut(heard.len()..).unwrap_or_default();
        let count = stream.read(rest).await?;
        if count == 0 {
            let message = "the other side closed it";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        heard.extend_from_slice(rest.get(..count).unwrap_or_default());
    }
    Ok(())
}

/// A stream of NX whose agent may have greeted too late: that is not NX's.
struct Late<T> {
    stream: T,
    /// What came and may be a greeting.
    heard: Vec<u8>,
    decided: bool,
}

impl<T: Transport> Late<T> {
    fn new(stream: T, heard: Vec<u8>) -> Self {
        Self {
            stream,
            heard,
            decided: false,
        }
    }

    fn decide(&mut self) {
        match detect(&self.heard) {
            Detected::Undecided => {}
            Detected::Other => self.decided = true,
            Detected::Carrier => {
                if self.heard.len() >= GREETING {
                    self.heard.drain(..GREETING);
                    self.decided = true;
                }
            }
        }
    }
}

impl<T: Transport> AsyncRead for Late<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.decided && this.heard.is_empty() {
                return Pin::new(&mut this.stream).poll_read(cx, buf);
            }
            if this.decided {
                let count = this.heard.len().min(buf.remaining());
                buf.put_slice(this.heard.get(..count).unwrap_or_default());
                this.heard.drain(..count);
                return Poll::Ready(Ok(()));
            }
            // No more than may be the greeting's.
            let mut chunk = [0; GREETING];
            let room = match this.heard.len() < MAGIC.len() {
                true => MAGIC.len(),
                false => GREETING,
            };
            let chunk = chunk.get_mut(this.heard.len()..room).unwrap_or_default();
            let mut chunk = ReadBuf::new(chunk);
            match Pin::new(&mut this.stream).poll_read(cx, &mut chunk) {
                Poll::Ready(Ok(())) if chunk.filled().is_empty() => this.decided = true,
                Poll::Ready(Ok(())) => {
                    this.heard.extend_from_slice(chunk.filled());
                    this.decide();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<T: Transport> AsyncWrite for Late<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    async fn rest(mut stream: NxStream) -> Vec<u8> {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        all
    }

    /// What is found out of `first`, of which part was read with the 101, and
    /// what is then read.
    async fn spoken(first: &[u8], said: Option<bool>, early: usize) -> (Option<Offer>, Vec<u8>) {
        let (here, mut there) = duplex(64);
        there.write_all(&first[early..]).await.unwrap();
        drop(there);
        let stream = NxStream::new(here, first[..early].to_vec());
        match listen(stream, said).await {
            Beneath::Plain(stream) => (None, rest(stream).await),
            Beneath::Carrier(stream, offer) => (Some(offer), rest(stream).await),
        }
    }

    #[tokio::test]
    async fn what_is_spoken_is_told_by_the_first_bytes_and_none_is_lost() {
        let nx = b"NXPROXY-3.5.0-3.5.99 options".to_vec();
        for early in 0..10 {
            for said in [None, Some(true), Some(false)] {
                assert_eq!(spoken(&nx, said, early).await, (None, nx.clone()));
            }
            for offer in [Offer::New, Offer::Resume] {
                let mut carrier = qvd_carrier::greeting(offer).to_vec();
                carrier.extend_from_slice(b"more");
                for said in [None, Some(true)] {
                    assert_eq!(
                        spoken(&carrier, said, early).await,
                        (Some(offer), carrier.clone())
                    );
                }
            }
        }
        // Cut off.
        let part = qvd_carrier::greeting(Offer::New)[..11].to_vec();
        assert_eq!(spoken(&part, None, 3).await, (None, part.clone()));
        assert_eq!(spoken(b"", None, 0).await, (None, Vec::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_greeting_that_comes_too_late_is_not_taken_for_nx() {
        for cut in [0, 1, 8, 11, 12, 20] {
            let (here, mut there) = duplex(64);
            let stream = match listen(NxStream::new(here, Vec::new()), None).await {
                Beneath::Plain(stream) => stream,
                Beneath::Carrier(..) => panic!("nothing was said"),
            };
            let mut said = qvd_carrier::greeting(Offer::New).to_vec();
            said.extend_from_slice(b"NXPROXY-3.5.0");
            let (first, second) = said.split_at(cut);
            let speak = async {
                there.write_all(first).await.unwrap();
                tokio::task::yield_now().await;
                there.write_all(second).await.unwrap();
                drop(there);
            };
            let ((), heard) = tokio::join!(speak, rest(stream));
            assert_eq!(heard, b"NXPROXY-3.5.0", "cut at {cut}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_that_is_lost_before_the_greeting_says_nothing_of_the_session() {
        let whole = qvd_carrier::greeting(Offer::Resume);
        for length in 0..whole.len() {
            for said in [None, Some(true)] {
                // It ends, or says nothing more.
                for ends in [true, false] {
                    let (here, mut there) = duplex(64);
                    there.write_all(&whole[..length]).await.unwrap();
                    let there = (!ends).then_some(there);
                    let found = listen_again(NxStream::new(here, Vec::new()), said).await;
                    // A broker of the reference says nothing, and the agent may
                    // have been replaced by one that does not greet.
                    let unsaid = !ends && said.is_none() && length == 0;
                    assert_eq!(found.is_ok(), unsaid, "{length} {said:?} {ends}");
                    drop(there);
                }
            }
        }
        for (said, first) in [(Some(true), &whole[..]), (None, b"NXPROXY-3.5.0")] {
            let (here, mut there) = duplex(64);
            there.write_all(first).await.unwrap();
            let found = listen_again(NxStream::new(here, Vec::new()), said).await;
            let carried = matches!(found, Ok(Beneath::Carrier(_, Offer::Resume)));
            assert_eq!(carried, said.is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_never_greeted_speaks_nx() {
        let (here, mut there) = duplex(64);
        let stream = match listen(NxStream::new(here, Vec::new()), None).await {
            Beneath::Plain(stream) => stream,
            Beneath::Carrier(..) => panic!("nothing was said"),
        };
        there.write_all(b"NXPROXY-3.5.0 and on").await.unwrap();
        drop(there);
        assert_eq!(rest(stream).await, b"NXPROXY-3.5.0 and on");
    }
}
