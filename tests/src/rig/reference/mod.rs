//! Stand-ins of the reference's programs: they say the bytes that it said, and
//! know of nothing that came after it.

mod agent;
mod broker;
mod client;

pub use self::agent::ReferenceAgent;
pub use self::broker::ReferenceBroker;
pub use self::client::{ReferenceClient, tunnel_with};
