use std::io;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use qvd_share::Outages;
use qvd_slave::Key;

use crate::{About, Error, Line, record};

/// How long the session's port, on this machine, may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Most bytes of a file about a session.
const MAX_FILE: u64 = 64 * 1024;

/// What stands in `~/.qvd` itself, as the reference's client writes it.
const DEFAULT: &str = "default";

/// A running session, as its client has written it down: the port of the
/// slave channel in `slave-port`, the key in `slave-key`.
#[derive(Debug, Clone)]
pub struct Session {
    name: String,
    about: About,
    folder: PathBuf,
    port: u16,
    key: Key,
    /// Where outages are told of, where anybody does.
    road: Option<PathBuf>,
}

impl Session {
    /// The sessions written down in `folder` (`~/.qvd`): one in each folder of
    /// `sessions/` whose client lives, and one in the folder itself where a
    /// client of the reference has it and somebody listens on its port.
    #[must_use]
    pub fn all(folder: &Path) -> Vec<Self> {
        let mut found: Vec<Self> = record::sessions(folder)
            .into_iter()
            .filter_map(|folder| {
                let name = folder.file_name()?.to_string_lossy().into_owned();
                Self::read(name, &folder)
            })
            .collect();
        if !record::is_recorded(folder)
            && let Some(session) = Self::read(DEFAULT.to_owned(), folder)
            && session.connect().is_ok()
        {
            found.insert(0, session);
        }
        found
    }

    /// The one of that name, or the only one.
    ///
    /// # Errors
    /// [`Error::NoSession`] and [`Error::SeveralSessions`].
    pub fn choose(folder: &Path, name: Option<&str>) -> Result<Self, Error> {
        let mut all = Self::all(folder);
        if let Some(name) = name {
            let names = || match all.is_empty() {
                true => "none is running".to_owned(),
                false => format!("running: {}", names(&all)),
            };
            let found = all.iter().find(|one| one.name == name);
            return found
                .cloned()
                .ok_or_else(|| Error::NoSession(format!("none has the name {name}; {}", names())));
        }
        match (all.pop(), all.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                let names = all.into_iter().map(|one| one.name);
                Err(Error::SeveralSessions(names.chain([last.name]).collect()))
            }
            (None, _) => Err(Error::NoSession(format!(
                "no client has one written down in {}",
                folder.display()
            ))),
        }
    }

    fn read(name: String, folder: &Path) -> Option<Self> {
        let port = text(&folder.join(record::PORT))?;
        let key = text(&folder.join(record::KEY))?;
        let about = text(&folder.join(record::ABOUT));
        Some(Self {
            name,
            about: about
                .and_then(|about| serde_json::from_str(&about).ok())
                .unwrap_or_default(),
            folder: folder.to_owned(),
            port: port.trim().parse().ok()?,
            key: Key::new(&key)?,
            road: text(&folder.join(record::ROAD)).map(PathBuf::from),
        })
    }

    /// What it is; empty where its client is the reference's.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Whether its client is the reference's, of which nothing more is known.
    pub(crate) fn is_foreign(&self) -> bool {
        self.name == DEFAULT
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether its client lives.
    pub(crate) fn is_live(&self) -> bool {
        record::is_live(&self.folder)
    }

    /// The session as it is now; `None` while it is lost.
    pub(crate) fn now(&self) -> Option<Self> {
        Self::read(self.name.clone(), &self.folder)
    }

    /// Whether it has another key, as one that was lost and got back has.
    pub(crate) fn is_another_than(&self, then: &Self) -> bool {
        self.key.to_file() != then.key.to_file()
    }

    /// Its name: `default`, or that of its folder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// A new connection of its slave channel.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn line(&self) -> io::Result<Line> {
        let road = self.road.as_deref();
        let outages = road.map_or_else(Outages::none, Outages::told_at);
        Ok(Line::from(self.connect()?).with_outages(outages))
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let stream = TcpStream::connect_timeout(&address, CONNECT)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

fn names(sessions: &[Session]) -> String {
    let names: Vec<_> = sessions.iter().map(Session::name).collect();
    names.join(", ")
}

/// A small file.
fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}
