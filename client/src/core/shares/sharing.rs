//! Sharing folders for as long as the engine runs: a thread that looks after
//! what is to be shared, and one for each folder.

use std::collections::BTreeMap;
use std::io::{self, PipeReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use qvd_share::Outages;
use qvd_share::mount::Table;
use qvd_slaveclient::{Entry, Error, Key, Line, Offer, Registry, Stopper};
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::mpsc::UnboundedSender;

use super::media::media;
use super::wanted::Shared;
use crate::core::event::Event;

/// Under how many names a folder is offered whose own name is in use.
const NAMES: u32 = 9;

/// How long to wait before a folder is offered again whose connection broke
/// off without an answer.
const AGAIN: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// What every share of a session needs.
pub(super) struct Context {
    /// The engine's socket.
    pub(super) socket: PathBuf,
    /// Where it is told of outages, where anybody does.
    pub(super) road: Option<PathBuf>,
    pub(super) key: Key,
    pub(super) shared: Shared,
    /// A file that is to be opened in the session, once.
    pub(super) open: Option<PathBuf>,
    pub(super) registry: Registry,
    /// The session's name.
    pub(super) session: String,
    pub(super) tell: UnboundedSender<Event>,
    /// Whether it was told that the VM takes no folders at all.
    pub(super) refused: AtomicBool,
}

/// A folder that is shared, or that was tried.
struct Running {
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

/// Shares until `end` ends; then everything has ended.
pub(super) fn run(context: &Arc<Context>, end: &PipeReader) {
    context.registry.tidy();
    let mut table = match Table::open() {
        Ok(table) => Some(table),
        Err(error) => {
            tracing::warn!(%error, "media are not seen");
            None
        }
    };
    let mut running: BTreeMap<PathBuf, Running> = BTreeMap::new();
    let mut file = context.open.clone();
    loop {
        let found = table.as_mut().map(|t| media(t, &context.shared.media));
        let found = found.and_then(Result::ok).unwrap_or_default();
        let mut wanted = context.shared.wanted(found);
        let opens = file.take().map(|file| within(&mut wanted, &file));
        running.retain(|path, one| {
            let stays = wanted.iter().any(|offer| offer.path == *path) || one.opens(context, path);
            if !stays {
                one.stopper.stop();
                let path = path.clone();
                let _ = context.tell.send(Event::Unshared { path });
            }
            stays
        });
        for (at, offer) in wanted.into_iter().enumerate() {
            if running.contains_key(&offer.path) {
                continue;
            }
            let opens = opens.as_ref().filter(|(index, _)| *index == at);
            let opens = opens.map(|(_, file)| file.clone());
            let path = offer.path.clone();
            running.insert(path, Running::start(context, offer, opens));
        }
        if !waits(table.as_ref(), end) {
            break;
        }
    }
    for one in running.values() {
        one.stopper.stop();
    }
    for thread in running.into_values().filter_map(|one| one.thread) {
        // It has told what it had to tell.
        let _ = thread.join();
    }
}

/// The offer through which `file` is reached, and the path from there; another
/// one, of the file's own folder, where none does.
fn within(wanted: &mut Vec<Offer>, file: &Path) -> (usize, PathBuf) {
    for (at, offer) in wanted.iter().enumerate() {
        if let Ok(folder) = offer.path.canonicalize()
            && let Ok(path) = file.strip_prefix(folder)
        {
            return (at, path.to_owned());
        }
    }
    wanted.push(Offer {
        path: file.parent().unwrap_or(Path::new("/")).to_owned(),
        name: None,
        read_only: false,
    });
    let name = file.file_name().map(PathBuf::from).unwrap_or_default();
    (wanted.len().saturating_sub(1), name)
}

/// Waits for a change of the mount table; `false` when it is to end.
fn waits(table: Option<&Table>, end: &PipeReader) -> bool {
    let mut fds = vec![PollFd::new(end, PollFlags::IN)];
    fds.extend(table.map(|table| PollFd::new(table, PollFlags::PRI)));
    loop {
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::warn!(%error, "media are no longer seen");
                return false;
            }
            Ok(_) => return fds.first().is_some_and(|end| end.revents().is_empty()),
        }
    }
}

impl Running {
    fn start(context: &Arc<Context>, offer: Offer, opens: Option<PathBuf>) -> Self {
        let stopper = Stopper::new();
        let (ours, theirs) = (Arc::clone(context), stopper.clone());
        let path = offer.path.clone();
        let thread = Builder::new().name("share".into()).spawn(move || {
            let ended = share(&ours, &offer, opens.as_deref(), &theirs);
            ours.ended(&offer, ended);
        });
        let thread = thread
            .inspect_err(|error| context.not_shared(&path, error.to_string()))
            .ok();
        Self { stopper, thread }
    }

    /// Whether it is there for a file's sake.
    fn opens(&self, context: &Context, path: &Path) -> bool {
        context.open.as_deref().and_then(Path::parent) == Some(path)
    }
}

