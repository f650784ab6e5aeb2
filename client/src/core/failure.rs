use std::fmt;

use qvd_broker::{Meaning, Refusal};

/// Makes [`Code`] of one table, from which the exit status, the code in the
/// log and in `--json`, the help and the manual page are taken.
macro_rules! codes {
    ($($code:ident = $status:literal, $word:literal, $meaning:literal;)*) => {
        /// What went wrong, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Code {
            $(
                #[doc = $meaning]
                $code,
            )*
        }

        impl Code {
            /// Every code, in the order of their exit statuses.
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            /// The word in logs and `--json` output. It does not change.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $word,)*
                }
            }

            /// The exit status of a program that ends with this. It does not
            /// change.
            #[must_use]
            pub fn exit_status(self) -> u8 {
                match self {
                    $(Self::$code => $status,)*
                }
            }

            /// What it means, for a table.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$code => $meaning,)*
                }
            }
        }
    };
}

codes! {
    Internal = 1, "internal", "a fault of the client's own";
    Usage = 2, "usage", "the command line cannot be understood";
    Config = 3, "config", "a configuration file is faulty";
    Output = 4, "output", "what was asked for cannot be written";
    UnknownHost = 10, "unknown-host", "the broker's name is not known";
    ConnectFailed = 11, "connect-failed", "nobody answers at the broker's address";
    Certificate = 12, "certificate", "the broker's certificate is not trusted";
    LoginRefused = 13, "login-refused", "login or password is wrong";
    NotAllowed = 14, "not-allowed", "the VM is blocked or another user's";
    NoSuchVm = 15, "no-such-vm", "there is no such VM";
    VmUnavailable = 16, "vm-unavailable", "the VM or its session could not be started";
    TimedOut = 17, "timed-out", "the VM did not come up in time";
    RequestRefused = 18, "request-refused", "the broker does not take the request";
    Protocol = 19, "protocol", "the broker does not speak the protocol";
    Engine = 20, "engine", "what draws the session failed, or nxproxy is missing";
    Display = 21, "display", "the display cannot be used";
    SessionLost = 22, "session-lost", "the connection broke while the session was running";
    VmChoice = 23, "vm-choice", "it is not clear which VM is meant";
    NoPassword = 24, "no-password", "there is no password and nobody to ask";
    CertificateUndecided = 25, "certificate-undecided", "the broker's certificate needs a decision and there is nobody to ask";
    VmStopped = 26, "vm-stopped", "the VM was stopped meanwhile and nobody says that it may start";
    TakenOver = 27, "taken-over", "another client has taken the session over";
    // As a shell says of a program that Ctrl-C ended.
    Interrupted = 130, "interrupted", "interrupted before there was a session";
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
            Meaning::TakenOver => Code::TakenOver,
            Meaning::TimedOut => Code::TimedOut,
            Meaning::Unavailable => Code::VmUnavailable,
            _ => Code::RequestRefused,
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<qvd_broker::Error> for Failure {
    fn from(error: qvd_broker::Error) -> Self {
        use qvd_broker::Error;
        let code = match error {
            Error::LoginWithColon => Code::Usage,
            // Of a broker that was ended, or a network that was: it may be
            // back the next time.
            Error::Http(qvd_http1::Error::Truncated) => {
                let message = "the broker closed the connection within an answer";
                return Self::new(Code::ConnectFailed, message).because(error);
            }
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
        assert!(Code::ALL.iter().map(|c| c.exit_status()).is_sorted());
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
