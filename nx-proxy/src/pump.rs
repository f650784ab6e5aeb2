use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

/// Bytes on the way in each direction. One session has two such buffers, for
/// as long as it lasts; a TLS record fits several times.
const BUFFER: usize = 64 * 1024;

/// How long the agent may be silent once it has spoken. It says something when
/// nothing moved for 5 s, and answers nxproxy, which asks after 20 s in which
/// it heard nothing (both seen); nxproxy itself would wait for 120 s.
const SILENCE: Duration = Duration::from_secs(30);

/// How the NX stream ended, as seen from this machine.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Both directions were closed in order.
    Closed,
    /// The peer's side of the stream failed.
    PeerFailed(io::Error),
    /// The local program's side failed: it is gone.
    LocalFailed,
}

enum Fault {
    Reading(io::Error),
    Writing(io::Error),
}

/// Copies bytes between the NX stream and the local program until both have
/// closed their side. Each end of a direction is passed on when it comes, so
/// that what is still under way in the other one arrives.
///
/// `tells` whether the stream itself tells when the agent is away: then its
/// silence is no failure. `given` is told of all that the program is given.
pub(crate) async fn pump<N, L>(nx: N, local: L, tells: bool, given: &watch::Sender<()>) -> Outcome
where
    N: AsyncRead + AsyncWrite + Unpin,
    L: AsyncRead + AsyncWrite + Unpin,
{
    let (mut nx_read, mut nx_write) = tokio::io::split(nx);
    let (mut local_read, mut local_write) = tokio::io::split(local);
    let down = async {
        let silence = (!tells).then_some(SILENCE);
        let tell = || given.send_replace(());
        copy(&mut nx_read, &mut local_write, silence, tell)
            .await
            .map_err(|fault| match fault {
                Fault::Reading(e) => Outcome::PeerFailed(e),
                Fault::Writing(e) => local_failed(&e),
            })
    };
    let up = async {
        copy(&mut local_read, &mut nx_write, None, || {})
            .await
            .map_err(|fault| match fault {
                Fault::Reading(e) => local_failed(&e),
                Fault::Writing(e) => Outcome::PeerFailed(e),
            })
    };
    let outcome = tokio::try_join!(down, up).err();
    // After a fault of the peer the program still gets its end of file, so
    // that it says what it makes of it; after one of the program, the peer.
    match &outcome {
        Some(Outcome::PeerFailed(_)) => drop(local_write.shutdown().await),
        Some(Outcome::LocalFailed) => drop(nx_write.shutdown().await),
        _ => {}
    }
    outcome.unwrap_or(Outcome::Closed)
}

fn local_failed(error: &io::Error) -> Outcome {
    tracing::debug!(%error, "local end of the NX stream failed");
    Outcome::LocalFailed
}

/// `silence` is how long the source may say nothing after its first bytes. It
/// counts only while it is listened to. `tell` is called for what was written.
async fn copy<R, W>(
    from: &mut R,
    to: &mut W,
    silence: Option<Duration>,
    tell: impl Fn(),
) -> Result<(), Fault>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; BUFFER];
    let mut spoken = false;
    loop {
        let read = from.read(&mut buffer);
        let read = match silence.filter(|_| spoken) {
            Some(limit) => timeout(limit, read).await.unwrap_or_else(|_| {
                let words = format!("nothing was heard for {} s", limit.as_secs());
                Err(io::Error::new(io::ErrorKind::TimedOut, words))
            }),
            None => read.await,
        };
        spoken = true;
        let length = match read {
            Ok(0) => return to.shutdown().await.map_err(Fault::Writing),
            Ok(length) => length,
            Err(e) => return Err(Fault::Reading(e)),
        };
        let bytes = buffer.get(..length).unwrap_or_default();
        to.write_all(bytes).await.map_err(Fault::Writing)?;
        // TLS keeps what is not flushed.
        to.flush().await.map_err(Fault::Writing)?;
        tell();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    async fn pump_all<N, L>(nx: N, local: L, tells: bool) -> Outcome
    where
        N: AsyncRead + AsyncWrite + Unpin,
        L: AsyncRead + AsyncWrite + Unpin,
    {
        pump(nx, local, tells, &watch::Sender::new(())).await
    }

    #[tokio::test]
    async fn what_the_program_is_given_is_told() {
        let (nx, mut agent) = duplex(16);
        let (local, mut program) = duplex(16);
        let (given, mut is_given) = watch::channel(());
        tokio::spawn(async move { pump(nx, local, true, &given).await });
        // What it says itself is nothing that it is given.
        program.write_all(b"asks").await.unwrap();
        agent.read_exact(&mut [0; 4]).await.unwrap();
        assert!(!is_given.has_changed().unwrap());
        agent.write_all(b"answers").await.unwrap();
        is_given.changed().await.unwrap();
        program.read_exact(&mut [0; 7]).await.unwrap();
    }

    #[tokio::test]
    async fn an_end_in_one_direction_leaves_the_other_open() {
        let (nx, mut agent) = duplex(16);
        let (local, mut program) = duplex(16);
        let pumped = tokio::spawn(pump_all(nx, local, false));
        agent.write_all(b"from the agent, at length").await.unwrap();
        agent.shutdown().await.unwrap();
        let mut got = String::new();
        program.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "from the agent, at length");
        program.write_all(b"still answered").await.unwrap();
        program.shutdown().await.unwrap();
        got.clear();
        agent.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "still answered");
        assert!(matches!(pumped.await.unwrap(), Outcome::Closed));
    }

    #[tokio::test]
    async fn a_fault_says_whose_it_is_and_ends_the_other_side() {
        let (nx, mut agent) = duplex(16);
        let broken = broken_stream();
        let pumped = tokio::spawn(pump_all(nx, broken, false));
        let mut rest = Vec::new();
        agent.read_to_end(&mut rest).await.unwrap();
        assert!(matches!(pumped.await.unwrap(), Outcome::LocalFailed));

        let (local, mut program) = duplex(16);
        let pumped = tokio::spawn(pump_all(broken_stream(), local, false));
        program.read_to_end(&mut rest).await.unwrap();
        assert!(matches!(pumped.await.unwrap(), Outcome::PeerFailed(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_falls_silent_is_lost_and_one_that_has_not_spoken_is_not() {
        let (nx, mut agent) = duplex(16);
        let (local, mut program) = duplex(16);
        let begin = tokio::time::Instant::now();
        let pumped = tokio::spawn(pump_all(nx, local, false));
        tokio::time::sleep(10 * SILENCE).await;
        agent.write_all(b"word").await.unwrap();
        let mut got = Vec::new();
        program.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"word");
        let Outcome::PeerFailed(error) = pumped.await.unwrap() else {
            panic!("not lost");
        };
        assert_eq!(error.to_string(), "nothing was heard for 30 s");
        assert_eq!(begin.elapsed(), 11 * SILENCE);
    }

    /// A stream whose reads fail.
    fn broken_stream() -> impl AsyncRead + AsyncWrite + Unpin + Send {
        struct Broken;
        impl AsyncRead for Broken {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                _: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                std::task::Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
        tokio::io::join(Broken, tokio::io::sink())
    }
}
