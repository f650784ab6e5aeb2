//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, CommandFactory as _, Parser};

/// Draws an NX session on this display, in place of nxproxy.
///
/// Takes nxproxy's arguments for the server role: the session is drawn by this
/// program, which needs neither nxproxy nor its library. Options that concern
/// the link are the agent's to choose, and are taken without effect.
#[derive(Parser, Debug)]
#[command(
    name = "qvd-nxproxy",
    version,
    disable_version_flag = true,
    after_help = after_help()
)]
pub(super) struct Arguments {
    /// Draw a session: the role of the X server's side, the only one there is
    #[arg(short = 'S', conflicts_with_all = ["dump", "replay"])]
    server: bool,
    /// The role of the agent's side, which this program does not have
    #[arg(short = 'C', hide = true, conflicts_with_all = ["dump", "replay"])]
    client: bool,
    /// Taken for nxproxy's sake, without effect
    #[arg(short = 'd', value_name = "LEVEL", hide = true)]
    _level: Option<String>,
    /// Taken for nxproxy's sake, without effect
    #[arg(short = 'o', value_name = "FILE", hide = true)]
    _log: Option<PathBuf>,
    /// Taken for nxproxy's sake, without effect
    #[arg(short = 'f', value_name = "FORMAT", hide = true)]
    _format: Option<String>,
    /// Print a recorded session request by request
    #[arg(long, value_name = "FOLDER", conflicts_with = "replay")]
    dump: Option<PathBuf>,
    /// Decode a recorded session: nx.0.t2c and x11.0.t2c, unpacked
    #[arg(long, value_name = "FOLDER", requires = "out")]
    replay: Option<PathBuf>,
    /// The file for the X11 bytes of --replay
    #[arg(long, value_name = "FILE", requires = "replay")]
    out: Option<PathBuf>,
    /// Print the version
    #[arg(short = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,
    /// host:number of the agent, options as key=value, or a list of them as
    /// nx/nx,key=value,...:number
    #[arg(value_name = "WORD", conflicts_with_all = ["dump", "replay"])]
    words: Vec<String>,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Work<'a> {
    Session(&'a [String]),
    Replay(&'a Path, &'a Path),
    Dump(&'a Path),
}

/// What the exit status means.
pub const STATUSES: [(u8, &str); 3] = [
    (
        0,
        "the session ended in order, or by a signal; the recording was decoded",
    ),
    (1, "it did not: the log says why"),
    (super::USAGE, "the arguments are wrong"),
];

/// The variables the program looks at.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "DISPLAY",
        "the display to draw on; or options as nx/nx,key=value,...:number, with display= for the display",
    ),
    (
        "XAUTHORITY",
        "the file with the display's cookie, where it is not ~/.Xauthority",
    ),
    (
        "NX_SLAVE_CMD",
        "the program that serves the agent's slave channels, with each as its standard input and output",
    ),
];

/// Examples of the command line.
pub const EXAMPLES: &[(&str, &str)] = &[
    (
        "qvd-nxproxy -S localhost:40",
        "draws the session of the agent at port 4040",
    ),
    (
        "qvd-nxproxy -S nx/nx,options=FILE:50",
        "with the options of a file, as X2Go writes it",
    ),
    (
        "qvd-nxproxy -S media=4713 cups=1 localhost:40",
        "with sound and printers of this machine",
    ),
    (
        "qvd-nxproxy -S nx/nx,accept=vm.example,listen=4282:40",
        "waits for the agent on that host",
    ),
];

/// The options that have an effect.
pub const OPTIONS: &[(&str, &str)] = &[
    (
        "connect=HOST, port=N",
        "where the agent is; the port is 4000 and the number else",
    ),
    (
        "retry=N",
        "so many tries to connect, a second apart; 30 else",
    ),
    (
        "listen=N, accept=HOST, loopback=1",
        "wait for the agent instead",
    ),
    ("cookie=WORD", "what the agent was started with"),
    ("display=NAME", "the display, in place of DISPLAY"),
    (
        "media=PLACE, cups=PLACE, smb=PLACE, http=PLACE",
        "servers that the session may reach: a port of this machine, tcp:HOST:PORT, unix:PATH, or 1 for the usual port",
    ),
    (
        "slave=PLACE",
        "where connections to the agent's slave are taken",
    ),
    (
        "font=PLACE",
        "where connections to the agent's font server are taken",
    ),
    (
        "root=FOLDER, session=FILE, errors=FILE, stats=FILE",
        "files for the log, for errors, and for statistics (also on SIGUSR1)",
    ),
    ("kill=PID", "a process that gets SIGTERM at the end"),
    ("options=FILE", "further options"),
];

