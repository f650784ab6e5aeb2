//! `qvd-nxproxy`: the native engine as a program of nxproxy's arguments, and
//! what is known of recordings.

mod arguments;
mod link;
mod recording;
mod report;
mod run;
mod settings;
mod words;

use std::io::Write as _;
use std::process::ExitCode;

use arguments::{Arguments, Work};
pub use arguments::{ENVIRONMENT, EXAMPLES, OPTIONS, STATUSES, command};
use report::Report;
use settings::Settings;
use words::Words;

/// Wrong arguments (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(words) = arguments::plain(std::env::args_os().skip(1)) {
        return ended(session(&words));
    }
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    let done = match arguments.work() {
        Ok(Work::Session(words)) => session(words),
        Ok(Work::Replay(folder, out)) => recording::replay(folder, out),
        Ok(Work::Dump(folder)) => recording::dump(folder),
        Err(reason) => {
            tell(&reason);
            return ExitCode::from(USAGE);
        }
    };
    ended(done)
}

/// The exit status of what was done.
fn ended(done: Result<bool, String>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        // The log says why.
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            tell(&reason);
            ExitCode::FAILURE
        }
    }
}

/// Runs a session of these words of the command line.
fn session(given: &[String]) -> Result<bool, String> {
    let mut words = Words::default();
    let environment = std::env::var("DISPLAY").unwrap_or_default();
    let holds_options = words.take_display(&environment)?;
    for word in given {
        words.take(word)?;
    }
    let settings = Settings::of(words)?;
    let display = match (&settings.display, holds_options) {
        (Some(display), _) => display.clone(),
        (None, false) if !environment.is_empty() => environment,
        _ => return Err(crate::Error::NoDisplay.to_string()),
    };
    let report = Report::of(&settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("runtime: {error}"))?;
    // Not on the stack, of which what was used once stays.
    Ok(runtime.block_on(Box::pin(run::run(&settings, &display, report))))
}

fn tell(reason: &str) {
    // Nobody may be listening any more.
    let _ = writeln!(std::io::stderr(), "Error: {reason}.");
}
