//! The dialogue between a QVD client and the broker (L7R), without I/O.
//!
//! A client authenticates each request with HTTP Basic or a bearer token,
//! asks for its list of VMs, and asks to be connected to one. The broker
//! reports progress in `102 Processing` responses (`X-QVD-VM-Info`), and with
//! `101 Switching Protocols` (`X-QVD-Slave-Key`) the connection becomes the
//! tunnel to the VM's NX port.
//!
//! Both sides are here: a broker reads [`Request`]s and writes [`VmEntry`]
//! lists, [`progress`], [`connected`] and [`Refusal`]s; a client drives a
//! [`Dialogue`]. What is on the wire was seen on the reference system, whose
//! recordings are the tests of this crate.

#![forbid(unsafe_code)]

mod credentials;
mod dialogue;
mod environment;
mod parameters;
mod refusal;
mod request;
mod vm;

use qvd_http1::{ResponseHead, Status};

pub use credentials::{Credentials, basic_challenge};
pub use dialogue::{Dialogue, Event};
pub use environment::{read_environment, write_environment};
pub use parameters::{ClientParameters, ConnectParameters, RESUMES, SESSION_ID};
pub use refusal::{Meaning, Refusal};
pub use request::Request;
pub use vm::{Authenticated, Token, VmEntry, read_vm_list, write_vm_list};

/// The protocol a client upgrades to with `connect_to_vm`.
pub const PROTOCOL: &str = "QVD/1.0";

/// The interim header with a line of progress for the user.
pub const PROGRESS_HEADER: &str = "X-QVD-VM-Info";

/// The header of the 101 with the key of the session's slave channel.
pub const SLAVE_KEY_HEADER: &str = "X-QVD-Slave-Key";

/// The header of the 101 that says, to a client which announces the carrier,
/// whether the agent will speak it: `1` or `0`. A reference broker sends none.
pub const CARRIER_HEADER: &str = "X-QVD-Carrier";

/// Largest response body a client reads, in bytes (a list of VMs).
pub const MAX_REPLY: usize = 4 * 1024 * 1024;

/// Largest request body a broker reads, in bytes: requests have none.
pub const MAX_REQUEST_BODY: usize = 0;

/// Longest progress text passed on to the user, in characters.
pub const MAX_PROGRESS: usize = 1024;

/// Why a message does not belong to this dialogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not HTTP as it is spoken here.
    #[error("broker does not speak this protocol: {0}")]
    Http(#[from] qvd_http1::Error),
    /// The `Authorization` header is neither Basic nor Bearer, or not base64.
    #[error("malformed authorization header")]
    Authorization,
    /// The login has a `:`, which Basic cannot carry.
    #[error("login contains a colon")]
    LoginWithColon,
    /// The body of a response is not the JSON it should be.
    #[error("broker's answer to {request} is not understood: {reason}")]
    Body {
        /// What was asked.
        request: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A 101 to a request that asked for no upgrade, or a 200 to one that did.
    #[error("broker answered {request} with an unexpected {status}")]
    Unexpected {
        /// What was asked.
        request: &'static str,
        /// The status.
        status: Status,
    },
    /// Bytes arrived that answer no request.
    #[error("broker sent an answer without a request")]
    Unasked,
}

/// The interim response that carries a line of progress.
#[must_use]
pub fn progress(text: &str) -> ResponseHead {
    ResponseHead::new(Status::PROCESSING).header(PROGRESS_HEADER, one_line(text))
}

/// The 101 after which the connection is the tunnel. Like the reference's, it
/// carries no `Upgrade` header.
#[must_use]
pub fn connected(slave_key: &str) -> ResponseHead {
    ResponseHead::new(Status::SWITCHING_PROTOCOLS).header(SLAVE_KEY_HEADER, slave_key)
}

/// Text of a peer as one line for a header or a terminal: control characters
/// become spaces, and it is cut at [`MAX_PROGRESS`] characters.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_PROGRESS)
        .collect::<String>()
        .trim()
        .to_owned()
}
