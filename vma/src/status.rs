//! `qvd-vma status`: asks the running daemon.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use qvd_config::VmaConfig;
use qvd_http1::{ResponseEvent, ResponseReader};
use qvd_rpc::{Call, MAX_REPLY, Reply, Waited};

/// How long the daemon may take to answer.
const TIME: Duration = Duration::from_secs(5);

/// The session's state and, after a failure, its reason.
///
/// # Errors
/// When no daemon answers where the configuration says it listens.
pub fn ask(config: &VmaConfig) -> anyhow::Result<Waited> {
    use anyhow::Context as _;
    let address = match config.rpc.address {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    let address = SocketAddr::new(address, config.rpc.port);
    let mut stream = TcpStream::connect_timeout(&address, TIME)
        .with_context(|| format!("no agent answers on {address}"))?;
    stream.set_read_timeout(Some(TIME))?;
    stream.set_write_timeout(Some(TIME))?;
    let call = Call::XWait {
        seen: None,
        timeout: Duration::ZERO,
    };
    let mut request = Vec::new();
    call.to_request()
        .header("Connection", "close")
        .write(&mut request)?;
    stream.write_all(&request)?;
    let mut reader = ResponseReader::new(MAX_REPLY);
    let mut chunk = [0; 1024];
    loop {
        match reader.poll()? {
            Some(ResponseEvent::Response(response)) => {
                return match Reply::from_response(&response)? {
                    Reply::Waited(waited) => Ok(waited),
                    other => anyhow::bail!("unexpected answer {other:?}"),
                };
            }
            Some(_) => {}
            None => match stream.read(&mut chunk)? {
                0 => reader.receive_end(),
                n => reader.receive(chunk.get(..n).unwrap_or_default()),
            },
        }
    }
}
