use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use qvd_share::mount::{Options, mount};
use qvd_share::serve::Stopper;

use super::{Arguments, Command};
use crate::{Entry, Error, Offer, Registry, Session};

pub(super) fn run(arguments: Arguments) -> Result<(), Error> {
    let folder = match arguments.folder {
        Some(folder) => folder,
        None => home()?.join(".qvd"),
    };
    let registry = Registry::new(&folder);
    let session = || Session::choose(&folder, arguments.session.as_deref());
    match arguments.command {
        Command::Share {
            path,
            name,
            read_only,
        } => {
            let offer = Offer {
                path,
                name,
                read_only,
            };
            share(&session()?, &registry, &offer, |_, _| Ok(()))
        }
        Command::Unshare { what } => {
            let entry = registry.unshare(&what)?;
            say(&format!("{} is no longer shared", entry.path.display()));
            Ok(())
        }
        Command::List { json } => {
            list(&registry, json);
            Ok(())
        }
        Command::Mount { remote, local } => mounted(&session()?, &remote, &local),
        Command::Open { file } => open(&session()?, &registry, &file),
    }
}

fn home() -> Result<PathBuf, Error> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    home.filter(|home| home.is_absolute())
        .ok_or_else(|| Error::NoSession("HOME is not set".into()))
}

/// Shares until either end ends it; `then` is done once it is shared.
fn share(
    session: &Session,
    registry: &Registry,
    offer: &Offer,
    then: impl FnOnce(&Session, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let stream = session.connect().map_err(Error::Channel)?;
    let sharing = crate::share(stream, session.key(), offer)?;
    let ticket = sharing.ticket().to_vec();
    let name = String::from_utf8_lossy(&ticket).into_owned();
    let path = std::fs::canonicalize(&offer.path).map_err(Error::file(&offer.path))?;
    let entry = Entry {
        name: name.clone(),
        path: path.clone(),
        read_only: offer.read_only,
        session: session.name().to_owned(),
    };
    let stopper = Stopper::new();
    let registered = registry.register(&entry, stopper.clone())?;
    say(&format!(
        "{} is shared as {name}{}; Ctrl-C or `qvd-slaveclient unshare {name}` ends it",
        path.display(),
        if offer.read_only { ", read only" } else { "" },
    ));
    // The VM has mounted it once it is served.
    let session = session.clone();
    std::thread::scope(|scope| {
        let served = scope.spawn(|| sharing.serve(&stopper));
        let done = then(&session, &ticket);
        if done.is_err() {
            stopper.stop();
        }
        let served = served.join().unwrap_or(Err(Error::Silent));
        done.and(served)
    })?;
    drop(registered);
    say(&format!("{} is no longer shared", path.display()));
    Ok(())
}

fn list(registry: &Registry, json: bool) {
    let entries = registry.list();
    if json {
        say(&serde_json::to_string_pretty(&entries).unwrap_or_default());
        return;
    }
    for entry in entries {
        let mode = if entry.read_only {
            "read only"
        } else {
            "read and write"
        };
        say(&format!(
            "{}\t{}\t{mode}\t{}",
            entry.name,
            entry.path.display(),
            entry.session
        ));
    }
}

fn mounted(session: &Session, remote: &Path, local: &Path) -> Result<(), Error> {
    let stream = session.connect().map_err(Error::Channel)?;
    let fetched = crate::fetch(stream, session.key(), remote)?;
    let options = Options {
        name: format!("qvd:{}", remote.to_string_lossy().replace(',', "_")),
        ..Options::default()
    };
    let mounted = mount(fetched.channel, &fetched.early, local, &options)?;
    say(&format!(
        "{} of the session is mounted on {}; unmounting it, or Ctrl-C, ends it",
        remote.display(),
        local.display()
    ));
    mounted.wait();
    Ok(())
}

fn open(session: &Session, registry: &Registry, file: &Path) -> Result<(), Error> {
    let file = std::fs::canonicalize(file).map_err(Error::file(file))?;
    let holds = |entry: &&Entry| entry.session == session.name() && file.starts_with(&entry.path);
    let entries = registry.list();
    if let Some(entry) = entries.iter().find(holds)
        && let Ok(path) = file.strip_prefix(&entry.path)
    {
        let stream = session.connect().map_err(Error::Channel)?;
        return crate::open(stream, session.key(), entry.name.as_bytes(), path);
    }
    // Not shared yet: its folder is, as long as this runs.
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(Error::NotShared(file.display().to_string()));
    };
    let offer = Offer {
        path: folder.to_owned(),
        name: None,
        read_only: false,
    };
    let name = PathBuf::from(name);
    share(session, registry, &offer, |session, ticket| {
        let stream = session.connect().map_err(Error::Channel)?;
        crate::open(stream, session.key(), ticket, &name)
    })
}

fn say(line: &str) {
    // Where nobody reads, nobody is told.
    let mut out = io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
