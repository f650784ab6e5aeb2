//! A folder of this machine in the session, until somebody ends it.

use std::path::{Path, PathBuf};

use super::ending::{End, Signals};
use super::say::Say;
use crate::{Again, Entry, Error, Offer, Registry, Session};

/// What is done once a folder is in the session.
type Then<'a> = &'a (dyn Fn(&Session, &[u8]) -> Result<(), Error> + Sync);

/// Shares a folder until it is to end, and again whenever the session was lost
/// and is back. `then` is done once it is shared first.
pub(super) fn run(
    mut session: Session,
    registry: &Registry,
    offer: &Offer,
    signals: Signals,
    say: Say,
    then: Option<Then<'_>>,
) -> Result<(), Error> {
    let failed = |error| Error::file(&offer.path)(error);
    let (end, wanted) = End::new().map_err(failed)?;
    let ends = end.clone();
    signals.then(move || ends.want()).map_err(failed)?;
    let mut then = then;
    let mut first = true;
    loop {
        match once(&session, registry, offer, &end, say, first, then.take()) {
            Ok(()) => first = false,
            // A session that is lost again while it comes back.
            Err(Error::Channel(_) | Error::Silent | Error::Answer(_)) if !first => {}
            Err(error) => return Err(error),
        }
        if end.is_wanted() {
            break;
        }
        match session.again(&wanted).map_err(failed)? {
            Again::Back(now) => session = now,
            Again::Unmounted => {
                say.line("the session has ended the share");
                break;
            }
            Again::Over => break,
        }
    }
    say.line(&format!("{} is no longer shared", offer.path.display()));
    Ok(())
}

fn once(
    session: &Session,
    registry: &Registry,
    offer: &Offer,
    end: &End,
    say: Say,
    first: bool,
    then: Option<Then<'_>>,
) -> Result<(), Error> {
    say.step(&format!(
        "asking {} to mount {}",
        session.name(),
        offer.path.display()
    ));
    let stream = session.line().map_err(Error::Channel)?;
    let sharing = crate::share(stream, session.key(), offer)?;
    let ticket = sharing.ticket().to_vec();
    let name = String::from_utf8_lossy(&ticket).into_owned();
    let path = real(&offer.path)?;
    let entry = Entry {
        name: name.clone(),
        path: path.clone(),
        read_only: offer.read_only,
        session: session.name().to_owned(),
    };
    let ends = end.clone();
    let registered = registry.register(&entry, move || ends.want())?;
    say.line(&match first {
        true => format!(
            "{} is shared as {name}{}; Ctrl-C or `qvd-slaveclient unshare {name}` ends it",
            path.display(),
            if offer.read_only { ", read only" } else { "" },
        ),
        false => format!("the session is back: {} is shared again", path.display()),
    });
    // The VM has mounted it once it is served.
    let served = std::thread::scope(|scope| {
        let served = scope.spawn(|| sharing.serve(end.stopper()));
        let done = then.map_or(Ok(()), |then| then(session, &ticket));
        if done.is_err() {
            end.want();
        }
        let served = served.join().unwrap_or(Err(Error::Silent));
        // A channel that breaks is lost, which is not the share's fault.
        let served = served.or_else(|error| match error {
            Error::Folder(qvd_share::serve::Error::Channel(_)) => Ok(()),
            error => Err(error),
        });
        done.and(served)
    });
    drop(registered);
    served
}

/// Opens a file in the session: through the share that holds it, or by sharing
/// its folder for as long as this runs.
pub(super) fn open(
    session: Session,
    registry: &Registry,
    file: &Path,
    signals: Signals,
    say: Say,
) -> Result<(), Error> {
    let file = real(file)?;
    let holds = |entry: &&Entry| entry.session == session.name() && file.starts_with(&entry.path);
    let entries = registry.list();
    // The innermost, should several hold it.
    let held = entries
        .iter()
        .filter(holds)
        .max_by_key(|e| e.path.as_os_str().len());
    if let Some(entry) = held
        && let Ok(path) = file.strip_prefix(&entry.path)
    {
        let stream = session.line().map_err(Error::Channel)?;
        crate::open(stream, session.key(), entry.name.as_bytes(), path)?;
        say.line(&format!("{} was opened in the session", file.display()));
        return Ok(());
    }
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(Error::NotShared(file.display().to_string()));
    };
    let offer = Offer {
        path: folder.to_owned(),
        name: None,
        read_only: false,
    };
    let name = PathBuf::from(name);
    let opens = |session: &Session, ticket: &[u8]| {
        let stream = session.line().map_err(Error::Channel)?;
        crate::open(stream, session.key(), ticket, &name)?;
        say.line(&format!(
            "{} was opened in the session, which has its folder while this runs",
            file.display()
        ));
        Ok(())
    };
    run(session, registry, &offer, signals, say, Some(&opens))
}

fn real(path: &Path) -> Result<PathBuf, Error> {
    std::fs::canonicalize(path).map_err(Error::file(path))
}
