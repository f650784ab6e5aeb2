//! What may be said to the window when it is started. The window is a crate of
//! its own; here is what its manual page and completions are made of, without
//! the toolkit.

mod arguments;
mod link;

pub use arguments::{Arguments, ENVIRONMENT, EXAMPLES, FILES, STATUSES, command};
pub use link::{Link, host_and_port, place};
