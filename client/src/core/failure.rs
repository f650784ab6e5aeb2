use std::fmt;

use qvd_broker::{Meaning, Refusal};

/// What went wrong, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// A fault of the client's own.
    Internal,
    /// The command line cannot be understood.
    Usage,
    /// A configuration file is faulty.
    Config,
    /// The broker's name is not known.
    UnknownHost,
    /// Nobody answers at the broker's address.
    ConnectFailed,
    /// The broker's certificate is not trusted, or TLS failed.
    Certificate,
    /// Login or password is wrong.
    LoginRefused,
    /// The VM is blocked or another user's.
    NotAllowed,
    /// There is no such VM.
    NoSuchVm,
    /// The VM or its session could not be started.
    VmUnavailable,
    /// The VM did not come up in time.
    TimedOut,
    /// The broker does not take the request.
    RequestRefused,
    /// The broker does not speak the protocol.
    Protocol,
    /// What draws the session is missing or failed.
    Engine,
    /// The user's display cannot be used.
    Display,
    /// The connection broke while the session was running.
    SessionLost,
    /// Which VM to connect to is not clear.
    VmChoice,
    /// There is no password, and nobody to ask.
    NoPassword,
    /// The user gave up before there was a session.
    Interrupted,
}

impl Code {
    /// Every code, in the order of their exit statuses.
    pub const ALL: [Self; 19] = [
        Self::Internal,
        Self::Usage,
        Self::Config,
        Self::UnknownHost,
        Self::ConnectFailed,
        Self::Certificate,
        Self::LoginRefused,
        Self::NotAllowed,
        Self::NoSuchVm,
        Self::VmUnavailable,
        Self::TimedOut,
        Self::RequestRefused,
        Self::Protocol,
        Self::Engine,
        Self::Display,
        Self::SessionLost,
        Self::VmChoice,
        Self::NoPassword,
        Self::Interrupted,
    ];

    /// The word in logs and `--json` output. It does not change.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::Config => "config",
            Self::UnknownHost => "unknown-host",
            Self::ConnectFailed => "connect-failed",
            Self::Certificate => "certificate",
            Self::LoginRefused => "login-refused",
            Self::NotAllowed => "not-allowed",
            Self::NoSuchVm => "no-such-vm",
            Self::VmUnavailable => "vm-unavailable",
            Self::TimedOut => "timed-out",
            Self::RequestRefused => "request-refused",
            Self::Protocol => "protocol",
            Self::Engine => "engine",
            Self::Display => "display",
            Self::SessionLost => "session-lost",
            Self::VmChoice => "vm-choice",
            Self::NoPassword => "no-password",
            Self::Interrupted => "interrupted",
        }
    }

    /// The exit status of a program that ends with this.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::UnknownHost => 10,
            Self::ConnectFailed => 11,
            Self::Certificate => 12,
            Self::LoginRefused => 13,
            Self::NotAllowed => 14,
            Self::NoSuchVm => 15,
            Self::VmUnavailable => 16,
            Self::TimedOut => 17,
            Self::RequestRefused => 18,
            Self::Protocol => 19,
            Self::Engine => 20,
            Self::Display => 21,
            Self::SessionLost => 22,
            Self::VmChoice => 23,
            Self::NoPassword => 24,
            // As a shell says of a program that Ctrl-C ended.
            Self::Interrupted => 130,
        }
    }

    /// What it means, for a table.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Internal => "a fault of the client's own",
            Self::Usage => "the command line cannot be understood",
            Self::Config => "a configuration file is faulty",
            Self::UnknownHost => "the broker's name is not known",
            Self::ConnectFailed => "nobody answers at the broker's address",
            Self::Certificate => "the broker's certificate is not trusted",
            Self::LoginRefused => "login or password is wrong",
            Self::NotAllowed => "the VM is blocked or another user's",
            Self::NoSuchVm => "there is no such VM",
            Self::VmUnavailable => "the VM or its session could not be started",
            Self::TimedOut => "the VM did not come up in time",
            Self::RequestRefused => "the broker does not take the request",
            Self::Protocol => "the broker does not speak the protocol",
            Self::Engine => "nxproxy is missing or failed",
            Self::Display => "the display cannot be used",
            Self::SessionLost => "the connection broke while the session was running",
            Self::VmChoice => "it is not clear which VM is meant",
            Self::NoPassword => "there is no password and nobody to ask",
            Self::Interrupted => "interrupted before there was a session",
        }
    }
}

/// Why the client ends otherwise than in order.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    message: String,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    /// A failure and its sentence for the user: lower case, no full stop.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            cause: None,
        }
    }

    /// The same failure with what caused it, for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// What went wrong, for programs.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The sentence and all its causes, for the log.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = self.cause.as_deref().map(|c| c as &dyn std::error::Error);
        while let Some(error) = cause {
            let words = error.to_string();
            if !text.ends_with(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause
            .as_deref()
            .map(|c| c as &(dyn std::error::Error + 'static))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.meaning() {
            Meaning::LoginRefused | Meaning::TooManyAttempts => Code::LoginRefused,
            Meaning::NotAllowed => Code::NotAllowed,
            Meaning::NotFound => Code::NoSuchVm,
            Meaning::TimedOut => Code::TimedOut,
            Meaning::Unavailable => Code::VmUnavailable,
            _ => Code::RequestRefused,
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<qvd_broker::Error> for Failure {
    fn from(error: qvd_broker::Error) -> Self {
        let code = match error {
            qvd_broker::Error::LoginWithColon => Code::Usage,
            _ => Code::Protocol,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use qvd_http1::Status;

    use super::*;

    #[test]
    fn codes_and_exit_statuses_are_distinct() {
        let words: BTreeSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        let statuses: BTreeSet<_> = Code::ALL.iter().map(|c| c.exit_status()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        assert_eq!(statuses.len(), Code::ALL.len());
        assert!(!statuses.contains(&0));
    }

    #[test]
    fn a_refusal_keeps_the_brokers_words() {
        for (status, code) in [
            (Status::UNAUTHORIZED, Code::LoginRefused),
            (Status::FORBIDDEN, Code::NotAllowed),
            (Status::NOT_FOUND, Code::NoSuchVm),
            (Status::REQUEST_TIMEOUT, Code::TimedOut),
            (Status::UPGRADE_REQUIRED, Code::RequestRefused),
            (Status::SERVICE_UNAVAILABLE, Code::VmUnavailable),
        ] {
            let failure = Failure::from(Refusal::new(status, "agent of VM 1 is down"));
            assert_eq!(failure.code(), code);
            assert!(failure.to_string().starts_with("agent of VM 1 is down"));
        }
    }
}
