//! `qvd-nxproxy`: the native engine as a program of nxproxy's arguments, and
//! what is known of recordings.

mod arguments;
mod link;
mod others;
mod recording;
mod report;
mod run;
mod settings;
mod signals;
mod words;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use arguments::{Arguments, Work};
pub use arguments::{ENVIRONMENT, EXAMPLES, OPTIONS, STATUSES, command};
use report::Report;
use settings::Settings;
use words::Words;

/// Wrong arguments (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;

/// Why nothing was done.
enum Fault {
    /// The arguments are wrong; how.
    Usage(String),
    /// Something else is.
    Other(String),
}

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
        Ok(Work::Replay(folder, out)) => recording::replay(folder, out).map_err(Fault::Other),
        Ok(Work::Dump(folder)) => recording::dump(folder).map_err(Fault::Other),
        Err(reason) => Err(Fault::Usage(reason)),
    };
    ended(done)
}

/// The exit status of what was done.
fn ended(done: Result<bool, Fault>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        // The log says why.
        Ok(false) => ExitCode::FAILURE,
        Err(Fault::Usage(reason)) => {
            tell(&reason);
            ExitCode::from(USAGE)
        }
        Err(Fault::Other(reason)) => {
            tell(&reason);
            ExitCode::FAILURE
        }
    }
}

/// Runs a session of these words of the command line.
fn session(given: &[String]) -> Result<bool, Fault> {
    let mut words = Words::default();
    let environment = std::env::var("DISPLAY").unwrap_or_default();
    let taken = take(&mut words, &environment, given).map_err(Fault::Usage);
    // They end with the session, also with one that does not begin.
    let kill = settings::processes(&words);
    let begun = taken.and_then(|holds_options| {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
        let home = home.map(PathBuf::from);
        let settings = Settings::of(words, home.as_deref()).map_err(Fault::Usage)?;
        let display = match &settings.display {
            Some(display) => display.clone(),
            None if !holds_options && !environment.is_empty() => environment,
            None => return Err(Fault::Other(crate::Error::NoDisplay.to_string())),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Fault::Other(format!("runtime: {error}")))?;
        Ok((settings, display, runtime))
    });
    match begun {
        // Not on the stack, of which what was used once stays.
        Ok((settings, display, runtime)) => {
            let report = Report::of(&settings);
            Ok(runtime.block_on(Box::pin(run::run(&settings, &display, report))))
        }
        Err(fault) => {
            run::end_processes(&kill);
            Err(fault)
        }
    }
}

/// Takes the options of the environment and of the command line; whether there
/// are some in the environment.
fn take(words: &mut Words, environment: &str, given: &[String]) -> Result<bool, String> {
    let holds_options = words.take_display(environment)?;
    for word in given {
        words.take(word)?;
    }
    Ok(holds_options)
}

fn tell(reason: &str) {
    // Nobody may be listening any more.
    let _ = writeln!(std::io::stderr(), "Error: {reason}.");
}