/// Offers a folder, under another name where its own is in use, and serves it.
fn share(
    context: &Context,
    offer: &Offer,
    opens: Option<&Path>,
    stopper: &Stopper,
) -> Result<(), Error> {
    let mut offer = offer.clone();
    let mut number = 1;
    let mut again = AGAIN.iter();
    let sharing = loop {
        let asked = context
            .connect()
            .and_then(|stream| qvd_slaveclient::share(stream, &context.key, &offer));
        match asked {
            // nxagent refuses a connection that has the number of one whose
            // end it has not seen yet (seen: "Can't open a new channel over an
            // existing ID"); the next one has another.
            Err(Error::Channel(_) | Error::Answer(_))
                if again.next().is_some_and(|time| !stopper.waits(*time)) => {}
            Err(Error::Conflict) if number < NAMES => {
                number += 1;
                let name = offer.path.file_name().unwrap_or_default().to_string_lossy();
                offer.name = Some(format!("{name}-{number}"));
            }
            done => break done?,
        }
    };
    let ticket = sharing.ticket().to_vec();
    let entry = Entry {
        name: String::from_utf8_lossy(&ticket).into_owned(),
        path: offer.path.clone(),
        read_only: offer.read_only,
        session: context.session.clone(),
    };
    let ends = stopper.clone();
    let registered = context.registry.register(&entry, move || ends.stop())?;
    let _ = context.tell.send(Event::Shared {
        path: entry.path,
        name: entry.name,
        read_only: entry.read_only,
    });
    std::thread::scope(|scope| {
        if let Some(path) = opens {
            // The VM mounts the folder only while it is served.
            scope.spawn(move || context.open(&ticket, path));
        }
        let served = sharing.serve(stopper);
        drop(registered);
        served
    })
}

impl Context {
    fn connect(&self) -> Result<Line, Error> {
        let stream = UnixStream::connect(&self.socket).map_err(Error::Channel)?;
        let road = self.road.as_deref();
        let outages = road.map_or_else(Outages::none, Outages::told_at);
        Ok(Line::from(stream).with_outages(outages))
    }

    fn open(&self, ticket: &[u8], path: &Path) {
        let file = self.open.clone().unwrap_or_default();
        let opened = self
            .connect()
            .and_then(|stream| qvd_slaveclient::open(stream, &self.key, ticket, path));
        let event = match opened {
            Ok(()) => Event::Opened { file },
            Err(error) => Event::NotOpened {
                file,
                why: error.to_string(),
            },
        };
        let _ = self.tell.send(event);
    }

    fn ended(&self, offer: &Offer, ended: Result<(), Error>) {
        match ended {
            Ok(()) => tracing::info!(path = %offer.path.display(), "no longer shared"),
            // There is no channel there, for no folder.
            Err(error @ (Error::Silent | Error::Answer(_) | Error::Channel(_))) => {
                tracing::info!(path = %offer.path.display(), %error, "not shared");
                let is_gone = UnixStream::connect(&self.socket).is_err();
                if !is_gone && !self.refused.swap(true, Ordering::Relaxed) {
                    self.not_shared(
                        &offer.path,
                        "the virtual machine takes no folders: are they enabled there?".into(),
                    );
                }
            }
            Err(error) => self.not_shared(&offer.path, error.to_string()),
        }
    }

    fn not_shared(&self, path: &Path, why: String) {
        let path = path.to_owned();
        // The session may be over.
        let _ = self.tell.send(Event::NotShared { path, why });
    }
}

/// A pipe that ends what reads it when its writing end is dropped.
pub(super) fn end() -> io::Result<(PipeReader, io::PipeWriter)> {
    io::pipe()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_reached_through_what_is_shared_or_its_own_folder() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap();
        let offer = |path: &Path| Offer {
            path: path.to_owned(),
            name: None,
            read_only: false,
        };
        let mut wanted = vec![offer(Path::new("/nonexistent")), offer(&place)];
        let found = within(&mut wanted, &place.join("a/b"));
        assert_eq!((found, wanted.len()), ((1, "a/b".into()), 2));
        let found = within(&mut wanted, Path::new("/etc/hosts"));
        assert_eq!(found, (2, "hosts".into()));
        assert_eq!(wanted[2].path, Path::new("/etc"));
    }

    #[test]
    fn a_connection_that_breaks_off_without_an_answer_is_made_again() {
        use std::io::{BufRead as _, BufReader, Write as _};

        let place = tempfile::tempdir().unwrap();
        let (socket, docs) = (place.path().join("slave"), place.path().join("docs"));
        std::fs::create_dir(&docs).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let vm = std::thread::spawn(move || {
            drop(listener.accept().unwrap());
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
            assert!(lines.by_ref().take_while(|line| !line.is_empty()).count() > 0);
            let head = "HTTP/1.1 101 Switching Protocols\r\nX-QVD-Share-Ticket: docs\r\n\r\n";
            (&stream).write_all(head.as_bytes()).unwrap();
        });
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let context = Context {
            socket,
            road: None,
            key: Key::new("key").unwrap(),
            shared: Shared::default(),
            open: None,
            registry: Registry::new(place.path()),
            session: "session".into(),
            tell,
            refused: AtomicBool::new(false),
        };
        let offer = Offer {
            path: docs,
            name: None,
            read_only: false,
        };
        // The VM is gone once it has taken the folder.
        let ended = share(&context, &offer, None, &Stopper::new());
        vm.join().unwrap();
        let event = told.try_recv().map_err(|_| format!("{ended:?}")).unwrap();
        assert!(matches!(event, Event::Shared { name, .. } if name == "docs"));
    }
}
