//! What the machine is told, and what it says.

use std::time::Duration;

use qvd_rpc::{Reply, SessionState};

use crate::control::NxState;
use crate::parameters::SessionSpec;

/// Steps before a session is started or resumed, each of which can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before anything else: the pre-connect hook.
    PreConnect,
    /// The user's home is mounted and his account made, where they are missing.
    Provision,
    /// Last before nxagent is started or woken: the connect hook.
    Connect,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// RPC `x_start`.
    StartAsked(Box<SessionSpec>),
    /// RPC `x_start` of the client that the session has, which has lost its
    /// connection and has shown the token to go on with.
    RejoinAsked,
    /// The client's carrier has a connection, perhaps after a loss.
    Rejoined,
    /// RPC `x_suspend`.
    SuspendAsked,
    /// RPC `x_stop`.
    StopAsked,
    /// A stage is over. The number is that of its [`Effect::Prepare`]: a stage
    /// of a start that was given up says nothing about the next one.
    Prepared(u64, Result<(), String>),
    /// The NX port is open, or could not be opened.
    PortOpened(Result<(), String>),
    /// A client has come to the NX port, which is closed behind it.
    ClientCame {
        /// It speaks the carrier, and its hello is heard next.
        carrier: bool,
    },
    /// Its connection is lost; on the carrier it may be back.
    ClientLost,
    /// Its carrier is over.
    ClientGone,
    /// nxagent's state changed, as the session process says.
    Nx(NxState),
    /// No process of the session is left.
    Gone {
        /// Why, when it ended neither by itself nor on demand.
        reason: Option<String>,
    },
    /// The time of [`Effect::Arm`] is over.
    TimedOut,
    /// A session process of an earlier daemon was found.
    Adopted {
        /// It has a client that does not speak the carrier.
        served: bool,
        /// Login name of its user.
        user: String,
        /// The state of its nxagent.
        state: NxState,
    },
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer the call that was this event.
    Reply(Reply),
    /// Carry out a stage, then report [`Event::Prepared`] with this number.
    Prepare(u64, Stage, Box<SessionSpec>),
    /// Cut the stage that is carried out short; it still reports its end.
    CutShort,
    /// Start a session process.
    Launch(Box<SessionSpec>),
    /// Wake nxagent with the options of this start.
    Wake(Box<SessionSpec>),
    /// Have nxagent let the client go, or give up waiting for one.
    Suspend,
    /// End the session: politely, then with force.
    Terminate,
    /// Kill whatever is left of the session.
    Kill,
    /// Open the NX port, then report [`Event::PortOpened`].
    OpenPort,
    /// Close the NX port.
    ClosePort,
    /// Report [`Event::TimedOut`] after this time; replaces an earlier one.
    Arm(Duration),
    /// Forget the timer.
    Disarm,
    /// A state was entered that others are told of: the state hooks.
    Entered(SessionState),
    /// The client went by itself, and so nobody was asked whether the session
    /// may be suspended: the suspend hook, whose failure changes nothing.
    ClientLeft,
}
