//! The test of the way to a broker, step by step.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::login::Login;
use super::progress::Progress;
use super::settings::Settings;
use super::terminal;
use crate::core::{Broker, Event, Failure};
use qvd_broker::Credentials;
use secrecy::SecretString;

/// The steps, in their order.
const STEPS: [&str; 5] = ["name", "tcp", "tls", "ping", "login"];

/// How a step went.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// It took this long; what was found.
    Good(Duration, String),
    /// It failed after this long; why.
    Bad(Duration, String),
    /// It was not tried; why.
    Skipped(String),
}

/// What is known after the test.
pub(super) struct Report {
    steps: Vec<(&'static str, Step)>,
    /// Why the way does not lead to the broker.
    pub(super) failure: Option<Failure>,
}

/// Tests name, connection, TLS, ping and login; what follows a step that
/// failed is not tried. Without a login, and without somebody who could be
/// asked for the password, logging in is left out.
pub(super) async fn run(settings: &Settings, progress: &mut Progress) -> Report {
    let mut report = Report {
        steps: Vec::new(),
        failure: None,
    };
    if let Err(failure) = steps(settings, progress, &mut report.steps).await {
        report.failure = Some(failure);
    }
    for step in STEPS.into_iter().skip(report.steps.len()) {
        let why = Step::Skipped("not tried".into());
        report.steps.push((step, why));
    }
    report
}

async fn steps(
    settings: &Settings,
    progress: &mut Progress,
    done: &mut Vec<(&'static str, Step)>,
) -> Result<(), Failure> {
    let login = login(settings, progress).await?;
    let mut way = Way::new(settings.tls.is_some());
    let nobody = Credentials::Basic {
        login: String::new(),
        password: SecretString::default(),
    };
    let credentials = login.as_ref().map(|login| login.credentials.clone());
    let target = settings.target(credentials.unwrap_or(nobody));
    let opened = Broker::open(target, &mut |event| way.event(event)).await;
    way.ended(opened.as_ref().err(), done);
    for warning in way.warnings {
        progress.warn(&warning);
    }
    let mut broker = opened?;

    let begin = Instant::now();
    let pinged = broker.ping(&mut |_| {}).await;
    done.push(("ping", result(begin, &pinged, |()| "alive".into())));
    pinged?;

    if login.is_none() {
        let why = Step::Skipped("no login is given".into());
        done.push(("login", why));
        return Ok(());
    }
    let begin = Instant::now();
    let listed = broker.vms(&mut |_| {}).await;
    let count = |vms: &Vec<_>| format!("{} virtual machines", vms.len());
    done.push(("login", result(begin, &listed, count)));
    listed.map(drop)
}

async fn login(settings: &Settings, progress: &mut Progress) -> Result<Option<Login>, Failure> {
    let has_password = settings.password.is_some() || settings.remember || terminal::is_there();
    if settings.token.is_none() && (settings.login.is_empty() || !has_password) {
        return Ok(None);
    }
    Login::of(settings, progress).await.map(Some)
}

fn result<T>(
    begin: Instant,
    outcome: &Result<T, Failure>,
    words: impl FnOnce(&T) -> String,
) -> Step {
    match outcome {
        Ok(found) => Step::Good(begin.elapsed(), words(found)),
        Err(failure) => Step::Bad(begin.elapsed(), failure.to_string()),
    }
}

/// The way to a connection, from the events on it.
struct Way {
    tls: bool,
    begin: Instant,
    host: String,
    /// When the name was known, and how often an address was tried.
    resolved: Option<(Instant, usize)>,
    reached: Option<(Instant, String)>,
    warnings: Vec<String>,
}

impl Way {
    fn new(tls: bool) -> Self {
        Self {
            tls,
            begin: Instant::now(),
            host: String::new(),
            resolved: None,
            reached: None,
            warnings: Vec::new(),
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            // Asked about a certificate, the client goes the whole way again.
            Event::Resolving { host } => {
                *self = Self {
                    warnings: std::mem::take(&mut self.warnings),
                    ..Self::new(self.tls)
                };
                self.host = host;
            }
            Event::Connecting { .. } => {
                let (at, tries) = self.resolved.unwrap_or_else(|| (Instant::now(), 0));
                self.resolved = Some((at, tries + 1));
            }
            Event::Reached { address, .. } => {
                self.reached = Some((Instant::now(), address.to_string()));
            }
            Event::CertificateAccepted { fault, certificate } => {
                let text = format!("certificate accepted although {fault} ({certificate})");
                self.warnings.push(text);
            }
            _ => {}
        }
    }

    fn ended(&self, failure: Option<&Failure>, done: &mut Vec<(&'static str, Step)>) {
        let bad = |since: Instant| {
            let why = failure.map(ToString::to_string).unwrap_or_default();
            Step::Bad(since.elapsed(), why)
        };
        let Some((resolved, _)) = self.resolved else {
            return done.push(("name", bad(self.begin)));
        };
        done.push(("name", Step::Good(resolved - self.begin, self.host.clone())));
        let Some((reached, address)) = &self.reached else {
            return done.push(("tcp", bad(resolved)));
        };
        done.push(("tcp", Step::Good(*reached - resolved, address.clone())));
        done.push((
            "tls",
            match (failure, self.tls) {
                (Some(_), _) => bad(*reached),
                (None, true) => Step::Good(reached.elapsed(), "certificate accepted".into()),
                (None, false) => Step::Skipped("not encrypted".into()),
            },
        ));
    }
}

impl Report {
    /// A line for each step.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (step, result) in &self.steps {
            // Writing to a String cannot fail.
            let _ = match result {
                Step::Good(took, what) => {
                    writeln!(text, "{step:<6} ok      {:>9}  {what}", millis(*took))
                }
                Step::Bad(took, why) => {
                    writeln!(text, "{step:<6} failed  {:>9}  {why}", millis(*took))
                }
                Step::Skipped(why) => writeln!(text, "{step:<6} -       {:>9}  {why}", ""),
            };
        }
        text
    }

    /// The same for programs: times in milliseconds.
    pub(super) fn json(&self) -> String {
        let steps: Vec<_> = self
            .steps
            .iter()
            .map(|(step, result)| {
                let (word, took, text) = match result {
                    Step::Good(took, text) => ("ok", Some(took), text),
                    Step::Bad(took, text) => ("failed", Some(took), text),
                    Step::Skipped(text) => ("skipped", None, text),
                };
                serde_json::json!({
                    "step": step,
                    "result": word,
                    "milliseconds": took.map(|took| took.as_secs_f64() * 1000.0),
                    "text": text,
                })
            })
            .collect();
        format!("{}\n", serde_json::Value::from(steps))
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Code;

    #[test]
    fn each_step_has_its_line() {
        let report = Report {
            steps: vec![
                ("name", Step::Good(Duration::from_micros(1500), "b".into())),
                ("tcp", Step::Bad(Duration::from_secs(10), "refused".into())),
                ("tls", Step::Skipped("not tried".into())),
            ],
            failure: None,
        };
        assert_eq!(
            report.text(),
            "name   ok         1.5 ms  b\n\
             tcp    failed  10000.0 ms  refused\n\
             tls    -                  not tried\n"
        );
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json[0]["milliseconds"], 1.5);
        assert_eq!(json[1]["result"], "failed");
        assert_eq!(json[2]["milliseconds"], serde_json::Value::Null);
    }

    #[test]
    fn the_step_that_failed_is_the_one_that_was_under_way() {
        let failure = Failure::new(Code::ConnectFailed, "because");
        let address = "127.0.0.1:1".parse().unwrap();
        let events = [
            Event::Resolving { host: "b".into() },
            Event::Connecting { address },
            Event::Reached {
                address,
                own: address,
            },
        ];
        for (told, failed) in [(1, "name"), (2, "tcp"), (3, "tls")] {
            let mut way = Way::new(true);
            for event in events.iter().take(told) {
                way.event(event.clone());
            }
            let mut done = Vec::new();
            way.ended(Some(&failure), &mut done);
            let (step, result) = done.last().unwrap();
            assert_eq!(*step, failed);
            assert!(matches!(result, Step::Bad(_, why) if why == "because"));
        }
    }
}
