//! Socket options and listeners.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

/// Silence on a connection before the kernel asks whether its peer is there.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Time between two such questions.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Unanswered questions after which the connection has failed.
pub const KEEPALIVE_COUNT: u32 = 6;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Bytes that may wait in the kernel to be sent on a connection of a session,
/// beside those under way. What waits there can be overtaken by nothing. Bulk
/// data beneath the carrier never waits there on a slow link.
pub const UNSENT: u32 = 128 * 1024;

/// Sets what every connection of a session has: no delay for small packets,
/// little that waits in the kernel ([`UNSENT`]), and keep-alive, so that a peer that vanished is noticed within
/// [`KEEPALIVE_IDLE`] + [`KEEPALIVE_COUNT`] × [`KEEPALIVE_INTERVAL`].
///
/// # Errors
/// The kernel's, for a socket that is already gone.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_tcp_nodelay(stream, true)?;
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
    Ok(())
}

/// Asks sooner than [`tune`] does whether the peer is there: after `idle`
/// without a word from it, and then `count` times at the same interval.
///
/// # Errors
/// The kernel's, for a socket that is already gone.
pub fn keep_alive(stream: &TcpStream, idle: Duration, count: u32) -> io::Result<()> {
    sockopt::set_tcp_keepidle(stream, idle)?;
    sockopt::set_tcp_keepintvl(stream, idle)?;
    sockopt::set_tcp_keepcnt(stream, count)?;
    Ok(())
}

/// How long bytes may stay unacknowledged before the connection fails;
/// keep-alive does not watch a connection that has bytes in flight.
///
/// # Errors
/// The kernel's, for a socket that is already gone.
pub fn limit_unacknowledged(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    let millis = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(stream, millis)?)
}

/// Listens on `host`:`port`; port 0 lets the kernel choose.
///
/// `*` (or nothing) is every address, IPv6 and IPv4 on one socket, or IPv4
/// alone where the machine has no IPv6. The address is reusable at once after
/// a restart.
///
/// # Errors
/// An unknown host, or an address that is taken or not this machine's; the
/// error of the last address tried.
pub fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    if host.is_empty() || host == "*" {
        return listen_on(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
            .or_else(|_| listen_on(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))));
    }
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match listen_on(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    TcpListener::from_std(std::net::TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_answers_ipv4() {
        let listener = listen("*", 0).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (client, accepted) = tokio::join!(
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)),
            listener.accept()
        );
        let (client, (accepted, _)) = (client.unwrap(), accepted.unwrap());
        tune(&client).unwrap();
        tune(&accepted).unwrap();
        limit_unacknowledged(&client, Duration::from_secs(90)).unwrap();
        assert!(client.nodelay().unwrap());
        assert!(sockopt::socket_keepalive(&client).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&client).unwrap(), KEEPALIVE_IDLE);
        assert_eq!(sockopt::tcp_user_timeout(&client).unwrap(), 90_000);
    }

    #[tokio::test]
    async fn a_taken_address_is_refused_and_a_freed_one_reusable() {
        let first = listen("127.0.0.1", 0).unwrap();
        let port = first.local_addr().unwrap().port();
        assert_eq!(
            listen("127.0.0.1", port).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(first);
        listen("127.0.0.1", port).unwrap();
    }

    #[tokio::test]
    async fn brackets_around_an_ipv6_address_are_understood() {
        let result = listen("[::1]", 0);
        // A machine without IPv6 refuses the address, not its spelling.
        if let Err(error) = result {
            assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        }
    }
}
