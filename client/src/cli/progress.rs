//! What the user is told while something is under way.

mod pace;
mod share;

use std::fmt::{self, Write};
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use tokio::sync::oneshot;

use self::pace::Pace;
use crate::core::Event;

/// How a cause begins that is the connection's.
const BROKEN: &str = "connection to the session was lost: ";

/// Progress on standard error: a spinner on a terminal, lines elsewhere.
pub(super) struct Progress {
    /// There while something is under way.
    spinner: Option<ProgressBar>,
    terminal: bool,
    quiet: bool,
    /// Is told when the broker has taken the login.
    logged_in: Option<oneshot::Sender<()>>,
    /// Whether the session is in its window now.
    in_session: Arc<AtomicBool>,
    /// Of the attempts to get it back.
    pace: Pace,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            spinner: None,
            terminal: std::io::stderr().is_terminal(),
            quiet,
            logged_in: None,
            in_session: Arc::default(),
            pace: Pace::default(),
        }
    }

    /// Whether the session is in its window, now and later.
    pub(super) fn in_session(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.in_session)
    }

    /// Waits for the login to be taken; fails when it is not, and after
    /// [`Self::ended`].
    pub(super) fn login(&mut self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.logged_in = Some(sender);
        receiver
    }

    /// Nothing more will be told of this attempt.
    pub(super) fn ended(&mut self) {
        self.logged_in = None;
        self.in_session.store(false, Ordering::Relaxed);
    }

    pub(super) fn event(&mut self, event: &Event) {
        let stays = match event {
            Event::Reconnecting { .. } => self.pace.is_due(Instant::now()),
            _ => true,
        };
        match stays {
            true => tracing::info!("{event:?}"),
            false => tracing::debug!("{event:?}"),
        }
        match event {
            Event::Connected => self.in_session.store(true, Ordering::Relaxed),
            Event::Lost { .. } => {
                self.pace = Pace::default();
                self.in_session.store(false, Ordering::Relaxed);
            }
            _ => {}
        }
        match event {
            Event::CertificateAccepted { fault, certificate } => {
                self.warn(&format!(
                    "certificate accepted although {fault} ({certificate})"
                ));
            }
            // What is asked has the terminal to itself.
            Event::CertificateInDoubt => self.clear(),
            Event::CertificateNotKept(why) => {
                self.warn(&format!("the accepted certificate is not kept: {why}"));
            }
            Event::Resolving { host } => self.step(&format!("Looking {host} up")),
            Event::Connecting { address } => self.step(&format!("Connecting to {address}")),
            Event::Reached { .. } => {}
            Event::Authenticating => self.step("Logging in"),
            Event::Progress(text) => {
                self.taken();
                self.step(text);
            }
            Event::Opening => self.step("Opening the desktop"),
            Event::Connected => {
                self.taken();
                self.done("Connected; Ctrl-C suspends the session");
            }
            Event::SlaveListening(_) | Event::Gone => {}
            Event::Shared { .. }
            | Event::Unshared { .. }
            | Event::NotShared { .. }
            | Event::Opened { .. }
            | Event::NotOpened { .. } => self.share(event),
            Event::Lost { cause, .. } => {
                self.done(&match cause.strip_prefix(BROKEN) {
                    Some(why) => format!("The connection was lost ({why}); reconnecting"),
                    None => format!("The session was lost ({cause}); reconnecting"),
                });
            }
            // A line of each would be all that a log holds.
            Event::Reconnecting { .. } if !self.terminal && !stays => {}
            Event::Reconnecting {
                attempt,
                wait,
                left,
            } => {
                let attempt = Attempt {
                    number: *attempt,
                    at: Instant::now() + *wait,
                    until: Instant::now() + *left,
                };
                self.step(&attempt.to_string());
                if let Some(bar) = &self.spinner {
                    bar.set_style(attempt.style());
                }
            }
            Event::Leaving => self.step("Leaving the session"),
        }
    }

    fn taken(&mut self) {
        if let Some(logged_in) = self.logged_in.take() {
            // Nobody may wait for it.
            let _ = logged_in.send(());
        }
    }

    fn step(&mut self, text: &str) {
        if self.terminal && !self.quiet {
            let bar = self.spinner.get_or_insert_with(spinner);
            // One that counts down has its own.
            bar.set_style(style());
            bar.set_message(text.to_owned());
        } else {
            self.line(text);
        }
    }

    /// A line that stays, with nothing under way after it.
    pub(super) fn done(&mut self, text: &str) {
        self.clear();
        self.line(text);
    }

    #[allow(clippy::print_stderr, reason = "the user's terminal")]
    pub(super) fn warn(&self, text: &str) {
        let print = || eprintln!("qvdclient: warning: {text}");
        match &self.spinner {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    #[allow(clippy::print_stderr, reason = "the user's terminal")]
    fn line(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Takes the spinner away, for a question or an error.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.spinner.take() {
            bar.finish_and_clear();
        }
    }
}

/// An attempt to get the session back, which follows.
#[derive(Debug, Clone)]
struct Attempt {
    number: u32,
    at: Instant,
    /// When no more are made.
    until: Instant,
}

impl Attempt {
    /// What the spinner shows, as it is at each moment.
    fn style(self) -> ProgressStyle {
        let template = ProgressStyle::with_template("{spinner} {attempt}");
        let Ok(template) = template else {
            return style();
        };
        template.with_key("attempt", move |_: &ProgressState, out: &mut dyn Write| {
            // The bar's own text, which does not fail.
            let _ = write!(out, "{self}");
        })
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = Instant::now();
        let wait = self.at.saturating_duration_since(now).as_secs_f32();
        let left = self.until.saturating_duration_since(now).as_secs();
        f.write_str("Reconnecting")?;
        if wait >= 0.1 {
            write!(f, " in {wait:.1} s")?;
        }
        write!(f, " (attempt {}), for {left} s more", self.number)
    }
}

fn style() -> ProgressStyle {
    let template = ProgressStyle::with_template("{spinner} {wide_msg}");
    template.unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
