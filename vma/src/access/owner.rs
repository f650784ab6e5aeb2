//! Whose a connection from this machine is: the user who holds its other end.
//!
//! The kernel is asked over `NETLINK_SOCK_DIAG`, which finds one socket among
//! many at once. Where it does not know that protocol, `/proc/net/tcp` tells
//! the same. An end that nobody holds any more, because it was closed, is told
//! to be of user 0 by both, with inode 0 (seen): it has no owner.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;

/// `NLM_F_REQUEST` of linux/netlink.h.
const REQUEST: u16 = 1;

/// `IPPROTO_TCP`.
const TCP: u8 = 6;

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Bytes of `struct inet_diag_req_v2`.
const BODY: usize = 56;

/// Where the owner and the inode stand in an answer: behind the header, four
/// bytes, `struct inet_diag_sockid` and three numbers, all of
/// `struct inet_diag_msg`.
const UID: usize = HEADER + 4 + 48 + 12;

/// The user who holds the socket at `end`, connected with `other`; `None` when
/// there is none on this machine.
pub fn of(end: SocketAddr, other: SocketAddr) -> Option<u32> {
    let end = SocketAddr::new(end.ip().to_canonical(), end.port());
    let other = SocketAddr::new(other.ip().to_canonical(), other.port());
    match ask(end, other) {
        Ok(owner) => owner,
        Err(error) => {
            tracing::trace!(%error, "socket diagnosis");
            look_up(end, other)
        }
    }
}

/// Asks the kernel. An error is that it has no answer.
fn ask(end: SocketAddr, other: SocketAddr) -> io::Result<Option<u32>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    send(&socket, &question(end, other), SendFlags::empty())?;
    let mut answer = [0; 512];
    // The kernel has answered before the call above returned.
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    let answer = answer.get(..length).unwrap_or_default();
    let kind = number(answer, 4).map(|n| n & 0xffff);
    if kind == Some(u32::from(BY_FAMILY)) {
        let held = number(answer, UID + 4).is_some_and(|inode| inode != 0);
        return Ok(number(answer, UID).filter(|_| held));
    }
    // An error: no such socket, or a kernel without the protocol.
    Err(io::ErrorKind::NotFound.into())
}

fn question(end: SocketAddr, other: SocketAddr) -> Vec<u8> {
    let family = match end.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let length = u32::try_from(HEADER + BODY).unwrap_or_default();
    let mut out = length.to_ne_bytes().to_vec();
    out.extend(BY_FAMILY.to_ne_bytes());
    out.extend(REQUEST.to_ne_bytes());
    // Sequence number and sender: there is one question on this socket.
    out.extend([0; 8]);
    let [family, _] = family.as_raw().to_le_bytes();
    out.extend([family, TCP, 0, 0]);
    // In any state.
    out.extend(u32::MAX.to_ne_bytes());
    out.extend(end.port().to_be_bytes());
    out.extend(other.port().to_be_bytes());
    for address in [end.ip(), other.ip()] {
        let mut field = [0; 16];
        let octets = match &address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        for (to, from) in field.iter_mut().zip(octets) {
            *to = from;
        }
        out.extend(field);
    }
    // On any interface, with any cookie.
    out.extend([0; 4]);
    out.extend([0xff; 8]);
    out
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// Looks in the tables of all sockets. The one of IPv6 has those too that
/// speak IPv4.
fn look_up(end: SocketAddr, other: SocketAddr) -> Option<u32> {
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    let tables = [
        ("/proc/net/tcp", end, other),
        ("/proc/net/tcp6", mapped(end), mapped(other)),
    ];
    tables.into_iter().find_map(|(path, end, other)| {
        let table = fs::read_to_string(path).ok()?;
        find(&table, &hexadecimal(end), &hexadecimal(other))
    })
}

/// The owner in a table of `/proc/net/tcp`.
fn find(table: &str, end: &str, other: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is = |at: usize, text: &str| fields.get(at).is_some_and(|f| *f == text);
        if !is(1, end) || !is(2, other) || is(9, "0") {
            return None;
        }
        fields.get(7)?.parse().ok()
    })
}

/// An address as the tables write it: the address in 32-bit words as they lie
/// in memory, the port as a number.
fn hexadecimal(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => Ipv6Addr::octets(&v6).to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| {
        let word = word
            .first_chunk()
            .map_or(0, |word| u32::from_ne_bytes(*word));
        format!("{word:08X}")
    });
    format!("{}:{:04X}", words.collect::<String>(), address.port())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    fn own() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    /// Where a connection is from, and where it was taken.
    fn ends(address: &str) -> Option<(TcpStream, TcpStream, SocketAddr, SocketAddr)> {
        let listener = TcpListener::bind((address, 0)).ok()?;
        let port = listener.local_addr().unwrap().port();
        let client = if address == "::" {
            TcpStream::connect(("127.0.0.1", port))
        } else {
            TcpStream::connect((address, port))
        };
        let (served, peer) = listener.accept().unwrap();
        let local = served.local_addr().unwrap();
        Some((client.unwrap(), served, peer, local))
    }

    /// What `look` finds once the descriptor is closed everywhere: a child that
    /// another test starts holds a copy of it between its fork and its exec.
    #[expect(clippy::disallowed_methods, reason = "nothing tells of the exec")]
    fn once_let_go(look: impl Fn() -> Option<u32>) -> Option<u32> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let owner = look();
            if owner.is_none() || Instant::now() > deadline {
                return owner;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_holder_of_a_connection_is_found_in_both_ways() {
        let mut looked = 0;
        for address in ["127.0.0.1", "::1", "::"] {
            // A machine may have no IPv6.
            let Some((client, served, peer, local)) = ends(address) else {
                continue;
            };
            looked += 1;
            let (plain, there) = (
                SocketAddr::new(peer.ip().to_canonical(), peer.port()),
                SocketAddr::new(local.ip().to_canonical(), local.port()),
            );
            let both = |what| {
                assert_eq!(of(peer, local), Some(own()), "{address} {what}");
                assert_eq!(look_up(plain, there), Some(own()), "{address} {what}");
            };
            both("open");
            client.shutdown(Shutdown::Write).unwrap();
            both("half closed");
            drop(client);
            let owner = once_let_go(|| of(peer, local));
            assert_eq!(owner, None, "{address} closed");
            let owner = once_let_go(|| look_up(plain, there));
            assert_eq!(owner, None, "{address} closed");
            drop(served);
        }
        assert!(looked > 0);
    }

    #[test]
    fn one_who_has_gone_owns_nothing_though_his_bytes_are_there() {
        let (mut client, _served, peer, local) = ends("127.0.0.1").unwrap();
        client
            .write_all(b"GET /vma/poweroff HTTP/1.1\r\n\r\n")
            .unwrap();
        drop(client);
        assert_eq!(once_let_go(|| of(peer, local)), None);
        assert_eq!(of("127.0.0.1:1".parse().unwrap(), local), None);
    }

    #[test]
    fn addresses_are_written_as_the_tables_write_them() {
        if cfg!(target_endian = "little") {
            assert_eq!(
                hexadecimal("127.0.0.1:80".parse().unwrap()),
                "0100007F:0050"
            );
            assert_eq!(
                hexadecimal("[::ffff:10.0.0.1]:65535".parse().unwrap()),
                "0000000000000000FFFF00000100000A:FFFF"
            );
        }
    }
}
