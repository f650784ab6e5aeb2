//! Changes of this machine's network, told by the kernel: an address, a route
//! or a link that has come or gone.

use std::cell::Cell;
use std::io;
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
pub(super) struct Network {
    told: Option<UnixDatagram>,
    /// A change has come that nobody was told of yet.
    changing: Cell<bool>,
}

impl Network {
    /// Listens from now on. Without a way to, nothing is ever told.
    pub(super) fn watch() -> Self {
        Self {
            told: open()
                .inspect_err(|error| tracing::debug!(%error, "changes of the network"))
                .ok(),
            changing: Cell::new(false),
        }
    }

    /// The next change. Cancel safe.
    pub(super) async fn changed(&self) {
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

    #[tokio::test]
    async fn the_kernel_lets_us_listen() {
        open().unwrap();
    }
}
