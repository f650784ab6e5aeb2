//! The client without a user interface.

mod broker;
mod carried;
mod certificate;
mod choice;
mod desktop;
mod dial;
mod event;
mod failure;
mod keyboard;
mod names;
mod reconnect;
mod session;
mod shares;
mod sound;
mod tls;
mod trust;
mod verifier;

pub use broker::{Broker, Target, Tunnel};
pub use carried::{Carrier, CarrierStatistics};
pub use certificate::Details;
pub use choice::{Choice, choose};
pub use desktop::{Allowed, Chosen, View, Wish, open_desktop, until_interrupted};
pub use event::{Event, Events};
pub use failure::{Code, Failure};
pub use names::Names;
pub use reconnect::{Action, Reconnect};
pub use session::{Outcome, run_session};
pub use shares::{Shared, Slave};
pub use tls::{TlsPolicy, Trust};
pub use trust::{
    Answer, Answering, Ask, Asker, Certificates, ClientCertificate, Errors, Fault, Finding, Memory,
    Policy, Question, Stapled,
};
