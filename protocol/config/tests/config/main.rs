//! The crate as its users see it.

// The helpers of tests are not tests themselves to clippy's exemption.
#![allow(clippy::unwrap_used)]

mod golden;
mod messages;
mod random;
mod table;

use qvd_config::Properties;

/// One source named `a.conf`.
fn properties(text: &str) -> Properties {
    Properties::from_sources([("a.conf", text.as_bytes())]).unwrap()
}
