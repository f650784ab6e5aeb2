use std::time::Duration;

use qvd_carrier::{Code, Config, Kind, Loss, Reason, Role, Token};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Ended, Session, Stream};

const WAIT: Duration = Duration::from_secs(60);

fn pair() -> (Session, Session) {
    let new = |role| Session::new(role, Config::default());
    (new(Role::Client), new(Role::Agent))
}

/// A connection, greeted by whoever took it.
fn connection(agent: &Session) -> (DuplexStream, DuplexStream, Vec<u8>) {
    let (here, there) = duplex(3000);
    let offer = match agent.tokens().is_empty() {
        true => qvd_carrier::Offer::New,
        false => qvd_carrier::Offer::Resume,
    };
    (here, there, qvd_carrier::greeting(offer).to_vec())
}

/// Random bits, as far as a test needs them.
fn token(number: u8) -> Token {
    Token::new([number; 16])
}

/// Runs one connection to its end.
async fn both(client: &Session, agent: &Session, number: u8) -> (Ended, Ended) {
    let (here, there, greeting) = connection(agent);
    tokio::join!(
        client.run(here, greeting),
        agent.serve(there, &[], token(number))
    )
}

async fn incoming(session: &Session) -> super::Incoming {
    timeout(WAIT, session.incoming()).await.unwrap().unwrap()
}

/// Bytes that say where they are.
fn pattern(length: usize, seed: u8) -> Vec<u8> {
    let words = (0_u64..).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    words
        .flatten()
        .map(|byte| byte ^ seed)
        .take(length)
        .collect()
}

async fn exchange(stream: Stream, write: Vec<u8>) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut heard = Vec::new();
    let write = async {
        writer.write_all(&write).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let read = async {
        reader.read_to_end(&mut heard).await.unwrap();
    };
    tokio::join!(write, read);
    heard
}

#[tokio::test]
async fn streams_survive_cut_after_cut() {
    let (client, agent) = pair();
    let up = pattern(3_000_000, 1);
    let down = pattern(2_000_000, 2);
    let nx = client.open(Kind::Nx, b"display").unwrap();
    let share = client.open(Kind::Share, b"").unwrap();
    let here = async { tokio::join!(exchange(nx, up.clone()), exchange(share, down.clone())) };
    let there = async {
        let first = incoming(&agent).await;
        assert_eq!(
            (first.kind, &first.metadata[..]),
            (Kind::Nx, &b"display"[..])
        );
        let first = first.accept(b"").unwrap();
        let second = incoming(&agent).await;
        assert_eq!(second.kind, Kind::Share);
        let second = second.accept(b"").unwrap();
        tokio::join!(exchange(first, down.clone()), exchange(second, up.clone()))
    };
    let connections = async {
        for number in 1..=255_u8 {
            // Cut after a while that is another each time.
            let turns = usize::from(number) * 13 % 200;
            let cut = async {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                over = both(&client, &agent, number) => return over,
                () = cut => {}
            }
        }
        both(&client, &agent, 0).await
    };
    let exchanged = async {
        let ((nx, share), (first, second)) = tokio::join!(here, there);
        assert!(nx == down && share == up && first == up && second == down);
        let (stats, streams) = client.stats();
        assert!(stats.resumes > 20, "{stats:?}");
        let counted = |kind| streams.iter().find(|of| of.kind == kind).map(|of| of.sent);
        assert_eq!(counted(Kind::Nx), Some(3_000_000));
        assert_eq!(counted(Kind::Share), Some(2_000_000));
        // Nothing is held of streams that are over.
        assert_eq!(client.shared.lock().held(), 0);
        assert_eq!(agent.shared.lock().held(), 0);
        client.end(Reason::Done, "enough");
    };
    let (ended, ()) = timeout(WAIT, async { tokio::join!(connections, exchanged) })
        .await
        .unwrap();
    assert!(matches!(
        ended.0,
        Ended::Over {
            by_peer: false,
            reason: Reason::Done,
            ..
        }
    ));
    assert!(matches!(
        ended.1,
        Ended::Over {
            by_peer: true,
            reason: Reason::Done,
            ..
        }
    ));
    assert!(client.is_over() && agent.is_over() && client.link().borrow().over);
    assert!(agent.incoming().await.is_none());
}

#[tokio::test]
async fn what_was_written_goes_though_its_writer_has_gone() {
    let (client, agent) = pair();
    let said = pattern(700_000, 3);
    let mut stream = client.open(Kind::Tcp, b"").unwrap();
    let speak = async {
        stream.write_all(&said).await.unwrap();
        stream.shutdown().await.unwrap();
        drop(stream);
    };
    let listen = async {
        let mut stream = incoming(&agent).await.accept(b"").unwrap();
        // What nobody reads any more does not keep the stream alive.
        stream.write_all(&pattern(100_000, 4)).await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard.len(), said.len());
        stream.shutdown().await.unwrap();
        drop(stream);
        client.end(Reason::Done, "");
    };
    let all = async { tokio::join!(both(&client, &agent, 1), speak, listen) };
    timeout(WAIT, all).await.unwrap();
}

