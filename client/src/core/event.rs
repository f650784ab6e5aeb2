use std::net::SocketAddr;
use std::time::Duration;

/// Something the user may want to see.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The broker's name is being looked up.
    Resolving {
        /// The name.
        host: String,
    },
    /// A connection is being made.
    Connecting {
        /// Where to.
        address: SocketAddr,
    },
    /// The connection is there, and nothing was said on it yet.
    Reached {
        /// Where to.
        address: SocketAddr,
    },
    /// The broker's certificate has a fault that was accepted unseen.
    CertificateAccepted {
        /// What is wrong with it.
        fault: String,
        /// What it says of itself, and its SHA-256.
        certificate: String,
    },
    /// The user is about to be asked about the broker's certificate.
    CertificateInDoubt,
    /// The user's lasting answer could not be written down; why.
    CertificateNotKept(String),
    /// Login and password are being checked.
    Authenticating,
    /// A line of the broker's about the VM being prepared.
    Progress(String),
    /// The VM is ready and its desktop is being opened.
    Opening,
    /// The desktop is in its window.
    Connected,
    /// The connection broke; it is tried to get the session back.
    Lost {
        /// What was seen.
        cause: String,
    },
    /// An attempt to get the session back follows.
    Reconnecting {
        /// Its number in this outage, from 1.
        attempt: u32,
        /// The time until then.
        wait: Duration,
    },
    /// The session is being left.
    Leaving,
}

/// Is told what happens, at once and without waiting.
pub type Events<'a> = &'a mut (dyn FnMut(Event) + Send);
