//! The question to the user, and what is remembered of the answer.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use super::fault::{Fault, Finding};
use crate::core::certificate::Details;
use crate::core::failure::Failure;

/// A certificate about which the user decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The broker's name or address, as the user gave it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What the certificate says of itself.
    pub details: Details,
    /// Everything that is wrong with it.
    pub findings: Vec<Finding>,
    /// Whether an answer can be remembered for good.
    pub can_be_kept: bool,
}

/// The user's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Connect, as long as this client runs.
    Once,
    /// Connect, now and later.
    Always,
    /// Do not connect.
    No,
}

/// An answer on its way.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

/// Somebody who can be asked.
pub trait Ask: Send + Sync {
    /// Asks. There is no connection meanwhile, so that there is time.
    fn ask<'a>(&'a self, question: &'a Question) -> Answering<'a>;
}

/// Who is asked, if anybody.
#[derive(Clone, Default)]
pub struct Asker(Option<Arc<dyn Ask>>);

impl Asker {
    /// This one is asked.
    pub fn new(ask: impl Ask + 'static) -> Self {
        Self(Some(Arc::new(ask)))
    }

    pub(crate) fn get(&self) -> Option<&dyn Ask> {
        self.0.as_deref()
    }
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.0.is_some() {
            "somebody"
        } else {
            "nobody"
        };
        f.write_str(who)
    }
}

/// What was accepted as long as this client runs. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Vec<Accepted>>>);

#[derive(Debug)]
struct Accepted {
    host: String,
    port: u16,
    sha256: String,
    faults: BTreeSet<Fault>,
}

impl Memory {
    pub(crate) fn accept(&self, question: &Question) {
        let accepted = Accepted {
            host: question.host.clone(),
            port: question.port,
            sha256: question.details.sha256.clone(),
            faults: question.findings.iter().map(|found| found.fault).collect(),
        };
        if let Ok(mut all) = self.0.lock() {
            all.push(accepted);
        }
    }

    /// Whether the certificate was accepted with all of these faults.
    pub(crate) fn has(&self, host: &str, port: u16, sha256: &str, findings: &[Finding]) -> bool {
        let Ok(all) = self.0.lock() else {
            return false;
        };
        all.iter().any(|accepted| {
            accepted.host == host
                && accepted.port == port
                && accepted.sha256 == sha256
                && findings
                    .iter()
                    .all(|found| accepted.faults.contains(&found.fault))
        })
    }
}