#[tokio::test]
async fn refusals_resets_and_the_end_are_told_to_whoever_holds_the_stream() {
    let (client, agent) = pair();
    let work = async {
        let mut refused = client.open(Kind::Audio, b"").unwrap();
        incoming(&agent)
            .await
            .refuse(Code::Missing, "no sound here");
        let error = refused.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains("no sound here"), "{error}");
        assert!(refused.write(b"x").await.is_err());

        let mut dropped = client.open(Kind::Tcp, b"").unwrap();
        drop(incoming(&agent).await.accept(b"").unwrap());
        let error = dropped.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

        let mut ignored = client.open(Kind::Tcp, b"").unwrap();
        drop(incoming(&agent).await);
        let error = ignored.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);

        let mut last = client.open(Kind::Nx, b"").unwrap();
        let kept = incoming(&agent).await.accept(b"").unwrap();
        agent.abandon("three minutes are over");
        let error = last.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
        drop(kept);
        error
    };
    let connection = async {
        let (one, other) = both(&client, &agent, 1).await;
        assert!(
            matches!(other, Ended::Over { by_peer: false, .. }),
            "{other:?}"
        );
        assert_eq!(one, Ended::Lost(Loss::Closed));
        client.abandon("no way back");
    };
    let (_, error) = timeout(WAIT, async { tokio::join!(connection, work) })
        .await
        .unwrap();
    assert!(error.to_string().contains("no way back"), "{error}");
}

#[tokio::test]
async fn a_stranger_is_refused_with_a_reason_and_the_session_goes_on() {
    let (client, agent) = pair();
    let _nx = client.open(Kind::Nx, b"").unwrap();
    let mut link = client.link();
    let first = both(&client, &agent, 1);
    let then = async {
        let mut kept = incoming(&agent).await.accept(b"").unwrap();
        link.wait_for(|link| link.up).await.unwrap();
        // Another client, of whose session nobody here knows.
        let stranger = Session::new(Role::Client, Config::default());
        let (here, mut there, greeting) = connection(&agent);
        let (one, other) = tokio::join!(stranger.run(here, greeting), agent.hear(&mut there));
        assert!(matches!(one, Ended::Over { by_peer: true, .. }), "{one:?}");
        assert!(matches!(other, Err(Loss::Refused(_))), "{other:?}");
        // Somebody who is no client is told nothing.
        let (mut here, mut there, _) = connection(&agent);
        here.write_all(&[b'x'; 100]).await.unwrap();
        let heard = agent.hear(&mut there).await;
        assert!(matches!(heard, Err(Loss::Stranger(_))), "{heard:?}");
        drop(there);
        assert_eq!(here.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        kept.write_all(b"still here").await.unwrap();
        kept.shutdown().await.unwrap();
        drop(kept);
        client.end(Reason::Done, "");
    };
    // All of it on the first connection.
    let (one, ()) = timeout(WAIT, async { tokio::join!(first, then) })
        .await
        .unwrap();
    assert!(
        matches!(one.0, Ended::Over { by_peer: false, .. }),
        "{one:?}"
    );
}

#[tokio::test]
async fn programs_are_told_of_outages_until_the_end() {
    let (client, agent) = pair();
    let folder = std::env::temp_dir().join(format!("qvd-road-{}", std::process::id()));
    let _ = std::fs::remove_file(&folder);
    let listener = tokio::net::UnixListener::bind(&folder).unwrap();
    let tells = super::tell_road(listener, agent.link());
    let follow = async {
        let mut program = tokio::net::UnixStream::connect(&folder).await.unwrap();
        let mut heard = Vec::new();
        assert_eq!(program.read_u8().await.unwrap(), b'l');
        for number in 1..3 {
            let connection = async {
                tokio::select! {
                    _ = both(&client, &agent, number) => {}
                    heard = program.read_u8() => assert_eq!(heard.unwrap(), b'o'),
                }
            };
            timeout(WAIT, connection).await.unwrap();
            assert_eq!(program.read_u8().await.unwrap(), b'l');
        }
        agent.abandon("enough");
        program.read_to_end(&mut heard).await.unwrap();
        heard
    };
    let ((), heard) = timeout(WAIT, async { tokio::join!(tells, follow) })
        .await
        .unwrap();
    assert_eq!(heard, b"");
    std::fs::remove_file(&folder).unwrap();
}

#[tokio::test]
async fn a_silent_connection_that_takes_nothing_is_given_up() {
    let (client, agent) = pair();
    let (here, there, greeting) = connection(&agent);
    let (near, far) = duplex(3000);
    let silence = tokio::sync::Notify::new();
    let way = async {
        let (mut one, mut other) = (there, near);
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut one, &mut other) => {}
            () = silence.notified() => {}
        }
        // Nothing is closed, and nothing is read.
        std::future::pending::<()>().await;
    };
    let acts = async {
        let mut stream = client.open(Kind::Nx, b"").unwrap();
        let mut taken = incoming(&agent).await.accept(b"").unwrap();
        taken.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
        silence.notify_one();
        let _ = stream.write(&pattern(100_000, 1)).await.unwrap();
        client.doubt();
        std::future::pending::<()>().await;
    };
    let lost = async {
        tokio::select! {
            ended = client.run(here, greeting) => ended,
            _ = agent.serve(far, &[], token(1)) => panic!("the agent is not told"),
            () = way => panic!("the way is silent"),
            () = acts => panic!("there is more to do"),
        }
    };
    let ended = timeout(WAIT, lost).await.expect("it is given up");
    assert!(matches!(ended, Ended::Lost(Loss::Silent)), "{ended:?}");
    assert!(!client.link().borrow().up);
}

