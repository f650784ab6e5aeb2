//! Telling other programs of this machine whether there is a connection: those
//! that wait for an answer by a clock would give up in the middle of a pause.

use qvd_carrier::Road;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Link;

/// Most programs that are told at a time.
const MAX_TOLD: usize = 256;

/// Tells everyone who connects to `listener`, until the session is over.
pub async fn tell_road(listener: UnixListener, mut link: watch::Receiver<Link>) {
    let mut told = JoinSet::new();
    let follow = link.clone();
    let accept = async {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept(), if told.len() < MAX_TOLD => accepted,
                Some(_) = told.join_next() => continue,
            };
            match accepted {
                Ok((program, _)) => drop(told.spawn(tell(program, follow.clone()))),
                Err(error) => {
                    // Out of descriptors: others must end first.
                    tracing::debug!(%error, "a program is not told of the carrier");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        _ = link.wait_for(|link| link.over) => {}
    }
}

async fn tell(mut program: UnixStream, mut link: watch::Receiver<Link>) {
    let mut known = None;
    loop {
        let road = match link.borrow_and_update().up {
            true => Road::Open,
            false => Road::Lost,
        };
        if known != Some(road) {
            known = Some(road);
            if program.write_all(&[road.to_byte()]).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = link.changed() => if changed.is_err() {
                return;
            },
            // It has nothing to say but that it is gone.
            _ = program.read_u8() => return,
        }
    }
}
