//! The native engine with real nxagent and displays.

mod drawing;
mod pixels;
mod session;
