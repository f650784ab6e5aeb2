/// How a request ended, as version 3 tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Done.
    Ok,
    /// Nothing more to read.
    EndOfFile,
    /// No such file.
    NoSuchFile,
    /// Not permitted.
    PermissionDenied,
    /// Any other reason.
    Failure,
    /// The request was malformed.
    BadMessage,
    /// The server cannot do this.
    Unsupported,
    /// Another number.
    Other(u32),
}

impl Status {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Ok => 0,
            Self::EndOfFile => 1,
            Self::NoSuchFile => 2,
            Self::PermissionDenied => 3,
            Self::Failure => 4,
            Self::BadMessage => 5,
            Self::Unsupported => 8,
            Self::Other(code) => code,
        }
    }

    /// The status of a number.
    #[must_use]
    pub fn from_code(code: u32) -> Self {
        match code {
            0 => Self::Ok,
            1 => Self::EndOfFile,
            2 => Self::NoSuchFile,
            3 => Self::PermissionDenied,
            4 => Self::Failure,
            5 => Self::BadMessage,
            8 => Self::Unsupported,
            code => Self::Other(code),
        }
    }

    /// What clients show where the server has nothing better to say.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Ok => "Success",
            Self::EndOfFile => "End of file",
            Self::NoSuchFile => "No such file",
            Self::PermissionDenied => "Permission denied",
            Self::BadMessage => "Bad message",
            Self::Unsupported => "Operation unsupported",
            Self::Failure | Self::Other(_) => "Failure",
        }
    }
}

/// A status with the system's error number, where one is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The status.
    pub status: Status,
    /// Linux's number of the error (`errno@qvd`).
    pub errno: Option<u32>,
}

impl Failure {
    /// A status without a number.
    #[must_use]
    pub fn of(status: Status) -> Self {
        Self {
            status,
            errno: None,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::of(status)
    }
}
