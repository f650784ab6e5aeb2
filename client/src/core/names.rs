//! Where a broker's name has led to. A name service may not answer any more
//! when the network has gone, and takes its time to when that is back: who has
//! been reached before is found without it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long looking a name up may take.
const RESOLVE: Duration = Duration::from_secs(15);

/// The same where it is known to what the name has led.
const HEAD_START: Duration = Duration::from_millis(500);

/// What has come of a question.
type Answer = Option<Result<Vec<SocketAddr>, String>>;

/// What one broker's name has led to, for all who have a clone of this.
#[derive(Debug, Clone, Default)]
pub struct Names(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Of the last answer.
    addresses: Vec<SocketAddr>,
    /// The question that is asked. There is one at a time: each has a thread
    /// that waits for as long as the name service lets it.
    asked: Option<watch::Receiver<Answer>>,
}

impl Names {
    /// The addresses of `host`: those of the last answer where the name service
    /// has none, or not at once. A late answer is for the next who asks.
    ///
    /// # Errors
    /// Why the host is not known, and was not known before.
    pub(super) async fn of(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let (mut asked, known) = self.ask(host, port);
        let patience = match known.is_empty() {
            true => RESOLVE,
            false => HEAD_START,
        };
        let answer = match timeout(patience, asked.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer.clone(),
            _ => None,
        };
        match answer {
            Some(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
            _ if !known.is_empty() => {
                tracing::debug!(host, "the name service does not help");
                Ok(known)
            }
            Some(Ok(_)) => Err("it has no address".to_owned()),
            Some(Err(why)) => Err(why),
            None => Err("the name service does not answer".to_owned()),
        }
    }

    /// The question that is asked, or is asked now; and what is known.
    fn ask(&self, host: &str, port: u16) -> (watch::Receiver<Answer>, Vec<SocketAddr>) {
        let mut known = self.lock();
        let addresses = known.addresses.clone();
        if let Some(asked) = &known.asked {
            return (asked.clone(), addresses);
        }
        let (tell, asked) = watch::channel(None);
        known.asked = Some(asked.clone());
        let (names, host) = (self.clone(), host.to_owned());
        tokio::spawn(async move {
            let found = lookup_host((host, port)).await;
            let found = found.map(Iterator::collect::<Vec<_>>);
            let mut known = names.lock();
            known.asked = None;
            if let Ok(addresses) = &found
                && !addresses.is_empty()
            {
                known.addresses.clone_from(addresses);
            }
            // Whoever asked may have gone.
            let _ = tell.send(Some(found.map_err(|error| error.to_string())));
        });
        (asked, addresses)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_name_has_led_to_is_known_when_nobody_answers() {
        let names = Names::default();
        let silent = |names: &Names| {
            let (tell, asked) = watch::channel(None);
            names.lock().asked = Some(asked);
            tell
        };
        // A name that does not exist, before anything is known.
        let unknown = names.of("no-such-host.invalid", 1).await.unwrap_err();
        assert!(!unknown.is_empty());
        let found = names.of("localhost", 7).await.unwrap();
        assert!(found.iter().all(|address| address.port() == 7));
        assert_eq!(names.of("no-such-host.invalid", 7).await.unwrap(), found);
        // One question at a time, that nobody answers.
        let tell = silent(&names);
        assert_eq!(names.of("localhost", 7).await.unwrap(), found);
        assert!(names.lock().asked.is_some());
        // Answered late, it counts for whoever still asks.
        let other: SocketAddr = ([192, 0, 2, 1], 7).into();
        let asks = names.of("localhost", 7);
        let answers = async {
            tokio::task::yield_now().await;
            tell.send(Some(Ok(vec![other]))).unwrap();
        };
        assert_eq!(tokio::join!(asks, answers).0.unwrap(), [other]);
    }
}
