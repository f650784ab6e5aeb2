//! TLS connection to plain socket.
//!
//! The record layer is driven by hand: the socket is read into the thread's
//! scratch buffer, many records at a time, instead of the few KiB that
//! `rustls` would ask for itself, and the gathered plaintext goes out in one
//! write. Nothing is read from one side while the other's output waits, so
//! memory is bounded by one read.

use std::io::{self, BufRead, Write};
use std::task::{Context, Poll, ready};

use rustls::Connection;

use super::pending::Pending;
use super::stream::Stream;
use super::{Fault, Meter, Place, Side, add, both, scratch};

/// Both directions between a TLS connection (left) and a plain socket (right).
#[derive(Debug)]
pub(super) struct Relay {
    tls: Connection,
    left: Stream,
    right: Stream,
    /// From the TLS peer, decrypted, not yet written to the right.
    to_right: Pending,
    /// Read ahead from the right, to be encrypted first.
    early: Pending,
    /// Left to right: decrypted bytes.
    inbound: Inbound,
    /// Right to left: bytes to encrypt.
    outbound: Outbound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inbound {
    /// The connection may hold plaintext or records from the HTTP phase.
    Unprimed,
    Open,
    Ending,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outbound {
    Open,
    /// The right has ended and `close_notify` is on its way.
    Ending,
    Done,
}

impl Relay {
    pub(super) fn new(mut tls: Connection, left: Side, right: Side) -> Self {
        // One read of the right side is encrypted at a time and the next one
        // waits until it has gone: that is the limit.
        tls.set_buffer_limit(None);
        Self {
            tls,
            to_right: Pending::new(left.early),
            early: Pending::new(right.early),
            left: left.stream,
            right: right.stream,
            inbound: Inbound::Unprimed,
            outbound: Outbound::Open,
        }
    }

    /// Ready when both directions have ended or either has failed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, meter: &Meter) -> Poll<Result<(), Fault>> {
        // In this order: records received may have to be answered (a key
        // update, an alert), and the outbound side begins with what waits.
        let inbound = self.poll_inbound(cx, meter);
        let outbound = self.poll_outbound(cx, meter);
        if !matches!(inbound, Poll::Ready(Err(_))) && matches!(outbound, Poll::Ready(Err(_))) {
            let _ = self.poll_inbound(cx, meter);
        }
        both(inbound, outbound, meter)
    }

    /// Says goodbye to the TLS peer if that takes no waiting.
    pub(super) fn farewell(&mut self) {
        if self.outbound == Outbound::Open {
            self.tls.send_close_notify();
            let _ = self.tls.write_tls(&mut Socket(&self.left));
        }
    }

    fn poll_inbound(&mut self, cx: &mut Context<'_>, meter: &Meter) -> Poll<Result<(), Fault>> {
        loop {
            ready!(self.to_right.poll_write(cx, &self.right)).map_err(Place::Right.fault())?;
            match self.inbound {
                Inbound::Unprimed => {
                    self.inbound = Inbound::Open;
                    self.decrypt(&[], meter)?;
                }
                Inbound::Open => {
                    // Also takes from tokio's cooperative budget, so that a
                    // busy tunnel lets the others run.
                    ready!(self.left.poll_read_ready(cx)).map_err(Place::Left.fault())?;
                    let read = scratch::with(|buffer| match self.left.try_read(buffer) {
                        // Without a close_notify: the tunnelled protocol has
                        // its own end, a cut connection is passed on as one.
                        Ok(0) => {
                            self.inbound = Inbound::Ending;
                            Ok(())
                        }
                        Ok(n) => self.decrypt(buffer.get(..n).unwrap_or_default(), meter),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                        Err(error) => Err(Place::Left.fault()(error)),
                    });
                    read?;
                }
                Inbound::Ending => {
                    self.inbound = Inbound::Done;
                    self.right.end_writing().map_err(Place::Right.fault())?;
                }
                Inbound::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Decrypts what was read from the TLS peer and writes it to the right.
    fn decrypt(&mut self, mut records: &[u8], meter: &Meter) -> Result<(), Fault> {
        scratch::with_plaintext(|plaintext| {
            let closed = self
                .take_plaintext(&mut records, plaintext)
                .map_err(Place::Left.fault());
            // What came before a bad record was good.
            add(&meter.left_to_right, plaintext.len());
            self.to_right
                .write_or_keep(plaintext, &self.right)
                .map_err(Place::Right.fault())?;
            if closed? {
                self.inbound = Inbound::Ending;
            }
            Ok(())
        })
    }

    /// Feeds `records` to the connection; true when the peer has closed.
    fn take_plaintext(&mut self, records: &mut &[u8], plaintext: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let state = self
                .tls
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let mut reader = self.tls.reader();
                let chunk = reader.fill_buf()?;
                plaintext.extend_from_slice(chunk);
                let n = chunk.len();
                reader.consume(n);
                left = left.saturating_sub(n.max(1));
            }
            if state.peer_has_closed() {
                return Ok(true);
            }
            if records.is_empty() {
                return Ok(false);
            }
            if self.tls.read_tls(records)? == 0 {
                return Err(io::Error::other("the TLS connection takes no more bytes"));
            }
        }
    }

    fn poll_outbound(&mut self, cx: &mut Context<'_>, meter: &Meter) -> Poll<Result<(), Fault>> {
        if self.outbound == Outbound::Done {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.poll_flush(cx)).map_err(Place::Left.fault())?;
            if self.outbound == Outbound::Ending {
                self.outbound = Outbound::Done;
                self.left.end_writing().map_err(Place::Left.fault())?;
                return Poll::Ready(Ok(()));
            }
            if !self.early.is_empty() {
                let early = self.early.take();
                self.encrypt(&early)?;
                continue;
            }
            ready!(self.right.poll_read_ready(cx)).map_err(Place::Right.fault())?;
            let read = scratch::with(|buffer| match self.right.try_read(buffer) {
                Ok(0) => {
                    self.outbound = Outbound::Ending;
                    self.tls.send_close_notify();
                    Ok(())
                }
                Ok(n) => {
                    add(&meter.right_to_left, n);
                    self.encrypt(buffer.get(..n).unwrap_or_default())
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                Err(error) => Err(Place::Right.fault()(error)),
            });
            read?;
        }
    }

    fn encrypt(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.tls
            .writer()
            .write_all(bytes)
            .map_err(Place::Left.fault())
    }

    /// Writes all records that wait.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            ready!(self.left.poll_write_ready(cx))?;
            match self.tls.write_tls(&mut Socket(&self.left)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Where `rustls` writes its records: many in one call, never waiting.
struct Socket<'a>(&'a Stream);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
