//! The client against a real broker and agent: what a person, a script and a
//! kiosk see of it.

mod command_line;
mod reconnect;
mod stage;
mod tls;
