use std::time::Duration;

use qvd_http1::{RequestHead, query};

use crate::{Error, Parameters, SessionState};

/// Longest time an agent keeps an `x_wait` open.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// A call to the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// Is the agent there?
    Ping,
    /// The state of the session.
    XState,
    /// Starts or resumes the session with these properties.
    XStart(Parameters),
    /// Suspends the session.
    XSuspend,
    /// Ends the session.
    XStop,
    /// Switches the VM off.
    Poweroff,
    /// Tells the user's session that the disk image has expired.
    Expire,
    /// Ours beside the reference's: answers as soon as the state differs from
    /// `seen`, or with the same state when `timeout` is over. A reference
    /// agent answers 404, and its caller polls `x_state` instead.
    XWait {
        /// The state the caller knows of; `None` is answered at once.
        seen: Option<SessionState>,
        /// How long to wait, at most [`MAX_WAIT`].
        timeout: Duration,
    },
}

impl Call {
    /// The method's name on the wire.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::XState => "x_state",
            Self::XStart(_) => "x_start",
            Self::XSuspend => "x_suspend",
            Self::XStop => "x_stop",
            Self::Poweroff => "poweroff",
            Self::Expire => "expire",
            Self::XWait { .. } => "x_wait",
        }
    }

    /// Reads a call from a request, as the agent does.
    ///
    /// # Errors
    /// [`Error::NoSuchMethod`] and [`Error::Parameters`], to be answered with
    /// [`Error::response`].
    pub fn from_request(head: &RequestHead) -> Result<Self, Error> {
        let method = head
            .path()
            .strip_prefix(b"/vma/")
            .ok_or(Error::NoSuchMethod)?;
        if head.method != "GET" {
            return Err(Error::NoSuchMethod);
        }
        Ok(match method {
            b"ping" => Self::Ping,
            b"x_state" => Self::XState,
            b"x_start" => Self::XStart(parameters(head)?),
            b"x_suspend" => Self::XSuspend,
            b"x_stop" => Self::XStop,
            b"poweroff" => Self::Poweroff,
            b"expire" => Self::Expire,
            b"x_wait" => wait(&parameters(head)?)?,
            _ => return Err(Error::NoSuchMethod),
        })
    }

    /// Writes the call as a request, as the broker does.
    #[must_use]
    pub fn to_request(&self) -> RequestHead {
        let query = match self {
            Self::XStart(parameters) => query::write(parameters.iter()),
            Self::XWait { seen, timeout } => {
                let timeout = timeout.as_millis().to_string();
                let seen = seen.map(|state| ("state", state.as_str()));
                query::write(seen.into_iter().chain([("timeout", timeout.as_str())]))
            }
            _ => String::new(),
        };
        let path = format!("/vma/{}", self.method());
        let target = if query.is_empty() {
            path
        } else {
            format!("{path}?{query}")
        };
        RequestHead::new("GET", target)
    }
}

fn parameters(head: &RequestHead) -> Result<Parameters, Error> {
    let pairs = query::parse(head.query()).map_err(|e| Error::Parameters(e.to_string()))?;
    Ok(pairs.into())
}

fn wait(parameters: &Parameters) -> Result<Call, Error> {
    let seen = parameters
        .value("state")
        .map(str::parse)
        .transpose()
        .map_err(|_| Error::Parameters("state: unknown session state".into()))?;
    let timeout = match parameters.value("timeout") {
        None => MAX_WAIT,
        Some(ms) => {
            let ms = ms
                .parse()
                .map_err(|_| Error::Parameters("timeout: not a number of milliseconds".into()))?;
            Duration::from_millis(ms).min(MAX_WAIT)
        }
    };
    Ok(Call::XWait { seen, timeout })
}
