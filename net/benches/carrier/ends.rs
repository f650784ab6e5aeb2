//! The far end, on a thread of its own, and links that are slow or long.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use qvd_carrier::{Config, Role, Token};
use qvd_net::carrier::Session;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep_until;

/// What a stream is for: its first byte.
pub(super) const MODE_ECHO: u8 = b'e';
pub(super) const MODE_SINK: u8 = b's';
pub(super) const MODE_SOURCE: u8 = b'g';

/// What a link carries.
#[derive(Clone, Copy)]
pub(super) struct Rate {
    /// Bits a second, each way.
    pub(super) bits: u64,
    /// Bytes that go at a time.
    pub(super) packet: usize,
    /// Bytes that wait in front of it: what is more queues at the senders.
    pub(super) queue: usize,
}

/// Bytes that are under way on the long one.
const UNDER_WAY: usize = 32 * 1024 * 1024;

/// The far end. It serves until the program ends.
pub(super) struct Far {
    /// Where plain connections are taken.
    pub(super) plain: SocketAddr,
    /// Where carriers are.
    pub(super) carrier: SocketAddr,
}

impl Far {
    pub(super) fn start() -> Result<Self> {
        let (plain, carrier) = (bind()?, bind()?);
        let far = Self {
            plain: plain.1,
            carrier: carrier.1,
        };
        on_a_thread(async move {
            let (plain, carrier) = (
                TcpListener::from_std(plain.0)?,
                TcpListener::from_std(carrier.0)?,
            );
            loop {
                tokio::select! {
                    plain = plain.accept() => {
                        let (stream, _) = plain?;
                        stream.set_nodelay(true)?;
                        tokio::spawn(serve(stream));
                    }
                    carrier = carrier.accept() => {
                        let (stream, _) = carrier?;
                        qvd_net::socket::tune(&stream)?;
                        tokio::spawn(carry(stream));
                    }
                }
            }
        });
        Ok(far)
    }

    /// The same behind a link that carries so much, or as much as comes, and
    /// takes so long one way.
    pub(super) fn behind(&self, rate: Option<Rate>, way: Duration) -> Result<Self> {
        Ok(Self {
            plain: link(self.plain, rate, way)?,
            carrier: link(self.carrier, rate, way)?,
        })
    }
}

/// A listener that a thread's runtime takes over, and where it is.
pub(super) fn bind() -> Result<(std::net::TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

pub(super) fn on_a_thread(work: impl Future<Output = Result<()>> + Send + 'static) {
    std::thread::spawn(move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }
            .enable_all()
            .build()
            .context("making a runtime")?;
        // What breaks is the near end's failure to report.
        runtime.block_on(work)
    });
}

/// One carrier, on its only connection.
async fn carry(connection: TcpStream) {
    let session = Session::new(Role::Agent, Config::default());
    let streams = async {
        while let Some(incoming) = session.incoming().await {
            if let Ok(stream) = incoming.accept(b"") {
                tokio::spawn(serve(stream));
            }
        }
    };
    tokio::select! {
        _ = session.serve(connection, &[], Token::new([1; 16])) => {}
        () = streams => {}
    }
}

/// Does what a stream is for.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    let mut mode = [0];
    stream.read_exact(&mut mode).await?;
    let mut chunk = vec![0; 64 * 1024];
    if mode == [MODE_SINK] {
        let mut left = stream.read_u64().await?;
        while left > 0 {
            let count = stream.read(&mut chunk).await?;
            anyhow::ensure!(count > 0, "it ended early");
            left = left.saturating_sub(u64::try_from(count)?);
        }
        stream.write_all(&[1]).await?;
        stream.shutdown().await?;
        return Ok(());
    }
    if mode == [MODE_SOURCE] {
        let mut left = stream.read_u64().await?;
        while left > 0 {
            let count = chunk.len().min(usize::try_from(left)?);
            stream
                .write_all(chunk.get(..count).unwrap_or_default())
                .await?;
            left = left.saturating_sub(u64::try_from(count)?);
        }
        stream.shutdown().await?;
        return Ok(());
    }
    loop {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Ok(());
        }
        stream
            .write_all(chunk.get(..count).unwrap_or_default())
            .await?;
        stream.flush().await?;
    }
}

fn link(far: SocketAddr, rate: Option<Rate>, way: Duration) -> Result<SocketAddr> {
    let (listener, address) = bind()?;
    if let Some(rate) = rate {
        // Those that it accepts have the same.
        sockopt::set_socket_recv_buffer_size(&listener, rate.queue)?;
    }
    on_a_thread(async move {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (near, _) = listener.accept().await?;
            let far = TcpStream::connect(far).await?;
            if let Some(rate) = rate {
                sockopt::set_socket_recv_buffer_size(&far, rate.queue)?;
            }
            for stream in [&near, &far] {
                stream.set_nodelay(true)?;
            }
            let Some(rate) = rate else {
                let (from_near, to_near) = near.into_split();
                let (from_far, to_far) = far.into_split();
                tokio::spawn(delay(from_near, to_far, way));
                tokio::spawn(delay(from_far, to_near, way));
                continue;
            };
            let (near, far) = (near.into_std()?, far.into_std()?);
            near.set_nonblocking(false)?;
            far.set_nonblocking(false)?;
            let (from_near, to_far) = (near.try_clone()?, far.try_clone()?);
            std::thread::spawn(move || pace(from_near, to_far, rate));
            std::thread::spawn(move || pace(far, near, rate));
        }
    });
    Ok(address)
}

/// Passes bytes on, each packet when the ones before have gone. On a thread: a
/// packet takes a millisecond, which is all that a runtime's clock can tell.
fn pace(mut from: std::net::TcpStream, mut to: std::net::TcpStream, rate: Rate) -> Result<()> {
    let mut packet = vec![0; rate.packet];
    let mut free = Instant::now();
    loop {
        let count = from.read(&mut packet)?;
        if count == 0 {
            return Ok(to.shutdown(Shutdown::Write)?);
        }
        let takes = u64::try_from(count)? * 8 * 1_000_000_000 / rate.bits;
        let takes = Duration::from_nanos(takes);
        // What this thread was late with, it makes good: a packet at most.
        let now = Instant::now();
        free = free.max(now.checked_sub(takes).unwrap_or(now)) + takes;
        loop {
            let left = free.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::park_timeout(left);
        }
        to.write_all(packet.get(..count).unwrap_or_default())?;
    }
}

/// Passes bytes on, each after so long.
async fn delay(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Duration,
) -> Result<()> {
    let mut under_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut held = 0_usize;
    let mut packet = vec![0; 64 * 1024];
    loop {
        let next = under_way.front().map(|(at, _)| *at);
        tokio::select! {
            count = from.read(&mut packet), if held < UNDER_WAY => {
                let count = count?;
                if count == 0 {
                    break;
                }
                held += count;
                let bytes = packet.get(..count).unwrap_or_default().to_vec();
                under_way.push_back((Instant::now() + way, bytes));
            }
            () = sleep_until(next.unwrap_or_else(Instant::now).into()), if next.is_some() => {
                if let Some((_, bytes)) = under_way.pop_front() {
                    held -= bytes.len();
                    to.write_all(&bytes).await?;
                }
            }
        }
    }
    for (at, bytes) in under_way {
        sleep_until(at.into()).await;
        to.write_all(&bytes).await?;
    }
    Ok(())
}
