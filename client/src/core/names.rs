//! Where a broker's name has led to. A name service may not answer any more
//! when the network has gone, and takes its time to when that is back: a broker
//! that has been reached before is found without it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How long looking a name up may take.
const RESOLVE: Duration = Duration::from_secs(15);

/// The same where the broker was reached before.
const HEAD_START: Duration = Duration::from_millis(500);

/// Most questions at a time: each has a thread that waits for as long as the
/// name service lets it.
const MAX_QUESTIONS: usize = 4;

/// How long an answer counts that nobody has taken: it came after who asked had
/// gone on, and the next may ask much later.
const FRESH: Duration = Duration::from_secs(30);

/// What has come of a question, and when.
type Answer = Option<(Instant, Result<Vec<SocketAddr>, String>)>;

/// Where a broker's name has led to, for all who have a clone of this.
#[derive(Debug, Clone, Default)]
pub struct Names(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Where the broker has shown that it is the one it should be.
    proved: Option<SocketAddr>,
    /// The question that is asked, or whose answer nobody has taken yet.
    asked: Option<watch::Receiver<Answer>>,
    /// Questions of which nothing has come yet, with those given up.
    waiting: usize,
}

/// Addresses of a host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Addresses {
    /// As the name service says.
    Found(Vec<SocketAddr>),
    /// As it was when the broker was there. Somebody else may be now.
    Remembered(SocketAddr),
}

impl Names {
    /// The addresses of `host`: the one of before where the name service says
    /// nothing, or not at once. A late answer is for the next who asks.
    ///
    /// # Errors
    /// Why the host is not known, and was not known before.
    pub(super) async fn of(&self, host: &str, port: u16) -> Result<Addresses, String> {
        let (asked, proved) = self.ask(host, port);
        let question = asked.clone();
        let patience = match proved {
            None => RESOLVE,
            Some(_) => HEAD_START,
        };
        let answer = async {
            let mut asked = asked?;
            let answer = asked.wait_for(Option::is_some).await.ok()?;
            answer.clone()
        };
        let answer = timeout(patience, answer).await.ok().flatten();
        if answer.is_some()
            && let Some(question) = question
        {
            self.forget(&question);
        }
        match (answer, proved) {
            (Some((_, Ok(addresses))), _) if !addresses.is_empty() => {
                Ok(Addresses::Found(addresses))
            }
            (_, Some(address)) => Ok(Addresses::Remembered(address)),
            (Some((_, Ok(_))), None) => Err("it has no address".to_owned()),
            (Some((_, Err(why))), None) => Err(why),
            (None, None) => Err("the name service does not answer".to_owned()),
        }
    }

    /// The broker is at this address, and has proved it.
    pub(super) fn prove(&self, address: SocketAddr) {
        self.lock().proved = Some(address);
    }

    /// The network is another one: what is asked in it is asked anew.
    pub(super) fn renew(&self) {
        self.lock().asked = None;
    }

    /// The question that is asked, or is asked now; and where the broker was.
    fn ask(&self, host: &str, port: u16) -> (Option<watch::Receiver<Answer>>, Option<SocketAddr>) {
        let mut known = self.lock();
        known.asked.take_if(|asked| is_stale(&asked.borrow()));
        if known.asked.is_none() && known.waiting < MAX_QUESTIONS {
            let (tell, asked) = watch::channel(None);
            known.asked = Some(asked);
            known.waiting = known.waiting.saturating_add(1);
            let (names, host) = (self.clone(), host.to_owned());
            tokio::spawn(async move {
                let found = lookup_host((host, port)).await;
                names.answered(&tell, found.map(Iterator::collect));
            });
        }
        (known.asked.clone(), known.proved)
    }

    fn answered(&self, tell: &watch::Sender<Answer>, found: std::io::Result<Vec<SocketAddr>>) {
        {
            let mut known = self.lock();
            known.waiting = known.waiting.saturating_sub(1);
        }
        // Whoever asked may have gone: addresses are for the next.
        let is_found = found.as_ref().is_ok_and(|found| !found.is_empty());
        let found = found.map_err(|error| error.to_string());
        tell.send_replace(Some((Instant::now(), found)));
        if !is_found {
            self.forget(&tell.subscribe());
        }
    }

