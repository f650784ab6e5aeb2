//! The client without a user interface.

mod broker;
mod choice;
mod dial;
mod event;
mod failure;
mod session;
mod tls;

pub use broker::{Broker, Target, Tunnel};
pub use choice::{Choice, choose};
pub use event::{Event, Events};
pub use failure::{Code, Failure};
pub use session::{Outcome, run_session};
pub use tls::{Certificates, ClientCertificate, TlsPolicy, Trust, fingerprint};
