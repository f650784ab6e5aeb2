//! The NX port: open only while a session is awaited, for one connection.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::access::Access;

/// An open port. It is closed when it has given its connection, or is dropped.
pub struct NxPort(JoinHandle<()>);

impl NxPort {
    /// Opens the port; the first connection of a peer that may connect goes
    /// to `clients`.
    ///
    /// # Errors
    /// One sentence that names the port.
    pub fn open(
        address: SocketAddr,
        access: Access,
        clients: mpsc::UnboundedSender<OwnedFd>,
    ) -> Result<Self, String> {
        let listener = qvd_net::socket::listen(&address.ip().to_string(), address.port())
            .map_err(|e| format!("NX port {address} cannot be opened: {e}"))?;
        Ok(Self(tokio::task::spawn_local(accept_one(
            listener, access, clients,
        ))))
    }
}

impl Drop for NxPort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn accept_one(
    listener: TcpListener,
    access: Access,
    clients: mpsc::UnboundedSender<OwnedFd>,
) {
    loop {
        let (client, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Of a connection that broke before it was accepted.
                tracing::debug!(%error, "NX port");
                tokio::task::yield_now().await;
                continue;
            }
        };
        if !client
            .local_addr()
            .is_ok_and(|local| access.allows(peer, local))
        {
            tracing::warn!(%peer, "refused on the NX port");
            continue;
        }
        tracing::info!(%peer, "client on the NX port");
        match client.into_std() {
            Ok(client) => {
                let _ = clients.send(client.into());
                return;
            }
            Err(error) => tracing::warn!(%error, %peer, "NX port"),
        }
    }
}
