//! Hosts and networks.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use super::{Value, digits, from_str};

/// The name or address of a host to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(String);

impl HostName {
    /// The name as it was written, without the brackets of an IPv6 address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for HostName {
    fn expected() -> Cow<'static, str> {
        "a host name or IP address".into()
    }

    /// Names beyond ASCII are written in their `xn--` form.
    fn parse(text: &str) -> Option<Self> {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        let bare = bare.unwrap_or(text);
        let address = bare.parse::<IpAddr>().is_ok();
        let name = !bare.is_empty()
            && bare.len() <= 253
            && !bare.starts_with(['-', '.'])
            && bare
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        (address || (name && bare == text)).then(|| Self(bare.to_owned()))
    }
}

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address lies in the network. An IPv4 address that came as
    /// IPv6 (`::ffff:10.0.0.1`) counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix);
                let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
                net.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix);
                let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
                net.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Value for Network {
    fn expected() -> Cow<'static, str> {
        "a network such as 10.0.0.0/8 or an IP address".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(digits(prefix)?.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(bits);
        let network = Self { address, prefix };
        // `10.0.0.1/8` is as likely a slip for /32 as for 10.0.0.0.
        let exact = match address {
            IpAddr::V4(v4) => u32::MAX.checked_shr(prefix.into()).unwrap_or(0) & v4.to_bits() == 0,
            IpAddr::V6(v6) => u128::MAX.checked_shr(prefix.into()).unwrap_or(0) & v6.to_bits() == 0,
        };
        (prefix <= bits && exact).then_some(network)
    }
}

from_str!(HostName, Network);

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        Network::parse(network)
            .unwrap()
            .contains(address.parse().unwrap())
    }

    #[test]
    fn networks_contain_their_addresses() {
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(!contains("10.0.0.0/8", "fd00::1"));
        assert!(contains("0.0.0.0/0", "1.2.3.4"));
        assert!(contains("192.0.2.7", "192.0.2.7"));
        assert!(!contains("192.0.2.7", "192.0.2.6"));
        assert!(contains("::/0", "fd00::1"));
        assert!(!contains("::/0", "1.2.3.4"));
        assert!(contains("fd00::/8", "fdff::1"));
        assert!(contains("::1", "::1"));
        assert!(!contains("::1", "::2"));
    }

    #[test]
    fn what_is_no_network() {
        for wrong in [
            "",
            "/8",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.1/8",
            "::1/64",
            "::/129",
            "x",
        ] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn host_names() {
        for right in ["localhost", "qvd.example.org", "10.0.0.1", "::1", "a_b"] {
            assert_eq!(HostName::parse(right).unwrap().as_str(), right);
        }
        assert_eq!(HostName::parse("[::1]").unwrap().as_str(), "::1");
        for wrong in [
            "",
            "a b",
            "-a",
            ".a",
            "a/b",
            "a:80",
            "https://a",
            "[a]",
            "münchen",
        ] {
            assert_eq!(HostName::parse(wrong), None, "{wrong}");
        }
    }
}
