use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

/// The variable by which a client tells its slave server what the user has
/// announced, as JSON. Without it nothing is announced.
pub const VARIABLE: &str = "QVD_CLIENT_SLAVE_GATE";

/// What of the user's machine the VM may reach by the slave channel. Anything
/// in the VM can connect to that channel, so that only what the user's
/// configuration announces is behind it, and by default nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Gate {
    /// The ports of the loopback interface.
    #[serde(default)]
    pub ports: Vec<NonZeroU16>,
    /// The printers.
    #[serde(default)]
    pub printers: Printers,
}

/// The printers that are announced, by the names of their queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Printers {
    /// Every one.
    All,
    /// These.
    Only(Vec<String>),
}

impl Default for Printers {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl Gate {
    /// The one of this process, as its client told it.
    ///
    /// # Errors
    /// When what it told cannot be understood.
    pub fn of_process() -> Result<Self, serde_json::Error> {
        match std::env::var(VARIABLE) {
            Ok(text) => serde_json::from_str(&text),
            Err(_) => Ok(Self::default()),
        }
    }

    /// The value of [`VARIABLE`].
    #[must_use]
    pub fn to_variable(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn lets_port(&self, port: NonZeroU16) -> bool {
        self.ports.contains(&port)
    }

    pub(super) fn lets_printer(&self, name: &str) -> bool {
        match &self.printers {
            Printers::All => true,
            Printers::Only(names) => names.iter().any(|one| one == name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_announced_is_not_let_in() {
        let gate = Gate::default();
        let port = NonZeroU16::new(22).unwrap();
        assert!(!gate.lets_port(port) && !gate.lets_printer("office"));
        let gate = Gate {
            ports: vec![port],
            printers: Printers::Only(vec!["office".into()]),
        };
        let again: Gate = serde_json::from_str(&gate.to_variable()).unwrap();
        assert_eq!(again, gate);
        assert!(gate.lets_port(port) && gate.lets_printer("office"));
        assert!(!gate.lets_printer("offic") && !gate.lets_port(NonZeroU16::MAX));
        let empty: Gate = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, Gate::default());
    }
}
