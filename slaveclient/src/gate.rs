//! x

/// x
pub(crate) const FILE: &str = "slaveserver.conf";
