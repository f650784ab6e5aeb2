//! Slowing down those who guess passwords.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failed logins an address has per [`WINDOW`]; further ones are refused
/// unheard until it is over.
pub(super) const MAX_FAILURES: u32 = 10;

/// How long failures count.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// Addresses that are remembered at once.
const MAX_ADDRESSES: usize = 65_536;

#[derive(Default)]
pub(super) struct Throttle {
    addresses: Mutex<HashMap<IpAddr, Failures>>,
}

struct Failures {
    count: u32,
    since: Instant,
}

impl Throttle {
    /// Counts an attempt as failed until [`succeeded`](Self::succeeded) says
    /// otherwise, so that attempts made at once count too. False when the
    /// address has had its share.
    pub(super) fn begin(&self, address: IpAddr) -> bool {
        let now = Instant::now();
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= MAX_ADDRESSES {
            addresses.retain(|_, failures| now < failures.since + WINDOW);
        }
        if addresses.len() >= MAX_ADDRESSES {
            // Under such an attack nobody can be told from an attacker.
            return false;
        }
        let failures = addresses.entry(network(address)).or_insert(Failures {
            count: 0,
            since: now,
        });
        if now >= failures.since + WINDOW {
            *failures = Failures {
                count: 0,
                since: now,
            };
        }
        if failures.count >= MAX_FAILURES {
            return false;
        }
        failures.count += 1;
        true
    }

    /// The attempt begun before was no failure.
    pub(super) fn succeeded(&self, address: IpAddr) {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(failures) = addresses.get_mut(&network(address)) {
            failures.count = failures.count.saturating_sub(1);
            if failures.count == 0 {
                addresses.remove(&network(address));
            }
        }
    }
}

/// An IPv6 host has a /64 to choose addresses from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let bits = v6.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_of_one_address_are_limited_for_a_while() {
        let throttle = Throttle::default();
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..MAX_FAILURES {
            assert!(throttle.begin(one));
        }
        assert!(!throttle.begin(one));
        assert!(throttle.begin(other));
        tokio::time::advance(WINDOW).await;
        assert!(throttle.begin(one));
    }

    #[tokio::test(start_paused = true)]
    async fn successes_do_not_count_and_one_ipv6_network_is_one_address() {
        let throttle = Throttle::default();
        let address = |n: u64| format!("2001:db8::{n:x}").parse().unwrap();
        for n in 0..100 {
            assert!(throttle.begin(address(n)));
            throttle.succeeded(address(n));
        }
        for n in 0..u64::from(MAX_FAILURES) {
            assert!(throttle.begin(address(n)));
        }
        assert!(!throttle.begin(address(77)));
    }
}
