//! Load for anything that passes a TCP connection on: bulk in either direction,
//! and connections that are only held.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How long a peer may say nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// Bytes of one write or read.
const CHUNK: usize = 256 * 1024;

/// What a connection is used for: its first byte, followed by a length.
const UP: u8 = b'u';
const DOWN: u8 = b'd';
const HOLD: u8 = b'h';

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client.
    Up,
    /// To the client.
    Down,
}

/// The server behind what is measured. It serves until the program ends.
#[derive(Debug)]
pub(crate) struct Backend {
    address: SocketAddr,
    held: Arc<Mutex<Vec<TcpStream>>>,
}

impl Backend {
    /// Starts one on a free port of loopback.
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a port")?;
        let address = listener.local_addr().context("asking for the port")?;
        let held = Arc::new(Mutex::new(Vec::new()));
        let holding = Arc::clone(&held);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let holding = Arc::clone(&holding);
                // A connection that breaks is the client's failure to report.
                std::thread::spawn(move || serve(stream, &holding));
            }
        });
        Ok(Self { address, held })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets go of the held connections.
    pub(crate) fn release(&self) {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

fn serve(mut stream: TcpStream, held: &Mutex<Vec<TcpStream>>) -> Result<()> {
    prepare(&stream)?;
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let [mode, length @ ..] = head;
    if mode == HOLD {
        stream.write_all(&[HOLD])?;
        held.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(stream);
        return Ok(());
    }
    pass_on(&mut stream, mode, u64::from_be_bytes(length))
}

fn pass_on(stream: &mut (impl Read + Write), mode: u8, length: u64) -> Result<()> {
    match mode {
        UP => {
            receive(stream, length)?;
            Ok(stream.write_all(&[UP])?)
        }
        DOWN => send(stream, length),
        _ => bail!("no known use of a connection"),
    }
}

/// Does what is asked for on `stream`, one thing after the other, until it ends.
pub(crate) fn serve_all(stream: &mut (impl Read + Write)) -> Result<()> {
    let mut head = [0; 9];
    loop {
        match stream.read_exact(&mut head) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let [mode, length @ ..] = head;
        pass_on(stream, mode, u64::from_be_bytes(length))?;
    }
}

/// Passes `bytes` over a connection to the backend, and returns how long it
/// took.
pub(crate) fn transfer(mut stream: TcpStream, way: Way, bytes: u64) -> Result<Duration> {
    transfer_on(&mut stream, way, bytes)
}

/// The same, on a connection that is used again.
pub(crate) fn transfer_on(stream: &mut TcpStream, way: Way, bytes: u64) -> Result<Duration> {
    prepare(stream)?;
    transfer_over(stream, way, bytes)
}

/// The same, on a connection of any kind.
pub(crate) fn transfer_over(
    stream: &mut (impl Read + Write),
    way: Way,
    bytes: u64,
) -> Result<Duration> {
    let start = Instant::now();
    match way {
        Way::Up => {
            ask(stream, UP, bytes)?;
            send(stream, bytes)?;
            // It is there when the other end says so.
            expect(stream, UP)?;
        }
        Way::Down => {
            ask(stream, DOWN, bytes)?;
            receive(stream, bytes)?;
        }
    }
    Ok(start.elapsed())
}

/// Opens `count` connections to the backend, each proved to reach it, and
/// leaves them open and idle.
pub(crate) fn hold(
    connect: &dyn Fn() -> Result<TcpStream>,
    count: usize,
) -> Result<Vec<TcpStream>> {
    let open = |number: usize| {
        let mut stream = connect().with_context(|| format!("opening tunnel {number}"))?;
        prepare(&stream)?;
        ask(&mut stream, HOLD, 0)?;
        expect(&mut stream, HOLD)?;
        Ok(stream)
    };
    (1..=count).map(open).collect()
}

fn prepare(stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    Ok(())
}

fn ask(stream: &mut impl Write, mode: u8, length: u64) -> Result<()> {
    let mut head = vec![mode];
    head.extend(length.to_be_bytes());
    stream.write_all(&head).context("asking the backend")
}

fn expect(stream: &mut impl Read, mode: u8) -> Result<()> {
    let mut answer = [0];
    stream
        .read_exact(&mut answer)
        .context("awaiting the backend's answer")?;
    ensure!(answer == [mode], "the backend answered something else");
    Ok(())
}

fn send(stream: &mut impl Write, mut bytes: u64) -> Result<()> {
    let chunk = vec![0x5a; CHUNK];
    while bytes > 0 {
        let length = usize::try_from(bytes).unwrap_or(CHUNK).min(CHUNK);
        let piece = chunk.get(..length).unwrap_or(&chunk);
        stream.write_all(piece).context("sending")?;
        bytes = bytes.saturating_sub(u64::try_from(length)?);
    }
    Ok(())
}

fn receive(stream: &mut impl Read, mut bytes: u64) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    while bytes > 0 {
        let length = usize::try_from(bytes).unwrap_or(CHUNK).min(CHUNK);
        let room = chunk.get_mut(..length).unwrap_or_default();
        let count = stream.read(room).context("receiving")?;
        ensure!(count > 0, "the connection ended {bytes} bytes too early");
        bytes = bytes.saturating_sub(u64::try_from(count)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_and_connections_are_held() {
        let backend = Backend::start().unwrap();
        let connect = || Ok(TcpStream::connect(backend.address())?);
        for way in [Way::Up, Way::Down] {
            transfer(connect().unwrap(), way, 3_000_001).unwrap();
        }
        let mut held = hold(&connect, 5).unwrap();
        backend.release();
        assert_eq!(held[0].read(&mut [0]).unwrap(), 0);
    }
}
