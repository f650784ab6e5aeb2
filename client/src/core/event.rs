use std::net::SocketAddr;
use std::path::PathBuf;
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
        /// This end of it.
        own: SocketAddr,
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
    /// The engine takes the client's requests on the slave channel at this
    /// socket.
    SlaveListening(PathBuf),
    /// The desktop is in its window.
    Connected,
    /// A folder of this machine is in the session.
    Shared {
        /// The folder.
        path: PathBuf,
        /// Its name there.
        name: String,
        /// Whether nothing in it can be changed there.
        read_only: bool,
    },
    /// A folder is not in the session any more: its medium is gone.
    Unshared {
        /// The folder.
        path: PathBuf,
    },
    /// A folder is not in the session.
    NotShared {
        /// The folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file of this machine was opened in the session.
    Opened {
        /// The file.
        file: PathBuf,
    },
    /// A file of this machine could not be opened in the session.
    NotOpened {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// The connection broke; it is tried to get the session back.
    Lost {
        /// What was seen.
        cause: String,
        /// Whether the desktop stays in its window meanwhile, as it was.
        frozen: bool,
    },
    /// The desktop, which stood still in its window, is in sight no more; it is
    /// still tried to get the session back.
    Gone,
    /// An attempt to get the session back follows.
    Reconnecting {
        /// Its number in this outage, from 1.
        attempt: u32,
        /// The time until then.
        wait: Duration,
        /// For how long attempts go on like this: on the carrier, as long as
        /// the session is kept as it is.
        left: Duration,
    },
    /// The session is being left.
    Leaving,
}

/// Is told what happens, at once and without waiting.
pub type Events<'a> = &'a mut (dyn FnMut(Event) + Send);
