//! From a name to a connection.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::event::{Event, Events};
use super::failure::{Code, Failure};
use super::names::{Addresses, Names};

/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(10);

/// How long bytes may be under way to a broker that does not say it has them.
/// The kernel's own limit is a quarter of an hour, in which the user would
/// type into a dead window.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Silence of the broker after which it is asked whether it is there, and
/// between two such questions. An idle desktop is noticed to be gone in
/// [`QUESTIONS`] + 1 times this: then the client reconnects, before the user is
/// back at it.
const SILENCE: Duration = Duration::from_secs(10);

/// Questions without an answer after which the connection has failed.
const QUESTIONS: u32 = 3;

/// The head start of an address before the next one is tried beside it: a
/// name with a dead IPv6 address costs no more than this.
const STAGGER: Duration = Duration::from_millis(250);

/// A connection, and whether it leads to where the broker was before, as the
/// name service did not say where it is.
pub(super) struct Dialled {
    pub(super) stream: TcpStream,
    pub(super) is_remembered: bool,
}

/// Connects to the first address of `host` that answers. `names`: of a broker
/// that can prove that it is the one, wherever it is found.
pub(super) async fn dial(
    host: &str,
    port: u16,
    names: Option<&Names>,
    events: Events<'_>,
) -> Result<Dialled, Failure> {
    events(Event::Resolving {
        host: host.to_owned(),
    });
    let found = match names {
        Some(names) => names.of(host, port).await,
        None => Names::default().of(host, port).await,
    };
    let found = found.map_err(|why| {
        let message = format!("host {host} is not known: {why}");
        Failure::new(Code::UnknownHost, message)
    })?;
    let (addresses, is_remembered) = match found {
        Addresses::Found(addresses) => (addresses, false),
        Addresses::Remembered(address) => (vec![address], true),
    };
    let mut tries = JoinSet::new();
    let mut waiting = addresses.into_iter();
    let mut last = io::Error::from(io::ErrorKind::NotConnected);
    loop {
        if let Some(address) = waiting.next() {
            events(Event::Connecting { address });
            tries.spawn(async move { timeout(CONNECT, TcpStream::connect(address)).await });
        }
        let head_start = async {
            if waiting.len() == 0 {
                std::future::pending::<()>().await;
            } else {
                sleep(STAGGER).await;
            }
        };
        tokio::select! {
            () = head_start => {}
            ended = tries.join_next() => match ended {
                Some(Ok(Ok(Ok(stream)))) => {
                    // Keystrokes wait for nothing, and a dead broker is noticed.
                    let tuned = qvd_net::socket::tune(&stream)
                        .and_then(|()| qvd_net::socket::keep_alive(&stream, SILENCE, QUESTIONS))
                        .and_then(|()| {
                            qvd_net::socket::limit_unacknowledged(&stream, UNACKNOWLEDGED)
                        });
                    if let Err(error) = tuned {
                        tracing::debug!(%error, "socket options");
                    }
                    if let (Ok(address), Ok(own)) = (stream.peer_addr(), stream.local_addr()) {
                        events(Event::Reached { address, own });
                    }
                    return Ok(Dialled {
                        stream,
                        is_remembered,
                    });
                }
                Some(Ok(Ok(Err(error)))) => last = error,
                Some(Ok(Err(_))) => last = io::ErrorKind::TimedOut.into(),
                Some(Err(_)) => {}
                None if waiting.len() == 0 => {
                    let why = format!("cannot connect to {host} port {port}: {last}");
                    return Err(Failure::new(Code::ConnectFailed, why).because(last));
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_on_which_nobody_listens_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let failure = dial("127.0.0.1", port, None, &mut |_| {})
            .await
            .err()
            .unwrap();
        assert_eq!(failure.code(), Code::ConnectFailed);
        let start = format!("cannot connect to 127.0.0.1 port {port}: ");
        assert!(failure.to_string().starts_with(&start), "{failure}");
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_named() {
        let failure = dial("no-such-host.invalid", 1, None, &mut |_| {})
            .await
            .err()
            .unwrap();
        assert_eq!(failure.code(), Code::UnknownHost);
        assert!(
            failure.to_string().contains("no-such-host.invalid"),
            "{failure}"
        );
    }
}
