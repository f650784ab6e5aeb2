//! Starting and stopping the session of a VM.

use std::time::Duration;

use qvd_rpc::{Call, Parameters, Reply, SessionState};
use tokio::time::Instant;

use super::{Agent, CallError};

/// Time between two questions to an agent that does not know `x_wait`.
const POLL: Duration = Duration::from_millis(100);

/// How long one `x_wait` takes at most; then it is asked again.
const WAIT: Duration = Duration::from_secs(30);

/// Between two tries to start a session whose state does not change.
const RETRY: Duration = Duration::from_secs(1);

/// For a session to stop: the agent itself ends it by force after 20 s.
const STOPPING: Duration = Duration::from_secs(60);

/// How long a session may take, and how often it is tried.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Calls of `x_start` before giving up.
    pub tries: u32,
    /// For the session to be `listening`; provisioning does not count.
    pub listening: Duration,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartFailure {
    /// The agent could not be asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The agent could not start it; its words.
    #[error("its session cannot be started: {0}")]
    Refused(String),
    /// It ended while it was starting.
    #[error("its session ended at once: {0}")]
    Ended(String),
    /// It did not come up in time.
    #[error("its session is still {0}")]
    TimedOut(SessionState),
}

/// Starts or resumes the session. `waiting` is called once it was told to
/// start. Returns when a connection to its port will be served: whether the
/// agent will speak the carrier on it, as far as it says.
///
/// # Errors
/// See [`StartFailure`].
pub async fn start(
    agent: &mut Agent<'_>,
    parameters: Parameters,
    limits: Limits,
    waiting: impl Fn(),
) -> Result<bool, StartFailure> {
    let mut events = Events {
        agent,
        knows_wait: true,
        carrier: false,
    };
    let first = events.ask_state().await?;
    let call = Call::XStart(parameters);
    let state = events.call_start(&call, first, limits.tries).await?;
    waiting();
    events.until_listening(state, limits.listening).await?;
    Ok(events.carrier)
}

/// Stops the session and waits until it is.
///
/// # Errors
/// See [`StartFailure`].
pub async fn stop(agent: &mut Agent<'_>) -> Result<(), StartFailure> {
    let mut events = Events {
        agent,
        knows_wait: true,
        carrier: false,
    };
    let mut state = match events.agent.call(&Call::XStop).await? {
        Reply::Failure(message) => return Err(StartFailure::Refused(message)),
        Reply::State(state) => state,
        other => return Err(unexpected(&other).into()),
    };
    let deadline = Instant::now() + STOPPING;
    while state != SessionState::Stopped {
        state = match events.change(state, deadline).await? {
            Some((state, _)) => state,
            None => return Err(StartFailure::TimedOut(state)),
        };
    }
    Ok(())
}

/// Changes of a session's state, by `x_wait` or else by polling.
struct Events<'a, 'b> {
    agent: &'a mut Agent<'b>,
    knows_wait: bool,
    /// Whether the agent will speak the carrier, as it said last.
    carrier: bool,
}

impl Events<'_, '_> {
    /// Calls `x_start` until the agent takes it. A session that is connected,
    /// or on its way somewhere, is waited for: the agent says so by failing.
    async fn call_start(
        &mut self,
        call: &Call,
        mut state: SessionState,
        tries: u32,
    ) -> Result<SessionState, StartFailure> {
        let mut left = tries;
        loop {
            let message = match self.agent.call(call).await? {
                Reply::State(state) => return Ok(state),
                Reply::Failure(message) => message,
                other => return Err(unexpected(&other).into()),
            };
            left = left.saturating_sub(1);
            let now = self.ask_state().await?;
            let at_rest = |state| matches!(state, SessionState::Stopped | SessionState::Suspended);
            let transient = message.contains("retry later") || !at_rest(state) || !at_rest(now);
            if left == 0 || !transient {
                return Err(StartFailure::Refused(message));
            }
            tracing::debug!(%message, state = %now, "the session cannot start yet");
            state = now;
            if !at_rest(now) {
                let next = self.change(now, Instant::now() + RETRY).await?;
                state = next.map_or(now, |(state, _)| state);
            }
        }
    }

    async fn until_listening(
        &mut self,
        mut state: SessionState,
        limit: Duration,
    ) -> Result<(), StartFailure> {
        let mut deadline = Instant::now() + limit;
        let mut reason = None;
        loop {
            match state {
                SessionState::Listening => return Ok(()),
                SessionState::Starting => {}
                // Takes as long as it takes; what comes after it has all its time.
                SessionState::Provisioning => deadline = Instant::now() + WAIT,
                // The failure has happened; what follows is the cleaning up.
                SessionState::Stopping | SessionState::Suspending if reason.is_none() => {}
                _ => {
                    let reason = reason.unwrap_or_else(|| format!("its state is {state}"));
                    return Err(StartFailure::Ended(reason));
                }
            }
            match self.change(state, deadline).await? {
                Some((next, why)) => {
                    if state == SessionState::Provisioning && next == SessionState::Starting {
                        deadline = Instant::now() + limit;
                    }
                    (state, reason) = (next, why);
                }
                None if state == SessionState::Provisioning => {}
                None => return Err(StartFailure::TimedOut(state)),
            }
        }
    }

    /// Waits until the state is another than `seen`: that state, and why the
    /// last start failed if the agent says so. `None` at the deadline.
    async fn change(
        &mut self,
        seen: SessionState,
        deadline: Instant,
    ) -> Result<Option<(SessionState, Option<String>)>, CallError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            if self.knows_wait {
                let call = Call::XWait {
                    seen: Some(seen),
                    timeout: left.min(WAIT),
                };
                match self.agent.call(&call).await {
                    Ok(Reply::Waited(waited)) if waited.state == seen => continue,
                    Ok(Reply::Waited(waited)) => {
                        self.carrier = waited.carrier == Some(true);
                        return Ok(Some((waited.state, waited.reason)));
                    }
                    Ok(other) => return Err(unexpected(&other)),
                    Err(error) if error.is_unknown_method() => self.knows_wait = false,
                    Err(error) => return Err(error),
                }
            } else {
                tokio::time::sleep(left.min(POLL)).await;
            }
            let now = self.ask_state().await?;
            if now != seen {
                return Ok(Some((now, None)));
            }
        }
    }

    async fn ask_state(&mut self) -> Result<SessionState, CallError> {
        match self.agent.call(&Call::XState).await? {
            Reply::State(state) => Ok(state),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(reply: &Reply) -> CallError {
    let text = match reply {
        Reply::Failure(message) => message.clone(),
        _ => "an answer to another call".to_owned(),
    };
    qvd_rpc::Error::Reply(text).into()
}
