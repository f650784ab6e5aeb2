//! Who may connect to the agent's ports.

mod owner;

use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::getifaddrs;
use qvd_config::value::Network;

/// The networks whose peers are served.
#[derive(Debug, Clone)]
pub struct Access {
    allow: Vec<Network>,
    privileged: bool,
}

impl Access {
    /// The networks of `vma.rpc.allow`, and whoever is in them. Where there is
    /// none: on the machine itself root and the agent's own user, since who can
    /// start sessions and connect to them can be anybody; and, for an agent
    /// that runs as root, the networks it is directly connected to, which is
    /// where the hypervisor is.
    #[must_use]
    pub fn new(allow: Vec<Network>, privileged: bool) -> Self {
        Self { allow, privileged }
    }

    /// Whether the peer of a connection is served.
    #[must_use]
    pub fn allows(&self, peer: SocketAddr, local: SocketAddr) -> bool {
        let ip = peer.ip().to_canonical();
        if !self.allow.is_empty() {
            return self.allow.iter().any(|network| network.contains(ip));
        }
        if ip.is_loopback() || is_own(ip) {
            return owner::of(peer, local).is_some_and(is_trusted);
        }
        self.privileged && is_neighbour(ip)
    }
}

fn is_trusted(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

/// Whether an address is one of the machine's, asked each time: addresses come
/// and go.
fn is_own(peer: IpAddr) -> bool {
    any_interface(|own, _| own == peer)
}

/// Whether an address is in a network of one of the machine's interfaces.
fn is_neighbour(peer: IpAddr) -> bool {
    any_interface(|own, mask| same_network(own, mask, peer))
}

/// Whether the address and mask of an interface are as wanted.
fn any_interface(wanted: impl Fn(IpAddr, IpAddr) -> bool) -> bool {
    getifaddrs().is_ok_and(|mut interfaces| {
        interfaces.any(|interface| {
            let ip = |address: Option<nix::sys::socket::SockaddrStorage>| {
                let address = address?;
                let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
            };
            match (ip(interface.address), ip(interface.netmask)) {
                (Some(own), Some(mask)) => wanted(own, mask),
                _ => false,
            }
        })
    })
}

fn same_network(own: IpAddr, mask: IpAddr, peer: IpAddr) -> bool {
    match (own, mask, peer) {
        (IpAddr::V4(own), IpAddr::V4(mask), IpAddr::V4(peer)) => own & mask == peer & mask,
        (IpAddr::V6(own), IpAddr::V6(mask), IpAddr::V6(peer)) => own & mask == peer & mask,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn address(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 3030)
    }

    #[test]
    fn networks_that_are_named_are_the_only_ones() {
        let allow = vec!["10.3.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let access = Access::new(allow, true);
        for (peer, allowed) in [
            ("10.3.15.1", true),
            ("::ffff:10.3.15.1", true),
            ("10.4.0.1", false),
            ("127.0.0.1", false),
            ("fd00::1", true),
            ("fe80::1", false),
        ] {
            let local = address("10.3.15.2");
            assert_eq!(access.allows(address(peer), local), allowed, "{peer}");
        }
    }

    #[test]
    fn without_any_strangers_are_not_served() {
        let local = address("192.0.2.5");
        for privileged in [false, true] {
            let access = Access::new(vec![], privileged);
            assert!(!access.allows(address("198.51.100.7"), local));
        }
        let mask = "255.255.255.0".parse().unwrap();
        let own = "192.0.2.5".parse().unwrap();
        assert!(same_network(own, mask, "192.0.2.1".parse().unwrap()));
        assert!(!same_network(own, mask, "192.0.3.1".parse().unwrap()));
    }

    #[test]
    fn on_the_machine_itself_the_own_user_is_served_while_he_is_there() {
        let access = Access::new(vec![], false);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let client = TcpStream::connect(local).unwrap();
        let (_served, peer) = listener.accept().unwrap();
        assert!(access.allows(peer, local));
        drop(client);
        assert!(!access.allows(peer, local), "held by nobody");
        assert!(is_trusted(0) && !is_trusted(65534));
    }
}
