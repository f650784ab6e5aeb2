//! Where a channel of the session leads to on the user's machine.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::quiet::Quiet;
use crate::{Local, LocalEnd};

/// For a connection to a server of this machine, or one beside it.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest path of a Unix socket, in bytes (`sun_path` with its final NUL).
const MAX_PATH: usize = 107;

/// Longest name of a host (RFC 1035).
const MAX_HOST: usize = 255;

/// A server that a channel leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A Unix socket.
    Unix(PathBuf),
    /// A port of a host.
    Tcp {
        /// Its name or address.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Why a text names no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no port, tcp:port, tcp:host:port or unix:/path")]
pub struct TargetError {
    /// The text.
    pub text: String,
}

impl Target {
    /// A port of this machine's loopback interface.
    #[must_use]
    pub fn port(port: u16) -> Self {
        Self::Tcp {
            host: "localhost".to_owned(),
            port,
        }
    }

    /// Reads a value of nxproxy's options (nx-protocol §7): a port of this
    /// machine, `tcp:port`, `tcp:host:port`, or `unix:path`. `0` is no target,
    /// and `1` the service's `usual` port.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(text: &str, usual: Option<u16>) -> Result<Option<Self>, TargetError> {
        let wrong = || TargetError {
            text: text.to_owned(),
        };
        if matches!(text, "" | "0") {
            return Ok(None);
        }
        if text == "1" {
            return usual.map(|port| Some(Self::port(port))).ok_or_else(wrong);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let fits = path.starts_with('/') && path.len() <= MAX_PATH && !path.contains('\0');
            return match fits {
                true => Ok(Some(Self::Unix(path.into()))),
                false => Err(wrong()),
            };
        }
        let place = text.strip_prefix("tcp:").unwrap_or(text);
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, port),
            None => ("localhost", place),
        };
        // An address of IPv6 is in brackets.
        let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let inner = inner.filter(|address| address.contains(':'));
        let (host, signs) = match inner {
            Some(address) => (address, &b".:%"[..]),
            None => (host, &b".-_"[..]),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || signs.contains(&b);
        let host_is_one = !host.is_empty() && host.len() <= MAX_HOST && host.bytes().all(plain);
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        match port.parse::<u16>() {
            Ok(port) if port > 0 && digits && host_is_one => Ok(Some(Self::Tcp {
                host: host.to_owned(),
                port,
            })),
            _ => Err(wrong()),
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there, or nobody answers within ten seconds.
    pub(super) async fn connect(&self) -> io::Result<LocalEnd> {
        let connecting = async {
            Ok::<LocalEnd, io::Error>(match self {
                Self::Unix(path) => Box::new(Quiet::new(UnixStream::connect(path).await?)?),
                Self::Tcp { host, port } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
            })
        };
        let connected = timeout(CONNECT, connecting).await;
        connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| io::Error::new(error.kind(), format!("{self}: {error}")))
    }
}

impl From<Local> for Target {
    fn from(local: Local) -> Self {
        match local {
            Local::Unix(path) => Self::Unix(path),
            Local::Port(port) => Self::port(port),
        }
    }
}

/// As nxproxy's log has it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tcp(host: &str, port: u16) -> Target {
        let host = host.to_owned();
        Target::Tcp { host, port }
    }

    #[test]
    fn every_form_of_a_target_is_read() {
        for (text, target) in [
            ("4713", Some(tcp("localhost", 4713))),
            ("tcp:4713", Some(tcp("localhost", 4713))),
            ("tcp:printers:631", Some(tcp("printers", 631))),
            ("tcp:[::1]:631", Some(tcp("::1", 631))),
            ("1", Some(tcp("localhost", 631))),
            (
                "unix:/run/cups/cups.sock",
                Some(Target::Unix("/run/cups/cups.sock".into())),
            ),
            ("0", None),
            ("", None),
        ] {
            assert_eq!(Target::parse(text, Some(631)), Ok(target), "{text}");
        }
        assert_eq!(tcp("h", 1).to_string(), "tcp:h:1");
    }

    #[test]
    fn what_is_no_target_is_refused_by_name() {
        let long = format!("unix:/{}", "x".repeat(200));
        for text in [
            "x",
            "-1",
            "+1",
            "65536",
            "tcp:",
            "tcp:0",
            "tcp::1",
            "tcp:a b:1",
            "unix:",
            "unix:a",
            &long,
        ] {
            let error = Target::parse(text, None).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
        assert!(Target::parse("1", None).is_err(), "there is no usual port");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(text in "(tcp:|unix:/)?[a-z0-9.:%/\\[\\]-]{0,20}") {
            if let Ok(Some(target)) = Target::parse(&text, Some(7)) {
                prop_assert_eq!(Target::parse(&target.to_string(), None), Ok(Some(target)));
            }
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_by_its_name() {
        let target = Target::Unix("/nowhere/at/all".into());
        let error = target.connect().await.err().unwrap().to_string();
        assert!(error.starts_with("unix:/nowhere/at/all: "), "{error}");
    }
}
