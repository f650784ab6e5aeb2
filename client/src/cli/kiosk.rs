//! A machine that does nothing else: login, session, login, without a way out
//! to a shell.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nx_proxy::Order;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::progress::Progress;
use super::settings::Settings;
use super::{ask, run, terminal};
use crate::core::{Choice, Code, Failure};

/// How long a message can be read before the next login begins.
const READ: Duration = Duration::from_secs(3);

/// How long a session may take to be left when the machine ends.
const LEAVE: Duration = Duration::from_secs(8);

/// The longest time between two attempts of a machine that nobody logs in to.
const LONGEST: Duration = Duration::from_secs(60);

/// Runs sessions until the machine ends this program, or after one with
/// `--once`.
///
/// # Errors
/// When the first session cannot be tried at all, when the one session fails,
/// or when nobody can be asked for another login.
pub(super) async fn run(
    settings: &Settings,
    choice: &Choice,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let in_session = progress.in_session();
    let keys = Keys::watch(Arc::clone(&in_session))
        .map_err(|e| Failure::new(Code::Internal, "no signals").because(e))?;
    let mut ended = keys.ended.clone();
    let mut sessions = pin!(sessions(settings, choice, progress, &keys));
    tokio::select! {
        done = &mut sessions => return done,
        _ = ended.wait_for(|ended| *ended) => {}
    }
    if in_session.load(Ordering::Relaxed) {
        // Left without a word, the agent would wait for its client to come back.
        keys.orders.send_replace(Order::Suspend);
        let _ = timeout(LEAVE, sessions).await;
    }
    Ok(())
}

async fn sessions(
    settings: &Settings,
    choice: &Choice,
    progress: &mut Progress,
    keys: &Keys,
) -> Result<(), Failure> {
    // A login of the configuration that was refused once is not shown again.
    let mut refused = false;
    let mut failures = 0;
    loop {
        let mut one = settings.clone();
        one.rename()?;
        if refused {
            (one.password, one.token) = (None, None);
        }
        if one.token.is_none() && (one.login.is_empty() || refused) {
            progress.clear();
            one.login = match ask::login().await? {
                Some(login) => login,
                // The end of input, or nothing: the question stays.
                None => {
                    sleep(Duration::from_millis(500)).await;
                    continue;
                }
            };
        }
        let done = run::connect(&one, choice, progress, keys.orders()).await;
        progress.clear();
        if *keys.ended.borrow() {
            return Ok(());
        }
        if settings.once {
            return done.map(|outcome| run::tell(outcome, progress));
        }
        match done {
            Ok(outcome) => {
                run::tell(outcome, progress);
                failures = 0;
            }
            Err(failure) => {
                tracing::error!(code = failure.code().as_str(), "{}", failure.chain());
                progress.done(&format!("qvdclient: {failure}"));
                let is_login = failure.code() == Code::LoginRefused;
                if (is_login || failure.code() == Code::NoPassword) && !terminal::is_there() {
                    return Err(failure);
                }
                refused |= is_login;
                failures += 1;
                sleep(wait(failures, terminal::is_there())).await;
            }
        }
    }
}

/// Where somebody sits there, he reads and tries again; a machine alone is
/// patient.
fn wait(failures: u32, somebody: bool) -> Duration {
    if somebody {
        return READ;
    }
    READ.saturating_mul(1 << failures.min(8)).min(LONGEST)
}

/// What the keyboard may do: leave a session, and nothing else.
struct Keys {
    orders: watch::Sender<Order>,
    ended: watch::Receiver<bool>,
}

impl Keys {
    /// Ctrl-C leaves a session that is there. What the machine sends
    /// (SIGTERM), and a terminal that is gone, end the program.
    fn watch(in_session: Arc<AtomicBool>) -> std::io::Result<Self> {
        let (orders, _) = watch::channel(Order::Run);
        let (end, ended) = watch::channel(false);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let leave = orders.clone();
        tokio::spawn(async move {
            while interrupt.recv().await.is_some() {
                // Elsewhere it would end the login.
                if in_session.load(Ordering::Relaxed) {
                    leave.send_replace(Order::Suspend);
                }
            }
        });
        // Ctrl-\ and Ctrl-Z.
        let stop = SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw());
        for kind in [SignalKind::quit(), stop] {
            ignore(signal(kind)?);
        }
        for kind in [SignalKind::terminate(), SignalKind::hangup()] {
            let mut signals = signal(kind)?;
            let end = end.clone();
            tokio::spawn(async move {
                signals.recv().await;
                end.send_replace(true);
            });
        }
        Ok(Self { orders, ended })
    }

    /// The orders of the next session.
    fn orders(&self) -> watch::Receiver<Order> {
        self.orders.send_replace(Order::Run);
        self.orders.subscribe()
    }
}

fn ignore(mut signals: Signal) {
    tokio::spawn(async move { while signals.recv().await.is_some() {} });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_alone_waits_longer_and_longer() {
        let alone = |failures| wait(failures, false).as_secs();
        assert_eq!([1, 2, 3, 4, 5, 99].map(alone), [6, 12, 24, 48, 60, 60]);
        assert_eq!(wait(99, true), READ);
    }
}
