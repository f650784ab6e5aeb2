//! Each fault, seen from both ends of real sockets.

mod pieces;

use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::*;

const WAIT: Duration = Duration::from_secs(20);

/// A client and a server with the relay between them, over TCP.
struct Pair {
    relay: FaultProxy,
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(prepare: impl FnOnce(&FaultProxy)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Endpoint::Tcp(listener.local_addr().unwrap());
        let relay = FaultProxy::start(&Endpoint::local(0), &upstream).unwrap();
        prepare(&relay);
        let client = TcpStream::connect(("127.0.0.1", relay.port().unwrap()))
            .await
            .unwrap();
        let (server, _) = within(listener.accept()).await.unwrap();
        Self {
            relay,
            client,
            server,
        }
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(WAIT, future)
        .await
        .expect("it did not happen in time")
}

async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.unwrap();
    bytes
}

async fn read_some(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    within(stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| u8::try_from((index * 7 + index / 251) % 256).unwrap())
        .collect()
}

fn rules(change: impl FnOnce(&mut Rules)) -> Rules {
    let mut rules = Rules::default();
    change(&mut rules);
    rules
}

#[tokio::test]
async fn passes_both_directions_whole_and_counts_them() {
    let Pair {
        relay,
        client,
        server,
    } = Pair::new().await;
    let (up, down) = (pattern(3_000_000), pattern(2_000_001));
    let send = async |mut stream: TcpStream, bytes: &[u8]| {
        let (mut read, mut write) = stream.split();
        let mut received = Vec::new();
        let (sent, read) = tokio::join!(
            async {
                write.write_all(bytes).await?;
                write.shutdown().await
            },
            read.read_to_end(&mut received)
        );
        sent.unwrap();
        read.unwrap();
        received
    };
    let (at_client, at_server) =
        within(async { tokio::join!(send(client, &up), send(server, &down)) }).await;
    assert_eq!(at_server, up);
    assert_eq!(at_client, down);
    relay.wait_until_closed(WAIT).await.unwrap();
    let connection = relay.last_connection().unwrap();
    let passed = connection.passed(Direction::ToServer);
    assert_eq!(passed.bytes, 3_000_000);
    assert_eq!(passed.beginning, up[..64 * 1024]);
    assert_eq!(connection.passed(Direction::ToClient).bytes, 2_000_001);
}

#[tokio::test]
async fn a_half_close_by_a_peer_is_passed_on() {
    let Pair {
        relay: _relay,
        mut client,
        mut server,
    } = Pair::new().await;
    client.write_all(b"last words").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut server).await, b"last words");
    server.write_all(b"answer").await.unwrap();
    drop(server);
    assert_eq!(read_all(&mut client).await, b"answer");
}

#[tokio::test]
async fn cut_after_a_byte_in_order() {
    for count in [0_u8, 1, 5, 99] {
        let cut = Some((count.into(), Fault::Cut(Cut::Fin)));
        let Pair {
            relay,
            mut client,
            mut server,
        } = Pair::with(|relay| {
            relay.change(Direction::ToServer, |rules| rules.at = cut);
        })
        .await;
        // At byte 0 the connection may be cut before this is written.
        let _cut = client.write_all(&pattern(100)).await;
        assert_eq!(read_all(&mut server).await, pattern(100)[..count.into()]);
        assert_eq!(within(client.read(&mut [0])).await.unwrap_or_default(), 0);
        relay.wait_until_closed(WAIT).await.unwrap();
    }
}

