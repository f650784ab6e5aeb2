//! The QVD client.
//!
//! [`core`] is the client without a user interface: it resolves, connects,
//! checks the certificate, authenticates, lists VMs, connects to one and runs
//! the NX engine, and tells what happens in [`core::Event`]s. Every failure is
//! a [`core::Failure`] with a stable code, an exit status and one sentence.
//! [`cli`] is the view on the command line. The window is a crate of its own;
//! what its command line may say is in [`window`], of which its manual page is
//! made without it.

#![forbid(unsafe_code)]

pub mod cli;
pub mod core;
pub mod window;
