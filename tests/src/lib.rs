//! The harness of the end-to-end tests, and of the commands that show or
//! measure a whole session.
//!
//! Everything here runs real programs: Xvfb, openbox, nxagent, nxproxy and the
//! programs of this workspace. What a test starts lives in its [`Scene`] and
//! dies with it; every wait is for an event and has a deadline.
//!
//! | module | for |
//! |---|---|
//! | [`scene`] | one test: its directory, mark, clock limit, logs and leak check |
//! | [`process`] | a running program: its lines, signals, end |
//! | [`ports`] | TCP ports and display numbers which parallel tests do not share |
//! | [`display`] | an X display with windows and pixels to look at |
//! | [`fault`] | a relay which cuts, stalls, delays, splits or corrupts a connection |
//! | [`nx`] | nxagent and nxproxy as programs of their own |
//! | [`record`] | what passes between programs, written down |
//! | [`programs`] | where the workspace's built programs are |
//! | [`script`] | programs that a test writes |
//! | [`rig`] | server, agents and clients put together |

#![forbid(unsafe_code)]

mod background;
pub mod display;
mod error;
pub mod fault;
pub mod nx;
pub mod ports;
pub mod process;
pub mod programs;
pub mod record;
pub mod rig;
pub mod scene;
pub mod script;

pub use error::{Error, Result};
pub use scene::{Outcome, Scene, play, play_for};