    /// What was asked is asked anew.
    fn forget(&self, question: &watch::Receiver<Answer>) {
        let mut known = self.lock();
        if let Some(asked) = &known.asked
            && asked.same_channel(question)
        {
            known.asked = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer is of long ago.
fn is_stale(answer: &Answer) -> bool {
    answer.as_ref().is_some_and(|(at, _)| at.elapsed() > FRESH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question that is asked; nobody answers it but with what is returned.
    fn asked(names: &Names) -> watch::Sender<Answer> {
        let (tell, asked) = watch::channel(None);
        let mut known = names.lock();
        known.asked = Some(asked);
        known.waiting += 1;
        tell
    }

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 8443).into()
    }

    #[tokio::test]
    async fn the_name_service_is_believed_where_it_answers() {
        let names = Names::default();
        names.prove(address(1));
        let tell = asked(&names);
        let answers = async {
            tokio::task::yield_now().await;
            names.answered(&tell, Ok(vec![address(2)]));
        };
        let (found, ()) = tokio::join!(names.of("broker", 8443), answers);
        assert_eq!(found, Ok(Addresses::Found(vec![address(2)])));
        assert_eq!(names.lock().waiting, 0);
        assert!(names.lock().asked.is_none());
    }

    #[tokio::test]
    async fn a_broker_is_found_again_without_the_name_service() {
        let names = Names::default();
        let tell = asked(&names);
        names.answered(&tell, Err(std::io::ErrorKind::NotFound.into()));
        names.prove(address(1));
        // It does not answer.
        let tell = asked(&names);
        let found = names.of("broker", 8443).await;
        assert_eq!(found, Ok(Addresses::Remembered(address(1))));
        // It says that there is no such name.
        let answers = async {
            tokio::task::yield_now().await;
            names.answered(&tell, Err(std::io::ErrorKind::NotFound.into()));
        };
        let (found, ()) = tokio::join!(names.of("broker", 8443), answers);
        assert_eq!(found, Ok(Addresses::Remembered(address(1))));
    }

    #[tokio::test]
    async fn a_late_answer_is_for_the_next_who_asks() {
        let names = Names::default();
        names.prove(address(1));
        let tell = asked(&names);
        let found = names.of("broker", 8443).await;
        assert_eq!(found, Ok(Addresses::Remembered(address(1))));
        names.answered(&tell, Ok(vec![address(2)]));
        let found = names.of("broker", 8443).await;
        assert_eq!(found, Ok(Addresses::Found(vec![address(2)])));
        assert!(names.lock().asked.is_none());
    }

    #[tokio::test]
    async fn an_answer_of_long_ago_does_not_count() {
        let names = Names::default();
        names.prove(address(1));
        // Two that came after who asked had gone on.
        let found = Ok(vec![address(2)]);
        let now = Instant::now();
        let long_ago = now.checked_sub(FRESH + Duration::from_secs(1)).unwrap();
        for (at, counts) in [(now, true), (long_ago, false)] {
            let tell = asked(&names);
            tell.send_replace(Some((at, found.clone())));
            let question = names.lock().asked.clone().unwrap();
            // All others are waited for still, so that none is added.
            names.lock().waiting = MAX_QUESTIONS;
            let (next, _) = names.ask("broker", 8443);
            let is_same = next.is_some_and(|next| next.same_channel(&question));
            assert_eq!(is_same, counts);
        }
    }

    #[tokio::test]
    async fn a_question_of_another_network_does_not_count() {
        let names = Names::default();
        names.prove(address(1));
        let old = asked(&names);
        names.renew();
        let new = asked(&names);
        let answers = async {
            tokio::task::yield_now().await;
            names.answered(&old, Ok(vec![address(2)]));
            assert!(names.lock().asked.is_some());
            names.answered(&new, Ok(vec![address(3)]));
        };
        let (found, ()) = tokio::join!(names.of("broker", 8443), answers);
        assert_eq!(found, Ok(Addresses::Found(vec![address(3)])));
        // There are no more than so many, whatever becomes of them.
        let _waiting: Vec<_> = (0..MAX_QUESTIONS).map(|_| asked(&names)).collect();
        names.renew();
        let found = names.of("broker", 8443).await;
        assert_eq!(found, Ok(Addresses::Remembered(address(1))));
        assert!(names.lock().asked.is_none());
    }
}
