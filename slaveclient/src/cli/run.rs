use std::path::PathBuf;

use super::ending::Signals;
use super::say::{Say, print};
use super::{Arguments, Command, mount, share};
use crate::{Error, Offer, Registry, Session};

pub(super) fn run(arguments: Arguments) -> Result<(), Error> {
    let folder = match arguments.folder {
        Some(folder) => folder,
        None => home()?.join(".qvd"),
    };
    let say = Say {
        quiet: arguments.quiet,
    };
    let registry = Registry::new(&folder);
    let session = || Session::choose(&folder, arguments.session.as_deref());
    let signals = || Signals::hold().map_err(Error::file(&folder));
    match arguments.command {
        Command::Share {
            path,
            name,
            read_only,
        } => {
            let signals = signals()?;
            let offer = Offer {
                path,
                name,
                read_only,
            };
            share::run(session()?, &registry, &offer, signals, say, None)
        }
        Command::Unshare { what } => {
            let entry = registry.unshare(&what, arguments.session.as_deref())?;
            say.line(&format!("{} is no longer shared", entry.path.display()));
            Ok(())
        }
        Command::List { json } => {
            list(&registry, arguments.session.as_deref(), json);
            Ok(())
        }
        Command::Sessions { json } => {
            sessions(&Session::all(&folder), json);
            Ok(())
        }
        Command::Mount { remote, local } => {
            let signals = signals()?;
            mount::run(&session()?, &remote, &local, signals, say)
        }
        Command::Open { file } => {
            let signals = signals()?;
            share::open(session()?, &registry, &file, signals, say)
        }
    }
}

fn home() -> Result<PathBuf, Error> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    home.filter(|home| home.is_absolute())
        .ok_or_else(|| Error::NoSession("HOME is not set".into()))
}

fn list(registry: &Registry, session: Option<&str>, json: bool) {
    let mut entries = registry.list();
    entries.retain(|entry| session.is_none_or(|session| session == entry.session));
    if json {
        return print(&serde_json::to_string_pretty(&entries).unwrap_or_default());
    }
    for entry in entries {
        let mode = if entry.read_only {
            "read only"
        } else {
            "read and write"
        };
        print(&format!(
            "{}\t{}\t{mode}\t{}",
            entry.name,
            entry.path.display(),
            entry.session
        ));
    }
}

fn sessions(sessions: &[Session], json: bool) {
    if json {
        let all: Vec<_> = sessions
            .iter()
            .map(|one| {
                let about = one.about();
                serde_json::json!({
                    "name": one.name(),
                    "vm": about.vm,
                    "broker": about.broker,
                    "pid": about.pid,
                })
            })
            .collect();
        return print(&serde_json::to_string_pretty(&all).unwrap_or_default());
    }
    for one in sessions {
        let about = one.about();
        print(&format!("{}\t{}\t{}", one.name(), about.vm, about.broker));
    }
}
