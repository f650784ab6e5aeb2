//! What all connections share.

use std::sync::Arc;
use std::time::Duration;

use crate::Error;
use crate::agent::Limits;
use crate::auth::Authenticator;
use crate::counters::Counters;
use crate::inventory::Inventory;
use crate::takeover::Registry;

/// The broker: what its connections share.
pub struct Broker {
    pub(crate) inventory: Arc<dyn Inventory>,
    pub(crate) auth: Authenticator,
    pub(crate) registry: Registry,
    pub(crate) counters: Arc<Counters>,
    pub(crate) limits: Limits,
    /// How long a contending connection has to end.
    pub(crate) takeover: Duration,
}

impl Broker {
    /// A broker without connections.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(
        inventory: Arc<dyn Inventory>,
        limits: Limits,
        takeover: Duration,
    ) -> Result<Self, Error> {
        Ok(Self {
            inventory,
            auth: Authenticator::new()?,
            registry: Registry::default(),
            counters: Arc::default(),
            limits,
            takeover,
        })
    }

    /// What it has counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Ends every session and lets no more begin.
    pub fn end_sessions(&self) {
        self.registry.close();
    }
}
