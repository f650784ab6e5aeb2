//! The QVD agent in the disk image.
//!
//! Two processes, one concern each. The [daemon] speaks RPC and keeps the
//! [session's state](machine); it handles no byte of a session. The [session
//! process](session), one a session and run as its user, owns nxagent, the X
//! session and the client's connection. They talk over a Unix
//! [control socket](control), and neither depends on the other's life.

#![deny(unsafe_code)]

pub mod access;
pub mod cli;
pub mod control;
pub mod ctl;
pub mod daemon;
pub mod dialog;
pub mod files;
pub mod hooks;
pub mod lines;
pub mod log;
pub mod machine;
pub mod output;
pub mod parameters;
pub mod privileges;
pub mod procs;
pub mod provision;
pub mod session;
pub mod settings;
pub mod status;
pub mod sys;
pub mod watch;
