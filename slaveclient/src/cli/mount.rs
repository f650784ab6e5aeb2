//! A folder of the session's, mounted here.

use std::path::Path;

use qvd_share::mount::{Options, mount};

use super::ending::Signals;
use super::say::Say;
use crate::{Error, Session};

/// Mounts until somebody unmounts, or the session is gone.
pub(super) fn run(
    session: &Session,
    remote: &Path,
    local: &Path,
    signals: Signals,
    say: Say,
) -> Result<(), Error> {
    let point = place(local)?;
    say.step(&format!(
        "asking {} for {}",
        session.name(),
        remote.display()
    ));
    let stream = session.line().map_err(Error::Channel)?;
    let fetched = crate::fetch(stream, session.key(), remote)?;
    let options = Options {
        // Commas separate options in the mount table.
        name: format!("qvd:{}", remote.to_string_lossy().replace(',', "_")),
        ..Options::default()
    };
    let mounted = mount(fetched.channel, &fetched.early, &point, &options)?;
    let stopper = mounted.stopper();
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ask = std::sync::Arc::clone(&asked);
    let end = move || {
        ask.store(true, std::sync::atomic::Ordering::Relaxed);
        stopper.stop();
    };
    signals.then(end).map_err(Error::file(local))?;
    say.line(&format!(
        "{} of the session is mounted on {}; Ctrl-C, or unmounting it, ends it",
        remote.display(),
        local.display()
    ));
    mounted.wait();
    // A mount that is still there when it has ended was not unmounted.
    let lost = !asked.load(std::sync::atomic::Ordering::Relaxed) && is_mounted(&point);
    drop(mounted);
    say.line(&format!("{} is no longer mounted", local.display()));
    if lost { Err(Error::Lost) } else { Ok(()) }
}

/// Somewhere nothing is hidden by a mount.
fn place(local: &Path) -> Result<std::path::PathBuf, Error> {
    let point = std::fs::canonicalize(local).map_err(Error::file(local))?;
    let wrong = |why| Error::Point {
        path: local.to_owned(),
        why,
    };
    if !point.is_dir() {
        return Err(wrong("not a folder"));
    }
    let mut entries = std::fs::read_dir(&point).map_err(Error::file(local))?;
    if entries.next().is_some() {
        return Err(wrong("not an empty folder"));
    }
    Ok(point)
}

fn is_mounted(point: &Path) -> bool {
    let above = point.parent().unwrap_or(point);
    let device = |path: &Path| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::symlink_metadata(path).map(|there| there.dev())
    };
    match (device(point), device(above)) {
        (Ok(point), Ok(above)) => point != above,
        // Nobody answers for it.
        _ => true,
    }
}
