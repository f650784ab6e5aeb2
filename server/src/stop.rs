//! Stopping a VM's session at its user's wish.

use qvd_broker::Refusal;
use tokio::sync::mpsc;

use crate::agent::{self, Agent};
use crate::connect::not_started;
use crate::inventory::Vm;

/// # Errors
/// What the client is to be told.
pub(crate) async fn stop(vm: &Vm, progress: mpsc::Sender<String>) -> Result<(), Refusal> {
    let _ = progress.try_send(format!("Stopping VM {}", vm.id));
    agent::stop(&mut Agent::new(vm))
        .await
        .map_err(|failure| not_started(vm.id, &failure))
}
