//! A port of the user's machine, reached from the VM.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroU16;
use std::os::fd::AsFd;
use std::time::Duration;

use super::Error;

/// How long a service on this machine may take to accept.
const CONNECT: Duration = Duration::from_secs(10);

/// Connects to a port of the loopback interface.
pub(super) fn connect(port: NonZeroU16) -> Result<TcpStream, Error> {
    let addresses = [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port.get())),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port.get())),
    ];
    let mut failure = None;
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            // Of the first: the second is often not there at all.
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let why = failure.map(|error| error.to_string()).unwrap_or_default();
    Err(Error::Port(format!("port {port}: {why}")))
}

/// Carries bytes between the slave channel, on standard input and output, and
/// `stream` until either ends: the channel knows no half-close.
pub(super) fn relay(mut stream: TcpStream, early: &[u8]) -> Result<(), Error> {
    stream.set_nodelay(true).map_err(Error::Channel)?;
    stream.write_all(early).map_err(Error::Channel)?;
    let there = stream.try_clone().map_err(Error::Channel)?;
    std::thread::scope(|scope| {
        let out = scope.spawn(|| {
            // An end, however it comes, ends both.
            let _ = copy(rustix::stdio::stdin(), stream.as_fd());
            let _ = stream.shutdown(Shutdown::Both);
        });
        let _ = copy(there.as_fd(), rustix::stdio::stdout());
        let _ = there.shutdown(Shutdown::Both);
        // Wakes the other thread, which reads the same socket.
        let _ = rustix::net::shutdown(rustix::stdio::stdin(), rustix::net::Shutdown::Both);
        let _ = out.join();
    });
    Ok(())
}

fn copy(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match rustix::io::read(&from, &mut *buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let mut bytes = buffer.get(..count).unwrap_or_default();
        while !bytes.is_empty() {
            match rustix::io::write(&to, bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