#[tokio::test]
async fn reset_after_a_byte() {
    let Pair {
        relay: _relay,
        mut client,
        mut server,
    } = Pair::with(|relay| {
        relay.change(Direction::ToServer, |rules| {
            rules.at = Some((5, Fault::Cut(Cut::Reset)));
        });
    })
    .await;
    client.write_all(&pattern(100)).await.unwrap();
    for stream in [&mut server, &mut client] {
        let mut bytes = Vec::new();
        let error = within(stream.read_to_end(&mut bytes)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn cut_now() {
    for how in [Cut::Fin, Cut::Reset] {
        let Pair {
            relay,
            mut client,
            mut server,
        } = Pair::new().await;
        server.write_all(b"x").await.unwrap();
        assert_eq!(read_some(&mut client, 1).await, b"x");
        relay.cut(how);
        for stream in [&mut client, &mut server] {
            let end = within(stream.read(&mut [0])).await;
            match how {
                Cut::Fin => assert_eq!(end.unwrap(), 0),
                Cut::Reset => assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset),
            }
        }
        relay.wait_until_closed(WAIT).await.unwrap();
    }
}

#[tokio::test]
async fn a_stalled_direction_holds_its_bytes_until_resumed() {
    let Pair {
        relay,
        mut client,
        mut server,
    } = Pair::with(|relay| {
        relay.change(Direction::ToServer, |rules| {
            rules.at = Some((3, Fault::Stall));
        });
    })
    .await;
    client.write_all(b"abcdef").await.unwrap();
    assert_eq!(read_some(&mut server, 3).await, b"abc");
    // The other direction goes on, and long after the stall nothing more came.
    for _ in 0..50 {
        server.write_all(b"ping").await.unwrap();
        assert_eq!(read_some(&mut client, 4).await, b"ping");
    }
    assert_eq!(
        server.try_read(&mut [0; 9]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    let connection = relay.last_connection().unwrap();
    assert_eq!(connection.passed(Direction::ToServer).bytes, 3);
    relay.resume(Direction::ToServer);
    assert_eq!(read_some(&mut server, 3).await, b"def");
}

#[tokio::test]
async fn a_held_connection_is_overtaken_by_a_later_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Endpoint::Tcp(listener.local_addr().unwrap());
    let relay = FaultProxy::start(&Endpoint::local(0), &upstream).unwrap();
    let port = relay.port().unwrap();
    let connect = async || {
        let client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (server, _) = within(listener.accept()).await.unwrap();
        (client, server)
    };
    let (mut early, mut early_server) = connect().await;
    let first = relay.last_connection().unwrap();
    first.hold(Direction::ToServer, true);
    early.write_all(b"early").await.unwrap();
    drop(early);
    let (mut late, mut late_server) = connect().await;
    late.write_all(b"late").await.unwrap();
    assert_eq!(read_some(&mut late_server, 4).await, b"late");
    assert_eq!(first.passed(Direction::ToServer).bytes, 0);
    first.hold(Direction::ToServer, false);
    assert_eq!(read_all(&mut early_server).await, b"early");
}

#[tokio::test]
async fn a_stall_is_felt_by_the_sender() {
    let Pair {
        relay,
        client,
        server: _server,
    } = Pair::new().await;
    relay.stall(Direction::ToServer);
    // Buffers fill, then the sender has to wait: it is not read any more.
    let piece = vec![0; 64 * 1024];
    let mut sent = 0_usize;
    loop {
        match client.try_write(&piece) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let more = tokio::time::timeout(Duration::from_millis(300), client.writable());
                if more.await.is_err() {
                    break;
                }
            }
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 100_000_000, "the relay reads on");
    }
    assert_eq!(
        relay
            .last_connection()
            .unwrap()
            .passed(Direction::ToServer)
            .bytes,
        0
    );
}

#[tokio::test]
async fn half_close_by_order_and_at_a_byte() {
    let Pair {
        relay,
        mut client,
        mut server,
    } = Pair::new().await;
    server.write_all(b"first").await.unwrap();
    assert_eq!(read_some(&mut client, 5).await, b"first");
    relay.half_close(Direction::ToClient);
    assert_eq!(read_all(&mut client).await, b"");
    client.write_all(b"still there").await.unwrap();
    assert_eq!(read_some(&mut server, 11).await, b"still there");

    let Pair {
        relay: _relay,
        mut client,
        mut server,
    } = Pair::with(|relay| {
        relay.change(Direction::ToServer, |rules| {
            rules.at = Some((4, Fault::HalfClose));
        });
    })
    .await;
    client.write_all(b"too long").await.unwrap();
    assert_eq!(read_all(&mut server).await, b"too ");
    server.write_all(b"answer").await.unwrap();
    assert_eq!(read_some(&mut client, 6).await, b"answer");
}

/// What a client of a relay sees who connects and reads; the reset may come
/// before it has noticed that it is connected.
async fn connect_and_read(relay: &FaultProxy) -> std::io::Result<usize> {
    let mut client = TcpStream::connect(("127.0.0.1", relay.port().unwrap())).await?;
    within(client.read(&mut [0])).await
}

#[tokio::test]
async fn refused_connections_end_at_once_and_later_ones_pass() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = Endpoint::Tcp(listener.local_addr().unwrap());
    let relay = FaultProxy::start(&Endpoint::local(0), &upstream).unwrap();
    relay.refuse(true);
    let error = connect_and_read(&relay).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(relay.connections().len(), 0);
    relay.refuse(false);
    let address = ("127.0.0.1", relay.port().unwrap());
    let mut client = TcpStream::connect(address).await.unwrap();
    relay.wait_for_connection(1, WAIT).await.unwrap();
    let (mut server, _) = within(listener.accept()).await.unwrap();
    client.write_all(b"now").await.unwrap();
    assert_eq!(read_some(&mut server, 3).await, b"now");
}

#[tokio::test]
async fn an_absent_server_resets_the_client() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let relay = FaultProxy::start(&Endpoint::local(0), &Endpoint::Tcp(free)).unwrap();
    let error = connect_and_read(&relay).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    relay.wait_until_closed(WAIT).await.unwrap();
}

#[tokio::test]
async fn unix_sockets_on_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    let (front, back) = (
        directory.path().join("front"),
        directory.path().join("back"),
    );
    let listener = UnixListener::bind(&back).unwrap();
    let relay = FaultProxy::start(&Endpoint::unix(&front), &Endpoint::unix(&back)).unwrap();
    relay.change(Direction::ToServer, |rules| {
        rules.at = Some((3, Fault::Cut(Cut::Fin)));
    });
    let mut client = UnixStream::connect(&front).await.unwrap();
    let (mut server, _) = within(listener.accept()).await.unwrap();
    client.write_all(b"abcd").await.unwrap();
    let mut bytes = Vec::new();
    within(server.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes, b"abc");
    drop(relay);
    assert!(!front.exists());
}

#[tokio::test]
async fn dropping_the_relay_closes_everything() {
    let Pair {
        relay,
        mut client,
        mut server,
    } = Pair::new().await;
    let port = relay.port().unwrap();
    drop(relay);
    for stream in [&mut client, &mut server] {
        assert_eq!(within(stream.read(&mut [0])).await.unwrap_or_default(), 0);
    }
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn an_awaited_event_which_does_not_come_tells_what_passed() {
    let Pair {
        relay,
        mut client,
        server: _server,
    } = Pair::new().await;
    client.write_all(b"abc").await.unwrap();
    relay
        .wait_for_bytes(Direction::ToServer, 3, WAIT)
        .await
        .unwrap();
    let waited = relay
        .wait_for_bytes(Direction::ToServer, 4, Duration::from_millis(10))
        .await;
    let message = waited.unwrap_err().to_string();
    assert!(message.contains("4 bytes to the server"), "{message}");
    assert!(
        message.contains("open, 3 bytes to the server, 0 bytes to the client"),
        "{message}"
    );
}
