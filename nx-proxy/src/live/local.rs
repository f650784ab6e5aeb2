//! What channels beside X are joined to on the user's machine.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;

use crate::Transport;
use crate::codec::Service;

/// The local end of a channel.
pub type LocalEnd = Box<dyn Transport>;

/// A local end on its way. Dropped when the session or the channel ends first.
pub type Opening = Pin<Box<dyn Future<Output = io::Result<LocalEnd>> + Send>>;

/// The next local end that is to become a channel, and of what kind: a slave's
/// or a font server's.
pub type Accepting<'a> = Pin<Box<dyn Future<Output = (Service, LocalEnd)> + Send + 'a>>;

/// Gives a session's channels beside X their local ends.
///
/// Bytes are carried as they come, without limit in time. A local end that
/// reads end of file or fails closes its channel, and so does the agent's end
/// of it: there is no half close in NX. A local end is shut down before it is
/// dropped, so that what was written to it arrives.
pub trait LocalEnds: Send + Sync {
    /// The agent has opened a channel to this service. An error refuses it,
    /// which the agent takes as a channel that is closed at once.
    ///
    /// Called without a wait; the wait is the future's, and has to end by
    /// itself.
    fn open(&self, service: Service) -> Opening;

    /// The next local end for which a channel to the agent is to be opened. Asked again at once after each; may be dropped at any await and
    /// asked anew, without a local end being lost.
    fn accept(&self) -> Accepting<'_> {
        Box::pin(pending())
    }
}

/// No channels beside X: all are refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLocalEnds;

impl LocalEnds for NoLocalEnds {
    fn open(&self, service: Service) -> Opening {
        let reason = format!("no local end for {service:?} is set");
        Box::pin(async { Err(io::Error::new(io::ErrorKind::Unsupported, reason)) })
    }
}
