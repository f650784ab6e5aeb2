use crate::Status;

/// Why bytes are not a message of this dialect, or a message cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The head did not end within the limit.
    #[error("head longer than {limit} bytes")]
    HeadTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The head has more header lines than the limit.
    #[error("more than {limit} header lines")]
    TooManyHeaders {
        /// The limit, in lines.
        limit: usize,
    },
    /// The first line of a request is not `METHOD target HTTP/1.1`.
    #[error("malformed request line")]
    RequestLine,
    /// The first line of a response is not `HTTP/1.1 code reason`.
    #[error("malformed status line")]
    StatusLine,
    /// A header line is not `Name: value`.
    #[error("malformed header line")]
    HeaderLine,
    /// The version is not HTTP/1.1.
    #[error("HTTP version other than 1.1")]
    Version,
    /// `Content-Length` is not one number.
    #[error("content length is not a single number")]
    ContentLength,
    /// The announced body is over the limit of its use.
    #[error("body of {length} bytes, over the limit of {limit}")]
    BodyTooLarge {
        /// The announced (or, for a body until close, the received) length in bytes.
        length: u64,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The message has a `Transfer-Encoding`.
    #[error("transfer encodings are not supported")]
    TransferEncoding,
    /// The connection ended within a message.
    #[error("connection closed within a message")]
    Truncated,
    /// A query string has a broken `%` sequence or is not UTF-8.
    #[error("malformed query string")]
    Query,
    /// A header name or value, method or target that may not be written.
    #[error("{0} cannot be written in a head")]
    Unwritable(&'static str),
}

impl Error {
    /// The status with which a server answers this error before it closes.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::HeadTooLarge { .. } | Self::TooManyHeaders { .. } => Status::HEAD_TOO_LARGE,
            Self::Version => Status::VERSION_NOT_SUPPORTED,
            Self::BodyTooLarge { .. } => Status::BODY_TOO_LARGE,
            Self::TransferEncoding => Status::NOT_IMPLEMENTED,
            Self::Unwritable(_) => Status::INTERNAL_SERVER_ERROR,
            Self::RequestLine
            | Self::StatusLine
            | Self::HeaderLine
            | Self::ContentLength
            | Self::Truncated
            | Self::Query => Status::BAD_REQUEST,
        }
    }
}
