//! A client joined with its VM.

use std::net::IpAddr;
use std::sync::Arc;

use qvd_net::relay::Meter;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::counters::{Counters, SHORT_SESSION};
use crate::inventory::{User, Vm};
use crate::stream::ClientStream;
use crate::takeover::Claim;

/// Who is joined.
pub(crate) struct Parties {
    pub(crate) user: Arc<User>,
    pub(crate) vm: Arc<Vm>,
    pub(crate) socket: TcpStream,
    pub(crate) claim: Claim,
    pub(crate) peer: IpAddr,
    /// The session's name in logs.
    pub(crate) session: Option<String>,
}

/// A tunnel that is to be run, in a task of its own: an idle one is to hold
/// nothing of the dialogue it came from.
pub(crate) struct Tunnel {
    client: ClientStream,
    early: Vec<u8>,
    parties: Parties,
    counters: Arc<Counters>,
}

impl Tunnel {
    pub(crate) fn new(
        client: ClientStream,
        early: Vec<u8>,
        parties: Parties,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            client,
            early,
            parties,
            counters,
        }
    }

    /// Copies bytes until the session ends.
    pub(crate) async fn run(self) {
        let Self {
            client,
            early,
            parties,
            counters,
        } = self;
        let Parties {
            user,
            vm,
            socket,
            mut claim,
            peer,
            session,
        } = parties;
        let session = session.as_deref();
        let meter = Meter::default();
        let open = counters.open_tunnel();
        Counters::count(&counters.sessions);
        tracing::info!(user = %user.login, vm = vm.id, %peer, session, "session connected");
        let begin = Instant::now();
        let ended = client.join(early, socket, &meter, claim.contended()).await;
        let lasted = begin.elapsed();
        let (up, down) = (meter.left_to_right(), meter.right_to_left());
        Counters::add(&counters.bytes_up, up);
        Counters::add(&counters.bytes_down, down);
        if lasted < SHORT_SESSION {
            Counters::count(&counters.short_sessions);
        }
        drop(open);
        tracing::info!(
            user = %user.login, vm = vm.id, %peer, session, cause = %ended, seconds = lasted.as_secs(),
            bytes_up = up, bytes_down = down, "session ended"
        );
        tracing::info!(%counters, "counters");
    }
}
