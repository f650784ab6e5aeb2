//! The far end, on a thread of its own, and a link that is slow.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use qvd_carrier::{Config, Role, Token};
use qvd_net::carrier::Session;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// What a stream is for: its first byte.
pub(super) const MODE_ECHO: u8 = b'e';
pub(super) const MODE_SINK: u8 = b's';

/// Bytes that wait in front of the slow link: it is the senders that queue.
const QUEUE: usize = 4096;

/// The far end. It serves until the program ends.
pub(super) struct Far {
    /// Where plain connections are taken.
    pub(super) plain: SocketAddr,
    /// Where carriers are.
    pub(super) carrier: SocketAddr,
}

impl Far {
    /// Starts one, behind a link of so many bits a second.
    pub(super) fn start(bits: Option<u64>) -> Result<Self> {
        let bind = || -> Result<(std::net::TcpListener, SocketAddr)> {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
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
        match bits {
            None => Ok(far),
            Some(bits) => Ok(Self {
                plain: slow(far.plain, bits)?,
                carrier: slow(far.carrier, bits)?,
            }),
        }
    }
}

fn on_a_thread(work: impl Future<Output = Result<()>> + Send + 'static) {
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
        _ = session.serve(connection, Token::new([1; 16])) => {}
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

/// A link to `far` that carries so many bits a second each way.
fn slow(far: SocketAddr, bits: u64) -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    // Those that it accepts have the same.
    sockopt::set_socket_recv_buffer_size(&listener, QUEUE)?;
    let address = listener.local_addr()?;
    on_a_thread(async move {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (near, _) = listener.accept().await?;
            let far = TcpStream::connect(far).await?;
            sockopt::set_socket_recv_buffer_size(&far, QUEUE)?;
            for stream in [&near, &far] {
                stream.set_nodelay(true)?;
            }
            let (from_near, to_near) = near.into_split();
            let (from_far, to_far) = far.into_split();
            tokio::spawn(pace(from_near, to_far, bits));
            tokio::spawn(pace(from_far, to_near, bits));
        }
    });
    Ok(address)
}

/// Passes bytes on, each packet when the ones before have gone.
async fn pace(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    bits: u64,
) -> Result<()> {
    let mut packet = [0; 1448];
    let mut free = Instant::now();
    loop {
        let count = from.read(&mut packet).await?;
        if count == 0 {
            return Ok(());
        }
        let takes = u64::try_from(count)? * 8 * 1_000_000_000 / bits;
        free = free.max(Instant::now()) + Duration::from_nanos(takes);
        sleep_until(free).await;
        to.write_all(packet.get(..count).unwrap_or_default())
            .await?;
    }
}
