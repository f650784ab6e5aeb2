//! Running a session in an engine.

use nx_proxy::{Ending, Engine, Error, NxStream, Order, Session};
use tokio::sync::watch;

use super::event::{Event, Events};
use super::failure::{Code, Failure};

/// How a session ended in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The user left it; it can be resumed.
    Suspended,
    /// The user left it while its connection was lost: it is kept, and suspended
    /// when the agent's patience is over. It can be resumed at once.
    Left,
    /// The other end closed it: logged out, stopped or suspended from
    /// elsewhere.
    Closed,
}

/// Runs a session until it ends. An [`Order`] through `orders` has it left.
///
/// # Errors
/// When it does not come up, or does not end in order.
pub async fn run_session(
    engine: &dyn Engine,
    stream: NxStream,
    session: &Session,
    events: Events<'_>,
    orders: watch::Receiver<Order>,
) -> Result<Outcome, Failure> {
    events(Event::Opening);
    let mut started = false;
    let mut translate = |event: nx_proxy::Event| match event {
        nx_proxy::Event::Started => {
            started = true;
            events(Event::Connected);
        }
        nx_proxy::Event::SlaveListening(socket) => events(Event::SlaveListening(socket)),
        nx_proxy::Event::Ending => events(Event::Leaving),
        nx_proxy::Event::Log(line) => tracing::debug!(target: "nx", "{line}"),
        other => tracing::debug!(target: "nx", "{other:?}"),
    };
    let ended = engine.run(stream, session, &mut translate, orders).await;
    match ended {
        Ok(Ending::Suspended) if started => Ok(Outcome::Suspended),
        Ok(Ending::Suspended) => Err(interrupted()),
        Ok(_) => Ok(Outcome::Closed),
        Err(error) => Err(engine_failed(error)),
    }
}

/// The user gave up before there was a session.
pub(super) fn interrupted() -> Failure {
    Failure::new(Code::Interrupted, "interrupted")
}

/// An engine's error.
pub(super) fn engine_failed(error: Error) -> Failure {
    let code = match &error {
        Error::NoDisplay
        | Error::DisplayMissing { .. }
        | Error::DisplayClosed { .. }
        | Error::DisplayRefused { .. } => Code::Display,
        Error::Lost { .. } => Code::SessionLost,
        Error::ClosedEarly | Error::NotLetIn { .. } => Code::VmUnavailable,
        Error::NotUp { .. } | Error::Unheard { .. } => Code::TimedOut,
        _ => Code::Engine,
    };
    Failure::new(code, error.to_string()).because(error)
}
