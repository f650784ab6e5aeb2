//! Syslog: the machine's own by RFC 3164 on its socket, another machine's by
//! RFC 5424 over UDP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use qvd_config::value::SyslogSocket;
use serde::{Deserialize, Serialize};

use super::record::Record;

/// Longest message, in bytes: what every receiver of UDP takes unfragmented on
/// a local network, and the default of local ones.
const MAX_MESSAGE: usize = 8 * 1024;

/// Between tries to find the address of a host, while the network comes up.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(10);

/// How a syslog is written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The name messages carry.
    pub ident: String,
    /// 0 to 23.
    pub facility: u8,
    /// Log4perl's pattern of the message.
    pub pattern: Option<String>,
    /// The socket.
    pub to: To,
}

/// Where a syslog is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum To {
    /// On this machine.
    Local(PathBuf),
    /// On another one.
    Udp(String, u16),
}

impl From<&SyslogSocket> for To {
    fn from(socket: &SyslogSocket) -> Self {
        match socket {
            SyslogSocket::Udp { host, port } => Self::Udp(host.clone(), *port),
            SyslogSocket::Local(path) => Self::Local(path.clone()),
            _ => Self::Local("/dev/log".into()),
        }
    }
}

/// An open way to a syslog.
#[derive(Debug)]
pub struct Syslog {
    settings: Settings,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Local(UnixDatagram),
    Udp {
        socket: UdpSocket,
        address: Arc<OnceLock<SocketAddr>>,
    },
}

impl Syslog {
    /// Opens the way. Whether anybody listens is seen with the first message:
    /// syslog may be started, or restarted, later.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn open(settings: Settings) -> io::Result<Self> {
        let socket = match &settings.to {
            To::Local(_) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                Socket::Local(socket)
            }
            To::Udp(host, port) => {
                let (address, ipv6) = look_up(host, *port);
                let any: IpAddr = if ipv6 {
                    Ipv6Addr::UNSPECIFIED.into()
                } else {
                    Ipv4Addr::UNSPECIFIED.into()
                };
                let socket = UdpSocket::bind((any, 0))?;
                socket.set_nonblocking(true)?;
                Socket::Udp { socket, address }
            }
        };
        Ok(Self { settings, socket })
    }

    /// Sends a record.
    ///
    /// # Errors
    /// When nobody takes it at once.
    pub fn send(&self, record: &Record) -> io::Result<()> {
        let message = self.message(record);
        match (&self.socket, &self.settings.to) {
            (Socket::Local(socket), To::Local(path)) => {
                socket.send_to(&message, path)?;
            }
            (Socket::Udp { socket, address }, _) => {
                let address = address.get().ok_or(io::ErrorKind::HostUnreachable)?;
                socket.send_to(&message, address)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn message(&self, record: &Record) -> Vec<u8> {
        let settings = &self.settings;
        let ident = &settings.ident;
        let priority = u32::from(settings.facility) * 8 + u32::from(record.severity());
        let pid = std::process::id();
        let text = match &settings.pattern {
            Some(pattern) => record.formatted(pattern),
            None => record.text(),
        };
        let text = text.trim_end();
        let message = match settings.to {
            To::Local(_) => {
                let time = record.moment.rfc3164();
                format!("<{priority}>{time} {ident}[{pid}]: {text}")
            }
            To::Udp(..) => {
                let time = record.moment.rfc3339();
                let name = rustix::system::uname();
                let host = name.nodename().to_str().unwrap_or("-");
                format!("<{priority}>1 {time} {host} {ident} {pid} - - {text}")
            }
        };
        let mut message = message.into_bytes();
        message.truncate(MAX_MESSAGE);
        message
    }
}

/// The address of a host, at once where it is written as one. A name is looked
/// up beside everything else, and again until it is found: when the agent
/// starts, the network may not be there yet.
fn look_up(host: &str, port: u16) -> (Arc<OnceLock<SocketAddr>>, bool) {
    let found = Arc::new(OnceLock::new());
    if let Ok(ip) = host.parse::<IpAddr>() {
        let _ = found.set(SocketAddr::new(ip, port));
        return (found, ip.is_ipv6());
    }
    let host = host.to_owned();
    let result = Arc::downgrade(&found);
    let look = move || {
        // Until nobody wants to know any more.
        while let Some(found) = result.upgrade() {
            let all = (host.as_str(), port).to_socket_addrs();
            if let Some(address) = all.ok().and_then(|mut all| all.find(SocketAddr::is_ipv4)) {
                let _ = found.set(address);
                return;
            }
            drop(found);
            pause();
        }
    };
    // Without a thread the log goes elsewhere, where that is said.
    let _ = std::thread::Builder::new()
        .name("syslog host".into())
        .spawn(look);
    (found, false)
}

#[allow(
    clippy::disallowed_methods,
    reason = "nothing tells that a name can be found now"
)]
fn pause() {
    std::thread::sleep(LOOK_UP_AGAIN);
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::example;
    use super::*;

    fn settings(to: To) -> Settings {
        Settings {
            ident: "qvd-vma".into(),
            facility: 3,
            pattern: None,
            to,
        }
    }

    #[test]
    fn the_machines_own_gets_what_it_expects() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let syslog = Syslog::open(settings(To::Local(path.clone()))).unwrap();
        syslog.send(&example()).unwrap_err();
        let receiver = UnixDatagram::bind(&path).unwrap();
        syslog.send(&example()).unwrap();
        let mut got = [0; 1024];
        let length = receiver.recv(&mut got).unwrap();
        let pid = std::process::id();
        assert_eq!(
            String::from_utf8_lossy(&got[..length]),
            format!(
                "<28>Feb 29 00:00:05 qvd-vma[{pid}]: session=ab12 cannot\\x0abe done user=\"ann\""
            )
        );
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the address is looked up by a thread of its own"
    )]
    #[test]
    fn another_machines_gets_a_whole_time_and_the_host() {
        for host in ["127.0.0.1", "localhost"] {
            let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
            receiver
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            let port = receiver.local_addr().unwrap().port();
            let syslog = Syslog::open(settings(To::Udp(host.into(), port))).unwrap();
            while syslog.send(&example()).is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let mut got = [0; 1024];
            let length = receiver.recv(&mut got).unwrap();
            let got = String::from_utf8_lossy(&got[..length]);
            assert!(
                got.starts_with("<28>1 2000-02-29T00:00:05.000000Z "),
                "{got}"
            );
            assert!(got.contains(" qvd-vma "), "{got}");
        }
    }
}
