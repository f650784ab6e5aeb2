//! The relay between real sockets of this machine.

mod plain;
mod tls;

use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Ended, Meter};

/// No wait of these tests takes this long unless something is broken.
const DEADLINE: Duration = Duration::from_secs(60);

/// A relay running in a task, and how it ended.
struct Running(JoinHandle<(Ended, u64, u64)>);

impl Running {
    fn start<F>(relay: impl FnOnce(&'static Meter) -> F) -> Self
    where
        F: Future<Output = Ended> + Send + 'static,
    {
        // Tests are short: a leaked meter spares them a wrapper.
        let meter: &'static Meter = Box::leak(Box::default());
        let relay = relay(meter);
        Self(tokio::spawn(async move {
            let ended = relay.await;
            (ended, meter.left_to_right(), meter.right_to_left())
        }))
    }

    async fn ended(self) -> (Ended, u64, u64) {
        within(self.0).await.unwrap()
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("waited too long")
}

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(
        TcpStream::connect(listener.local_addr().unwrap()),
        listener.accept()
    );
    let (near, far) = (near.unwrap(), far.unwrap().0);
    narrow(&near);
    narrow(&far);
    (near, far)
}

/// Keeps the kernel from holding tens of MiB in a socket that nobody reads.
fn narrow(socket: &TcpStream) {
    rustix::net::sockopt::set_socket_send_buffer_size(socket, 128 * 1024).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(socket, 128 * 1024).unwrap();
}

/// What a relay between two narrow pairs of sockets may hold, with theirs.
const HELD: usize = 4 * 1024 * 1024;

/// Bytes that differ from place to place, so that any loss, repetition or
/// change of order shows.
struct Sequence(u64);

impl Sequence {
    fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 56) as u8;
        }
    }
}

/// Writes `total` bytes of the sequence in uneven pieces, then ends writing.
async fn write_sequence(mut to: impl AsyncWrite + Unpin, seed: u64, total: usize) {
    let mut sequence = Sequence(seed);
    let mut buffer = vec![0; 100_003];
    let mut left = total;
    let mut size = 1;
    while left > 0 {
        size = (size * 7 + 1) % buffer.len();
        let piece = &mut buffer[..size.max(1).min(left)];
        sequence.fill(piece);
        to.write_all(piece).await.unwrap();
        left -= piece.len();
    }
    to.shutdown().await.unwrap();
}

/// Reads to the end and compares with the sequence.
async fn expect_sequence(mut from: impl AsyncRead + Unpin, seed: u64, total: usize) {
    let mut sequence = Sequence(seed);
    let mut read = vec![0; 65_537];
    let mut expected = vec![0; 65_537];
    let mut seen = 0;
    loop {
        let n = from.read(&mut read).await.unwrap();
        if n == 0 {
            break;
        }
        sequence.fill(&mut expected[..n]);
        assert!(
            read[..n] == expected[..n],
            "bytes differ within {n} after {seen}"
        );
        seen += n;
    }
    assert_eq!(seen, total);
}

/// Writes until nothing has been taken for a while; how much was taken.
async fn write_until_stuck(to: &mut (impl AsyncWrite + Unpin), seed: u64) -> usize {
    let mut sequence = Sequence(seed);
    let mut taken = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        sequence.fill(&mut buffer);
        let mut at = 0;
        while at < buffer.len() {
            match tokio::time::timeout(Duration::from_millis(500), to.write(&buffer[at..])).await {
                Ok(n) => at += n.unwrap(),
                Err(_) => return taken + at,
            }
        }
        taken += at;
    }
}
