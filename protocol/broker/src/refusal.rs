use std::fmt;

use qvd_http1::{Response, Status};

use crate::credentials::basic_challenge;
use crate::one_line;

/// A broker's refusal: a status and the reason in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: Status,
    /// Why, in one line for the user.
    pub reason: String,
}

impl Refusal {
    /// A refusal with its reason.
    #[must_use]
    pub fn new(status: Status, reason: impl AsRef<str>) -> Self {
        Self {
            status,
            reason: one_line(reason.as_ref()),
        }
    }

    /// 403: a parameter a client may not send.
    #[must_use]
    pub fn parameter_not_allowed(key: &str) -> Self {
        Self::new(
            Status::FORBIDDEN,
            format!("parameter {key} is not allowed: names start with qvd.client. or custom."),
        )
    }

    /// The response a broker sends.
    #[must_use]
    pub fn to_response(&self) -> Response {
        let response = Response::text(self.status, &self.reason);
        if self.status == Status::UNAUTHORIZED {
            let (name, value) = basic_challenge();
            return response.header(name, value);
        }
        response
    }

    /// Reads a response that is no success, as a client does. The reason is
    /// the first line of the body that is more than the status itself.
    #[must_use]
    pub fn from_response(response: &Response) -> Self {
        let status = response.head.status;
        let body = String::from_utf8_lossy(&response.body);
        let bare = status.to_string();
        let reason = body
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && *line != bare);
        Self::new(status, reason.unwrap_or(&response.head.reason))
    }

    /// What the refusal means for the user.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        match self.status.code() {
            401 => Meaning::LoginRefused,
            403 => Meaning::NotAllowed,
            404 => Meaning::NotFound,
            408 | 504 => Meaning::TimedOut,
            409 => Meaning::TakenOver,
            426 => Meaning::UpgradeRequired,
            429 => Meaning::TooManyAttempts,
            400 | 405 | 411..=417 | 422 | 431 | 501 | 505 => Meaning::RequestRefused,
            _ => Meaning::Unavailable,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.status.code())
    }
}

/// What a refusal means for the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Meaning {
    /// 401: login or password is wrong, or the token has expired.
    LoginRefused,
    /// 403: the VM is blocked or another user's, or a parameter is not allowed.
    NotAllowed,
    /// 404: no such VM.
    NotFound,
    /// 408: the VM did not come up in time.
    TimedOut,
    /// 409: another client has the session that this one lost.
    TakenOver,
    /// 426: the broker wants an upgrade that was not asked for.
    UpgradeRequired,
    /// 429: too many failed logins.
    TooManyAttempts,
    /// The broker does not understand the request.
    RequestRefused,
    /// 500, 503: the VM or its session could not be started, or the host is blocked.
    Unavailable,
}
