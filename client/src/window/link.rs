//! Links to desktops: `qvd://user@host:port/vm`.

use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// Longest link taken, in bytes.
const MAX_LINK: usize = 1024;

const SCHEME: &str = "qvd://";

/// What a link says. There is no place for a password: links are written into
/// files and shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The broker.
    pub host: String,
    /// Its port.
    pub port: Option<u16>,
    /// Who logs in.
    pub user: Option<String>,
    /// Id or name of the machine.
    pub vm: Option<String>,
}

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let odd = |why: &str| format!("not a link such as qvd://ann@broker/office: {why}");
        if text.len() > MAX_LINK {
            return Err(odd("it is too long"));
        }
        let rest = text
            .get(..SCHEME.len())
            .filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
            .and_then(|_| text.get(SCHEME.len()..))
            .ok_or_else(|| odd("it does not begin with qvd://"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(odd("it holds a password"));
        }
        let (host, port) = host_and_port(place).ok_or_else(|| odd("its host is none"))?;
        let decoded = |part: &str| -> Result<Option<String>, String> {
            let plain = percent_decode_str(part).decode_utf8();
            let plain = plain.map_err(|_| odd("it is not UTF-8"))?;
            if plain.chars().any(char::is_control) {
                return Err(odd("it holds control characters"));
            }
            Ok(Some(plain.into_owned()).filter(|plain| !plain.is_empty()))
        };
        Ok(Self {
            host,
            port,
            user: decoded(user.unwrap_or_default())?,
            vm: decoded(path.trim_end_matches('/'))?,
        })
    }
}

/// `broker`, `broker:443`, `[fe80::1]:443`, `fe80::1`.
#[must_use]
pub fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let text = text.trim();
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        match port.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if port.is_empty() => (host, None),
            None => return None,
        }
    } else {
        match text.split_once(':') {
            // More than one is an address without brackets.
            Some((_, rest)) if rest.contains(':') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let good = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    if host.is_empty() || !host.chars().all(good) {
        return None;
    }
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
        None => None,
    };
    Some((host.to_owned(), port))
}

/// The form that [`host_and_port`] reads.
#[must_use]
pub fn place(host: &str, port: u16, default: u16) -> String {
    match (host.contains(':'), port == default) {
        (_, true) => host.to_owned(),
        (true, false) => format!("[{host}]:{port}"),
        (false, false) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_its_parts() {
        let link: Link = "qvd://ann%40corp@broker.example.org:443/my%20desk"
            .parse()
            .unwrap();
        assert_eq!(link.user.as_deref(), Some("ann@corp"));
        assert_eq!(
            (link.host.as_str(), link.port),
            ("broker.example.org", Some(443))
        );
        assert_eq!(link.vm.as_deref(), Some("my desk"));
        let link: Link = "QVD://broker/".parse().unwrap();
        assert_eq!((link.user, link.port, link.vm), (None, None, None));
    }

    #[test]
    fn what_is_no_link_is_refused_with_a_word() {
        for (text, word) in [
            ("http://broker", "qvd://"),
            ("qvd://ann:secret@broker", "password"),
            ("qvd://", "host"),
            ("qvd://bro ker", "host"),
            ("qvd://broker:0", "host"),
            ("qvd://broker/%1b", "control"),
            ("qvd://broker/%ff", "UTF-8"),
            ("qv", "qvd://"),
        ] {
            let error = text.parse::<Link>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_server_reads_as_it_is_written() {
        for (text, host, port) in [
            ("broker", "broker", None),
            (" broker:443 ", "broker", Some(443)),
            ("[fe80::1]:443", "fe80::1", Some(443)),
            ("fe80::1", "fe80::1", None),
        ] {
            let read = host_and_port(text).unwrap();
            assert_eq!(read, (host.to_owned(), port), "{text}");
            let port = port.unwrap_or(8443);
            let written = place(host, port, 8443);
            assert_eq!(host_and_port(&written).unwrap().0, host);
        }
        for text in ["", "a b", "[fe80::1", "a:b", "a:99999", "-x;y"] {
            assert_eq!(host_and_port(text), None, "{text}");
        }
    }
}
