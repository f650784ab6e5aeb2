//! Changes of this machine's network, told by the kernel: an address, a route
//! or a link that has come or gone.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;
use tokio::time::sleep;

/// Groups of rtnetlink(7), as bits: links, and the addresses and routes of
/// IPv4 and IPv6.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// A change comes with others: time for them to come, too.
const SETTLE: Duration = Duration::from_millis(100);

/// Tells when the network has changed.
pub(in crate::core) struct Network {
    told: Option<UnixDatagram>,
    /// A change has come that nobody was told of yet.
    changing: Cell<bool>,
}

impl Network {
    /// Listens from now on. Without a way to, nothing is ever told.
    pub(in crate::core) fn watch() -> Self {
        Self {
            told: open()
                .inspect_err(|error| tracing::debug!(%error, "changes of the network"))
                .ok(),
            changing: Cell::new(false),
        }
    }

    /// The next change. Cancel safe.
    pub(in crate::core) async fn changed(&self) {
        let Some(socket) = &self.told else {
            return std::future::pending().await;
        };
        // What has changed does not count; a message too many for the buffer
        // is an error, and a change, too.
        let mut message = [0; 1024];
        if !self.changing.get() {
            let _ = socket.recv(&mut message).await;
            self.changing.set(true);
        }
        sleep(SETTLE).await;
        while socket.try_recv(&mut message).is_ok() {}
        self.changing.set(false);
    }
}

/// Whether what is sent to `address` leaves from the address `own`, as a
/// connection's packets do that was made so.
pub(super) fn leads(own: SocketAddr, address: SocketAddr) -> bool {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Nothing is sent: the kernel looks for the way.
    let asked = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(address)?;
        socket.local_addr()
    });
    asked.is_ok_and(|from| from.ip() == own.ip())
}

fn open() -> io::Result<UnixDatagram> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        flags,
        // The first of netlink: the routes.
        None,
    )?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    // The runtime has no type for it: of this one only `recv` is used, which is
    // the same for all datagrams.
    UnixDatagram::from_std(StdDatagram::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_leads_from_the_address_that_it_has() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let broker = address("127.0.0.1:443");
        assert!(leads(address("127.0.0.1:5000"), broker));
        // An address that this machine had elsewhere.
        assert!(!leads(address("192.0.2.7:5000"), broker));
        // Where nothing leads.
        assert!(!leads(address("192.0.2.7:5000"), address("[ff00::]:443")));
    }

    #[tokio::test]
    async fn the_kernel_lets_us_listen() {
        open().unwrap();
    }
}
