//! `qvd-vma status` of who may not use the control socket: asks on the RPC port.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use qvd_config::VmaConfig;
use qvd_http1::{ResponseEvent, ResponseReader};
use qvd_rpc::{Call, MAX_REPLY, Reply, Waited};

use crate::control::Client;
use crate::ctl::{self, Answer, Ask};
use crate::settings::SessionPaths;

/// How long the daemon may take to answer.
const TIME: Duration = Duration::from_secs(5);

/// Prints what the running daemon says of itself and the session.
///
/// # Errors
/// When no daemon answers, or `json` is wanted by who may not know so much.
#[allow(clippy::print_stdout, reason = "for a command line program")]
pub fn print(config: &VmaConfig, json: bool) -> anyhow::Result<()> {
    let socket = SessionPaths::new(config).agent;
    let answer = ctl::ask(&socket, &Ask::Status, TIME, |_| {});
    let (state, reason, client) = match answer {
        Ok(Answer::Status(status)) if json => {
            println!("{}", serde_json::to_string_pretty(&status)?);
            return Ok(());
        }
        Ok(Answer::Status(status)) => (status.state, status.reason, status.client),
        Err(error) if json => {
            return Err(
                anyhow::Error::new(error).context(format!("no agent on {}", socket.display()))
            );
        }
        // Of another version, or for others than who asks.
        _ => {
            let waited = ask(config)?;
            (waited.state.to_string(), waited.reason, None)
        }
    };
    match reason {
        Some(reason) => println!("{state}: {reason}"),
        None => println!("{state}"),
    }
    if let Some(client) = client {
        println!("{}", describe(client));
    }
    Ok(())
}

/// A line about the session's client.
fn describe(client: Client) -> String {
    let place = if client.there { "there" } else { "away" };
    format!("the client has been {place} for {} s", client.seconds)
}

/// The session's state and, after a failure, its reason.
///
/// # Errors
/// When no daemon answers where the configuration says it listens.
fn ask(config: &VmaConfig) -> anyhow::Result<Waited> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_is_away_is_told_from_one_that_is_there() {
        let line = |there| describe(Client { there, seconds: 12 });
        assert_eq!(line(true), "the client has been there for 12 s");
        assert_eq!(line(false), "the client has been away for 12 s");
    }
}
