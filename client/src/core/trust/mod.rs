//! Whether the broker's certificate is good enough, and who decides it.

mod ask;
mod connect;
mod fault;
mod identity;
mod judge;
mod lists;
mod ocsp;
mod pins;
mod policy;
mod roots;

pub use ask::{Answer, Answering, Ask, Asker, Memory, Question};
pub use fault::{Fault, Finding};
pub use identity::ClientCertificate;
pub use ocsp::Stapled;
pub use policy::{Errors, Policy};
pub use roots::Certificates;

pub(super) use connect::connect;
pub(super) use judge::{Judge, Shown};
pub(super) use pins::{PinFile, Pins, Recalled};
pub(super) use policy::Verdict;
