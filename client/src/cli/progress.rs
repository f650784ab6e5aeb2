//! What the user is told while something is under way.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::core::Event;

/// Progress on standard error: a spinner on a terminal, lines elsewhere.
pub(super) struct Progress {
    /// There while something is under way.
    spinner: Option<ProgressBar>,
    terminal: bool,
    quiet: bool,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            spinner: None,
            terminal: std::io::stderr().is_terminal(),
            quiet,
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        tracing::info!("{event:?}");
        match event {
            Event::CertificateAccepted { fault, certificate } => {
                self.warn(&format!(
                    "certificate accepted although {fault} ({certificate})"
                ));
            }
            Event::Resolving { host } => self.step(&format!("Looking {host} up")),
            Event::Connecting { address } => self.step(&format!("Connecting to {address}")),
            Event::Authenticating => self.step("Logging in"),
            Event::Progress(text) => self.step(text),
            Event::Opening => self.step("Opening the desktop"),
            Event::Connected => self.done("Connected; Ctrl-C suspends the session"),
            Event::Leaving => self.step("Leaving the session"),
        }
    }

    fn step(&mut self, text: &str) {
        if self.terminal && !self.quiet {
            let bar = self.spinner.get_or_insert_with(spinner);
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

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
