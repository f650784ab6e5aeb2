use qvd_http1::{Response, Status};

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such path or method: 404.
    #[error("no such request")]
    NoSuchRequest,
    /// The path of a folder or file is no path: 400.
    #[error("malformed path: {0}")]
    Path(&'static str),
    /// The request changes the protocol and does not say so: 400, as the
    /// reference answers.
    #[error("the request needs `Upgrade: {0}`")]
    NoUpgrade(&'static str),
    /// There is no key: 401.
    #[error("the request has no key")]
    NoKey,
    /// It is another key: 403.
    #[error("the key is wrong")]
    WrongKey,
    /// A port is no port: 400.
    #[error("malformed port")]
    Port,
    /// A header or a name cannot be used: 400.
    #[error("malformed {0}")]
    Malformed(&'static str),
}

impl Error {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::NoSuchRequest => Status::NOT_FOUND,
            Self::NoKey => Status::UNAUTHORIZED,
            Self::WrongKey => Status::FORBIDDEN,
            Self::Path(_) | Self::NoUpgrade(_) | Self::Port | Self::Malformed(_) => {
                Status::BAD_REQUEST
            }
        }
    }

    /// The answer.
    #[must_use]
    pub fn response(&self) -> Response {
        let response = Response::text(self.status(), &self.to_string());
        match self {
            Self::NoKey => response.header("WWW-Authenticate", "Basic realm=\"QVD\""),
            _ => response,
        }
    }
}
