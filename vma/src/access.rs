//! Who may connect to the agent's ports.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use qvd_config::value::Network;

/// The networks whose peers are served.
#[derive(Debug, Clone)]
pub struct Access {
    allow: Vec<Network>,
    privileged: bool,
}

impl Access {
    /// The networks of `vma.rpc.allow`. Where there is none: the machine itself
    /// and, for an agent that runs as root, the networks it is directly
    /// connected to, which is where the hypervisor is.
    #[must_use]
    pub fn new(allow: Vec<Network>, privileged: bool) -> Self {
        Self { allow, privileged }
    }

    /// Whether a peer is served.
    #[must_use]
    pub fn allows(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        if !self.allow.is_empty() {
            return self.allow.iter().any(|network| network.contains(peer));
        }
        peer.is_loopback() || (self.privileged && is_neighbour(peer))
    }
}

/// Whether an address is in a network of one of the machine's interfaces,
/// asked each time: addresses come and go.
fn is_neighbour(peer: IpAddr) -> bool {
    getifaddrs().is_ok_and(|mut interfaces| {
        interfaces.any(|interface| {
            let ip = |address: Option<nix::sys::socket::SockaddrStorage>| {
                let address = address?;
                let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
            };
            match (ip(interface.address), ip(interface.netmask)) {
                (Some(own), Some(mask)) => same_network(own, mask, peer),
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
    use super::*;

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
            assert_eq!(access.allows(peer.parse().unwrap()), allowed, "{peer}");
        }
    }

    #[test]
    fn without_any_the_machine_itself_is_served_and_strangers_are_not() {
        for privileged in [false, true] {
            let access = Access::new(vec![], privileged);
            assert!(access.allows("127.0.0.1".parse().unwrap()));
            assert!(access.allows("::1".parse().unwrap()));
            assert!(!access.allows("198.51.100.7".parse().unwrap()));
        }
        let mask = "255.255.255.0".parse().unwrap();
        let own = "192.0.2.5".parse().unwrap();
        assert!(same_network(own, mask, "192.0.2.1".parse().unwrap()));
        assert!(!same_network(own, mask, "192.0.3.1".parse().unwrap()));
    }
}
