//! The connection between the two ends, made from this one or taken.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixStream, lookup_host};
use tokio::time::{sleep, timeout};

use super::report::Report;
use super::settings::{Link, Place, shown};
use crate::channels::UserSocket;
use crate::quiet::Quiet;
use crate::{NxStream, Target};

/// For one try to connect.
const CONNECT: Duration = Duration::from_secs(30);

/// Between two tries: the agent's port opens late.
const PAUSE: Duration = Duration::from_secs(1);

/// For the address of a host.
const LOOK_UP: Duration = Duration::from_secs(30);

/// Brings the two ends together.
///
/// # Errors
/// Why they do not come together, as a sentence.
pub(super) async fn made(link: &Link, report: &mut Report) -> Result<NxStream, String> {
    match link {
        Link::Connect(target, tries) => connect(target, *tries, report).await,
        Link::Listen { at, accept } => listen(at, accept.as_deref(), report).await,
    }
}

async fn connect(target: &Target, tries: u32, report: &mut Report) -> Result<NxStream, String> {
    let name = match target {
        Target::Tcp { host, port } => format!("{host}:{port}"),
        Target::Unix(path) => format!("unix:{}", path.display()),
    };
    if let Target::Tcp { host, port } = target {
        // A name that is none will not become one.
        addresses(host, *port).await?;
    }
    let mut left = tries;
    loop {
        report.info(&format!("Connecting to remote host '{name}'."));
        left = left.saturating_sub(1);
        let tried = timeout(CONNECT, once(target)).await;
        match tried.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok((stream, descriptor)) => {
                report.info(&format!("Connected to remote proxy on FD#{descriptor}."));
                return Ok(stream);
            }
            Err(error) if left == 0 => {
                let number = error.raw_os_error().unwrap_or(0);
                let words = error.to_string();
                let words = self::words(&words);
                return Err(format!(
                    "Connection to '{name}' failed. Error is {number} '{words}'"
                ));
            }
            Err(error) => tracing::debug!(%error, "not connected yet"),
        }
        sleep(PAUSE).await;
    }
}

async fn once(target: &Target) -> io::Result<(NxStream, i32)> {
    match target {
        Target::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            let descriptor = stream.as_raw_fd();
            Ok((NxStream::new(Quiet::new(stream)?, Vec::new()), descriptor))
        }
        Target::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            let descriptor = stream.as_raw_fd();
            Ok((NxStream::new(stream, Vec::new()), descriptor))
        }
    }
}

async fn addresses(host: &str, port: u16) -> Result<Vec<IpAddr>, String> {
    let found = timeout(LOOK_UP, lookup_host((host, port))).await;
    match found {
        Ok(Ok(all)) => Ok(all.map(|address| address.ip().to_canonical()).collect()),
        _ => Err(format!("Unknown remote host '{}'", shown(host))),
    }
}

/// Takes one connection, and no other after it.
async fn listen(at: &Place, accept: Option<&str>, report: &mut Report) -> Result<NxStream, String> {
    let admitted = match accept {
        Some(host) => Some(addresses(host, 0).await?),
        None => None,
    };
    let from = accept.map_or("any host".to_owned(), |host| format!("'{}'", shown(host)));
    match at {
        Place::Unix(path) => {
            let named = |error: io::Error| format!("unix:{}: {error}", path.display());
            let socket = UserSocket::bind(path).map_err(|error| error.to_string())?;
            report.info(&format!(
                "Waiting for connection from {from} on socket 'unix:{}'.",
                path.display()
            ));
            let stream = loop {
                match socket.accept().await {
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        report.warning(&format!("Refusing connection: {error}."));
                    }
                    taken => break taken.map_err(named)?,
                }
            };
            // Nobody else is to find it.
            drop(socket);
            report.info("Accepted connection from this host.");
            let stream = Quiet::new(stream).map_err(named)?;
            Ok(NxStream::new(stream, Vec::new()))
        }
        Place::Tcp { port, loopback } => {
            let named = |error: io::Error| format!("tcp:{port}: {error}");
            let listener = bind(*port, *loopback).await.map_err(named)?;
            let port = listener.local_addr().map_err(named)?.port();
            let interface = if *loopback { "localhost" } else { "*" };
            report.info(&format!(
                "Waiting for connection from {from} on socket 'tcp:{interface}:{port}'."
            ));
            loop {
                let (stream, peer) = listener.accept().await.map_err(named)?;
                let peer = peer.ip().to_canonical();
                let is_one = admitted.as_ref().is_none_or(|all| all.contains(&peer));
                if !is_one {
                    report.warning(&format!("Refusing connection from host '{peer}'."));
                    continue;
                }
                report.info(&format!("Accepted connection from '{peer}'."));
                stream.set_nodelay(true).map_err(named)?;
                return Ok(NxStream::new(stream, Vec::new()));
            }
        }
    }
}

/// On both kinds of addresses, where the machine has both.
async fn bind(port: u16, loopback: bool) -> io::Result<TcpListener> {
    if loopback {
        return TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    }
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
    }
}

/// The system's words for an error, without their number.
pub(super) fn words(error: &str) -> &str {
    error
        .split_once(" (os error")
        .map_or(error, |(words, _)| words)
}