fn after_help() -> String {
    let mut text = "Options:\n".to_owned();
    for (option, meaning) in OPTIONS {
        text.push_str(&format!("  {option}\n      {meaning}\n"));
    }
    text.push_str("\nExit status:\n");
    for (status, meaning) in STATUSES {
        text.push_str(&format!("  {status}  {meaning}\n"));
    }
    text
}

/// The definition of the command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// The words of a command line that is nothing but `-S` and words, as those
/// who start nxproxy write it. Such a session goes without the parser, whose
/// pages it would hold to its end.
pub(super) fn plain(arguments: impl Iterator<Item = OsString>) -> Option<Vec<String>> {
    let mut server = false;
    let mut words = Vec::new();
    for argument in arguments {
        match argument.into_string().ok()? {
            role if role == "-S" && !server => server = true,
            word if word.starts_with('-') || word.is_empty() => return None,
            word => words.push(word),
        }
    }
    server.then_some(words)
}

impl Arguments {
    /// Of this process; else what it ends with, which has been said.
    pub(super) fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            // Nobody may be listening any more.
            let _ = error.print();
            match error.use_stderr() {
                true => ExitCode::from(super::USAGE),
                false => ExitCode::SUCCESS,
            }
        })
    }

    /// What is to be done.
    ///
    /// # Errors
    /// The arguments do not say it.
    pub(super) fn work(&self) -> Result<Work<'_>, String> {
        match (&self.dump, &self.replay, &self.out) {
            (Some(folder), _, _) => Ok(Work::Dump(folder)),
            (_, Some(folder), Some(out)) => Ok(Work::Replay(folder, out)),
            _ if self.client => {
                Err("option -C is not of this program: nxagent has that role".into())
            }
            _ if self.server => Ok(Work::Session(&self.words)),
            _ => Err("please specify the -S option".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn options_and_words_may_stand_in_any_order() {
        let arguments = ["qvd-nxproxy", "media=4713", "-S", "localhost:40"];
        let arguments = Arguments::try_parse_from(arguments).unwrap();
        let Ok(Work::Session(words)) = arguments.work() else {
            panic!("no session");
        };
        assert_eq!(words, ["media=4713", "localhost:40"]);
    }

    #[test]
    fn a_plain_session_is_read_as_the_parser_reads_it() {
        let plain = |line: &[&str]| plain(line.iter().map(OsString::from));
        for line in [
            &["-S", "localhost:40"][..],
            &["media=4713", "-S", "nx/nx,kill=1:40"],
            &["-S"],
        ] {
            let all = ["qvd-nxproxy"].iter().chain(line);
            let parsed = Arguments::try_parse_from(all).unwrap();
            let Ok(Work::Session(words)) = parsed.work() else {
                panic!("no session");
            };
            assert_eq!(plain(line).as_deref(), Some(words), "{line:?}");
        }
        for line in [
            &["localhost:40"][..],
            &["-S", "-S", "a:1"],
            &["-S", "--", "a:1"],
            &["-S", "-d", "7", "a:1"],
            &["-S", "--help"],
            &["-S", ""],
            &[],
        ] {
            assert_eq!(plain(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_role_is_needed() {
        for arguments in [
            &["qvd-nxproxy", "localhost:40"][..],
            &["qvd-nxproxy", "-C", "a:1"],
        ] {
            let arguments = Arguments::try_parse_from(arguments).unwrap();
            assert!(arguments.work().is_err());
        }
        assert!(Arguments::try_parse_from(["qvd-nxproxy", "--replay", "x"]).is_err());
    }

    #[test]
    fn nothing_stands_beside_a_recording_without_effect() {
        for more in ["-C", "-S", "word"] {
            for recording in [&["--dump", "x"][..], &["--replay", "x", "--out", "y"]] {
                let all = ["qvd-nxproxy"].iter().chain(recording).chain([&more]);
                assert!(Arguments::try_parse_from(all).is_err(), "{more}");
            }
        }
    }
}