#[tokio::test]
async fn a_reset_closes_what_the_stream_is_joined_with_at_once() {
    let (client, agent) = pair();
    let served = async {
        let stream = incoming(&agent).await.accept(b"").unwrap();
        let (ours, mut theirs) = tokio::net::UnixStream::pair().unwrap();
        let joined = tokio::spawn(stream.join(ours));
        let mut heard = Vec::new();
        // Sooner than one end may stay open when the other has closed.
        let read = timeout(Duration::from_secs(4), theirs.read_to_end(&mut heard));
        read.await.expect("an end").unwrap();
        assert_eq!(heard, b"half");
        timeout(WAIT, joined).await.unwrap().unwrap();
        agent.end(Reason::Done, "");
    };
    let asks = async {
        let mut stream = client.open(Kind::Share, b"").unwrap();
        stream.write_all(b"half").await.unwrap();
        // Let go before its last word, it is given up.
        while client.stats().1.iter().all(|kind| kind.sent < 4) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(stream);
    };
    tokio::join!(both(&client, &agent, 1), served, asks);
}

#[tokio::test]
async fn streams_that_are_given_up_as_they_are_opened_are_not_held() {
    let (client, agent) = pair();
    for _ in 0..900 {
        drop(client.open(Kind::Share, b"").unwrap());
    }
    let ends = async {
        let last = client.open(Kind::Nx, b"").unwrap();
        let there = incoming(&agent).await;
        assert_eq!(there.kind, Kind::Nx);
        assert_eq!(agent.shared.lock().held(), 1);
        assert_eq!(client.shared.lock().held(), 1);
        drop((last, there));
        client.end(Reason::Done, "");
    };
    let both = async { tokio::join!(both(&client, &agent, 1), ends) };
    timeout(WAIT, both).await.unwrap();
}

/// A stream joined at both ends, with the far ends of their sockets, and what
/// joins it at the client's.
async fn joined(client: &Session, agent: &Session) -> (UnixStream, UnixStream, JoinHandle<()>) {
    let (here, near) = UnixStream::pair().unwrap();
    let (there, far) = UnixStream::pair().unwrap();
    let joined = tokio::spawn(client.open(Kind::Slave, b"").unwrap().join(near));
    let taken = incoming(agent).await.accept(b"").unwrap();
    tokio::spawn(taken.join(far));
    (here, there, joined)
}

/// Longer than a socket is waited for that is closed.
#[tokio::test]
async fn an_answer_may_take_its_time() {
    let (client, agent) = pair();
    let work = async {
        let (mut here, mut there, _joined) = joined(&client, &agent).await;
        here.write_all(b"question").await.unwrap();
        here.shutdown().await.unwrap();
        let mut heard = Vec::new();
        there.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"question");
        tokio::time::sleep(Duration::from_secs(12)).await;
        there.write_all(b"answer").await.unwrap();
        drop(there);
        heard.clear();
        here.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"answer");
        client.end(Reason::Done, "");
    };
    let all = async { tokio::join!(both(&client, &agent, 1), work) };
    timeout(WAIT, all).await.unwrap();
}

#[tokio::test]
async fn an_answer_waits_for_its_reader() {
    let (client, agent) = pair();
    let work = async {
        let (mut here, mut there, _joined) = joined(&client, &agent).await;
        here.shutdown().await.unwrap();
        there.read_to_end(&mut Vec::new()).await.unwrap();
        // As much as finds room on the way, and then its end.
        let answer = pattern(64 << 20, 7);
        let mut written = 0;
        while let Ok(more) = timeout(Duration::from_secs(1), there.write(&answer[written..])).await
        {
            written += more.unwrap();
        }
        drop(there);
        tokio::time::sleep(Duration::from_secs(12)).await;
        let mut heard = Vec::new();
        here.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard.len(), written);
        assert!(heard == answer[..written]);
        client.end(Reason::Done, "");
    };
    let all = async { tokio::join!(both(&client, &agent, 1), work) };
    timeout(WAIT, all).await.unwrap();
}

#[tokio::test]
async fn a_socket_that_is_closed_awaits_no_answer() {
    let (client, agent) = pair();
    let work = async {
        let (here, mut there, joined) = joined(&client, &agent).await;
        drop(here);
        let mut heard = Vec::new();
        there.read_to_end(&mut heard).await.unwrap();
        // It says nothing, and does not close.
        joined.await.unwrap();
        drop(there);
        client.end(Reason::Done, "");
    };
    let all = async { tokio::join!(both(&client, &agent, 1), work) };
    timeout(WAIT, all).await.unwrap();
}
