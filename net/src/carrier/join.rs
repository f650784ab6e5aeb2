//! A stream joined with a socket of this machine.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, copy_buf, split};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::Stream;

/// How long one end may stay open when the other has closed.
const LINGER: Duration = Duration::from_secs(5);

/// Bytes read ahead of one end.
const BUFFER: usize = 16 * 1024;

impl Stream {
    /// Copies both ways until both have ended, or one has and the other has
    /// not followed within five seconds.
    pub async fn join(self, local: UnixStream) {
        let (from_stream, to_stream) = split(self);
        let (from_local, to_local) = local.into_split();
        let mut down = std::pin::pin!(pass(from_stream, to_local));
        let mut up = std::pin::pin!(pass(from_local, to_stream));
        tokio::select! {
            () = &mut down => { let _ = timeout(LINGER, up).await; }
            () = &mut up => { let _ = timeout(LINGER, down).await; }
        }
    }
}

async fn pass(from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut from = BufReader::with_capacity(BUFFER, from);
    let copied: io::Result<u64> = copy_buf(&mut from, &mut to).await;
    if let Err(error) = copied {
        tracing::debug!(%error, "carrier's stream");
    }
    let _ = to.shutdown().await;
}
