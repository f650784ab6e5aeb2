//! `vnc_connect`: an administrator looks at the session.
//!
//! The daemon answers the upgrade and hands the connection to the session
//! process, which asks the user and runs x11vnc as the user. Only where the
//! connection is encrypted do its bytes go through the daemon, which holds the
//! key.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use qvd_config::VmaConfig;
use qvd_http1::{RequestHead, Response, ResponseHead, Status};
use qvd_net::http::{Error, ServerConnection};
use qvd_rpc::SessionState;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::core::Input;
use super::places::Place;
use super::rpc::{Caller, Handle};
use crate::control::{Command, Vnc};

/// How long the session process may take to say whether the session may be
/// seen: the user's time to answer, and a little more.
const ANSWER: Duration = Duration::from_secs(crate::control::VNC_CONFIRM.as_secs() + 10);

/// What the core is asked.
pub enum Ask {
    /// May the session be seen? The answer has a number for the next question.
    May(oneshot::Sender<Result<u64, Refusal>>),
    /// Show it on this connection.
    Show(u64, OwnedFd),
}

/// Why the session is not shown.
#[derive(Debug)]
pub enum Refusal {
    /// The user does not want it.
    Denied(String),
    /// It cannot be.
    Unable(String),
}

/// Whether a request is for this.
#[must_use]
pub fn is_asked(head: &RequestHead) -> bool {
    head.method == "GET" && head.path() == b"/vma/vnc_connect"
}

/// Answers up to the 101: the number by which the connection can be handed
/// over, or the response with which the request is refused.
///
/// # Errors
/// When the caller has gone.
pub async fn prepare(
    head: &RequestHead,
    connection: &mut ServerConnection<Caller>,
    handle: &Handle,
) -> Result<Result<u64, Response>, Error> {
    if !head.headers.asks_upgrade_to("VNC") {
        let refused = Response::text(
            Status::UPGRADE_REQUIRED,
            "VNC is spoken here after an upgrade",
        );
        return Ok(Err(refused.header("Upgrade", "VNC")));
    }
    let state = handle.state.borrow().state;
    if !matches!(state, SessionState::Connected | SessionState::Suspended) {
        let reason = format!("the session is {state}");
        return Ok(Err(Response::text(Status::SERVICE_UNAVAILABLE, &reason)));
    }
    connection
        .respond_head(&ResponseHead::new(Status::PROCESSING))
        .await?;
    let (reply, answered) = oneshot::channel();
    let _ = handle.input.send(Input::Vnc(Ask::May(reply)));
    let answer = tokio::select! {
        answer = timeout(ANSWER, answered) => answer,
        // Nothing is to be said before the 101: whoever does speaks no RFB.
        _ = connection.peer_stays() => return Err(Error::Truncated),
    };
    let refused = match answer {
        Ok(Ok(Ok(number))) => {
            let joined = ResponseHead::new(Status::SWITCHING_PROTOCOLS)
                .header("Connection", "Upgrade")
                .header("Upgrade", "VNC");
            connection.respond_head(&joined).await?;
            return Ok(Ok(number));
        }
        Ok(Ok(Err(Refusal::Denied(reason)))) => Response::text(Status::FORBIDDEN, &reason),
        Ok(Ok(Err(Refusal::Unable(reason)))) => {
            Response::text(Status::SERVICE_UNAVAILABLE, &reason)
        }
        Ok(Err(_)) => Response::text(Status::SERVICE_UNAVAILABLE, "the session has ended"),
        Err(_) => Response::text(Status::SERVICE_UNAVAILABLE, "the session does not answer"),
    };
    Ok(Err(refused))
}

/// Hands the connection over, and carries its bytes where it is encrypted.
///
/// # Errors
/// When it cannot be handed over.
pub async fn hand_over(
    number: u64,
    connection: ServerConnection<Caller>,
    place: &Place,
    handle: &Handle,
) -> Result<(), Error> {
    let show = |fd: OwnedFd| {
        let _ = handle.input.send(Input::Vnc(Ask::Show(number, fd)));
    };
    let (caller, rest) = connection.into_parts();
    let mut stream = match caller {
        // The server speaks first, so there is no rest.
        Caller::Plain(stream) if rest.is_empty() => {
            let stream = stream.into_std()?;
            stream.set_nonblocking(false)?;
            show(stream.into());
            return Ok(());
        }
        other => other,
    };
    let (own, other) = std::os::unix::net::UnixStream::pair()?;
    own.set_nonblocking(true)?;
    let mut own = UnixStream::from_std(own)?;
    show(other.into());
    own.write_all(&rest).await?;
    // It is at work for as long as it lasts.
    place.heard(true);
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut own).await;
    Ok(())
}

/// The core's part: which questions the session process has been asked.
#[derive(Default)]
pub struct Questions {
    last: u64,
    open: BTreeMap<u64, oneshot::Sender<Result<u64, Refusal>>>,
}

impl Questions {
    /// The command that asks the session process, or nothing when the answer
    /// is known already, and has been given.
    pub fn ask(
        &mut self,
        reply: oneshot::Sender<Result<u64, Refusal>>,
        state: SessionState,
        config: &VmaConfig,
    ) -> Option<Command> {
        let confirm = config.channel.x11vnc_confirm;
        let refusal = match state {
            SessionState::Connected => None,
            SessionState::Suspended if !confirm => None,
            SessionState::Suspended => Some("the user is not there to be asked".to_owned()),
            state => Some(format!("the session is {state}")),
        };
        if let Some(reason) = refusal {
            let _ = reply.send(Err(Refusal::Unable(reason)));
            return None;
        }
        // Those who have gone meanwhile need no answer.
        self.open.retain(|_, reply| !reply.is_closed());
        self.last += 1;
        self.open.insert(self.last, reply);
        let command = config.channel.x11vnc_confirm_command.as_ref();
        Some(Command::VncAsk {
            number: self.last,
            program: config.command.x11vnc.as_path().to_owned(),
            confirm,
            command: command.map(|command| command.as_path().to_owned()),
        })
    }

    /// Takes the answer of the session process.
    pub fn answered(&mut self, number: u64, answer: Vnc) {
        let Some(reply) = self.open.remove(&number) else {
            return;
        };
        let _ = reply.send(match answer {
            Vnc::Allowed => Ok(number),
            Vnc::Denied { reason } => Err(Refusal::Denied(reason)),
            Vnc::Unable { reason } => Err(Refusal::Unable(reason)),
        });
    }

    /// The session is over: nobody answers any more.
    pub fn clear(&mut self) {
        self.open.clear();
    }
}

/// The command that shows the session on the connection that goes with it.
#[must_use]
pub fn show(number: u64, config: &VmaConfig) -> Command {
    Command::VncShow {
        number,
        program: config.command.x11vnc.as_path().to_owned(),
        arguments: config.channel.x11vnc_args.as_slice().to_vec(),
    }
}
