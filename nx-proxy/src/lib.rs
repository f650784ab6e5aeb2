//! The NX end on the user's machine.
//!
//! After the broker's 101, a connection carries NX: compressed X11 between
//! nxagent in the VM and a proxy that draws on the user's display. An
//! [`Engine`] is that proxy: it is given the byte stream, the display and the
//! session's options, and runs until the session ends. [`NxProxy`] runs the
//! installed `nxproxy`; other engines can take its place without the client
//! noticing.
//!
//! The stream is anything that reads and writes bytes: TLS, a plain socket, or
//! a channel of a multiplexed carrier.

#![deny(unsafe_code)]

mod authority;
mod channels;
pub mod codec;
mod display;
mod engine;
mod error;
mod live;
mod nxproxy;
mod options;
mod private;
pub mod program;
mod pump;
mod quiet;
mod stream;

pub use channels::{Channels, Handler, Listener, Target, TargetError};
pub use display::{Display, Keyboard, ScreenSize};
pub use engine::{Ending, Engine, Event, Events, Local, Order, Orders, Running, Session, Slave};
pub use error::Error;
pub use live::{Accepting, LocalEnd, LocalEnds, Native, NoLocalEnds, Opening, Statistics};
pub use nxproxy::NxProxy;
pub use options::{NxOptions, OptionError};
pub use stream::{NxStream, Transport};
