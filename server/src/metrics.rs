//! The counters for a monitoring system, on a listener of their own.

use std::sync::Arc;

use qvd_http1::{Response, Status};
use qvd_net::http::{Deadlines, ServerConnection};
use tokio::net::{TcpListener, TcpStream};

use crate::broker::Broker;

/// Media type of Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4";

/// Answers `GET /metrics` until dropped.
pub(crate) async fn serve(listener: TcpListener, broker: Arc<Broker>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(answer(stream, broker.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "metrics connection not accepted");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, broker: Arc<Broker>) {
    let mut connection = ServerConnection::new(stream, 0, Deadlines::default());
    while let Ok(Some(request)) = connection.next_request().await {
        let response = if request.head.method == "GET" && request.head.path() == b"/metrics" {
            Response::new(Status::OK, PROMETHEUS, broker.counters().prometheus())
        } else {
            Response::text(Status::NOT_FOUND, "only /metrics is here")
        };
        if connection.respond(&response).await.is_err() || request.head.wants_close() {
            return;
        }
    }
}
