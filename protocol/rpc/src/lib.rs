//! SimpleRPC, the dialogue between the broker's side of QVD and the agent in
//! the VM, without I/O.
//!
//! A call is `GET /vma/METHOD?key=value&…`; the answer is always 200 with the
//! content type `application/json-simplerpc`: a JSON value and a line end, or,
//! for a call that failed, `"",` and the message as a JSON string (the caller
//! wraps the body in `[…]` and sees two elements). Seen on the reference
//! system, whose recordings are the tests of this crate.
//!
//! [`Call`] and [`Reply`] are read and written by both sides: the agent reads
//! calls and writes replies, the broker the other way round.

#![forbid(unsafe_code)]

mod call;
mod parameters;
mod reply;
mod state;

pub use call::{Call, MAX_WAIT};
pub use parameters::Parameters;
pub use reply::{Reply, Waited};
pub use state::SessionState;

/// The content type of an answer.
pub const CONTENT_TYPE: &str = "application/json-simplerpc";

/// Largest answer a caller reads, in bytes. Answers are a word or a sentence.
pub const MAX_REPLY: usize = 64 * 1024;

/// Largest body of a call an agent reads, in bytes: calls have none.
pub const MAX_CALL_BODY: usize = 0;

/// Why a request is no call, or a response no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The path names no method: answered with 404.
    #[error("no such method")]
    NoSuchMethod,
    /// The parameters cannot be read: answered with 400.
    #[error("malformed parameters: {0}")]
    Parameters(String),
    /// The agent answered with another status than 200.
    #[error("agent answered {status}")]
    Status {
        /// The status it answered with.
        status: qvd_http1::Status,
    },
    /// The answer is not in the form of SimpleRPC.
    #[error("agent's answer is not SimpleRPC: {0}")]
    Reply(String),
}

impl Error {
    /// The response with which an agent answers a request that is no call.
    #[must_use]
    pub fn response(&self) -> qvd_http1::Response {
        use qvd_http1::{Response, Status};
        let status = match self {
            Self::NoSuchMethod => Status::NOT_FOUND,
            Self::Parameters(_) => Status::BAD_REQUEST,
            Self::Status { .. } | Self::Reply(_) => Status::INTERNAL_SERVER_ERROR,
        };
        Response::text(status, &format!("{status}: {self}"))
    }
}
