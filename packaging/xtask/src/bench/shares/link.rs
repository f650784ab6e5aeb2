//! A link with a delay: bytes come out of it a while after they went in, and
//! no more than so many are on their way.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Bytes on their way in one direction: what bounds the speed of a long link.
const ON_THE_WAY: usize = 3_000_000;

/// Bytes of one piece.
const PIECE: usize = 64 * 1024;

/// Two connected sockets.
pub(super) fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a port")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

/// Two sockets joined by a link with this round trip; without one, directly.
pub(super) fn delayed(round_trip: Duration) -> Result<(TcpStream, TcpStream)> {
    if round_trip.is_zero() {
        return pair();
    }
    let ((near, inner_near), (inner_far, far)) = (pair()?, pair()?);
    carry(
        inner_near.try_clone()?,
        inner_far.try_clone()?,
        round_trip / 2,
    );
    carry(inner_far, inner_near, round_trip / 2);
    Ok((near, far))
}

/// Carries one direction, for as long as it goes.
fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, receiver) = mpsc::sync_channel::<(Instant, Vec<u8>)>(ON_THE_WAY / PIECE);
    thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let piece = buffer.get(..count).unwrap_or_default().to_vec();
            if sender.send((Instant::now() + delay, piece)).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        while let Ok((due, piece)) = receiver.recv() {
            while let Some(left) = due.checked_duration_since(Instant::now()) {
                thread::park_timeout(left);
            }
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        // Whoever still writes is told.
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// Megabytes a second that such a link carries.
pub(super) fn ceiling(round_trip: Duration, bytes: usize) -> Result<f64> {
    let (mut near, mut far) = delayed(round_trip)?;
    let begun = Instant::now();
    let writer = thread::spawn(move || {
        let piece = vec![1; PIECE];
        for _ in 0..bytes / PIECE {
            near.write_all(&piece)?;
        }
        near.shutdown(Shutdown::Write)
    });
    let mut buffer = vec![0; PIECE];
    let mut count = 0;
    while count < bytes / PIECE * PIECE {
        match far.read(&mut buffer)? {
            0 => break,
            some => count += some,
        }
    }
    let time = begun.elapsed();
    drop(far);
    // It has sent everything.
    let _ = writer.join();
    Ok(count as f64 / 1e6 / time.as_secs_f64())
}

/// A socket that is `stream` behind a link with this round trip.
pub(super) fn behind(stream: TcpStream, round_trip: Duration) -> Result<TcpStream> {
    let (near, inner) = pair()?;
    carry(stream.try_clone()?, inner.try_clone()?, round_trip / 2);
    carry(inner, stream, round_trip / 2);
    Ok(near)
}
