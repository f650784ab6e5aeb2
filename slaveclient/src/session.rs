use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use qvd_slave::Key;

use crate::Error;

/// How long the session's port, on this machine, may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A running session, as its client has written it down: the port of the
/// slave channel in `slave-port`, the key in `slave-key`.
#[derive(Debug, Clone)]
pub struct Session {
    name: String,
    port: u16,
    key: Key,
}

impl Session {
    /// The sessions written down in `folder` (`~/.qvd`): one in the folder
    /// itself, as the reference's client does, and one in each folder of
    /// `sessions/`. Those whose port nobody listens on are gone.
    #[must_use]
    pub fn all(folder: &Path) -> Vec<Self> {
        let mut folders = vec![("default".to_owned(), folder.to_owned())];
        if let Ok(entries) = std::fs::read_dir(folder.join("sessions")) {
            let mut more: Vec<(String, PathBuf)> = entries
                .flatten()
                .map(|entry| {
                    (
                        entry.file_name().to_string_lossy().into_owned(),
                        entry.path(),
                    )
                })
                .collect();
            more.sort();
            folders.extend(more);
        }
        let mut found: Vec<Self> = Vec::new();
        for (name, folder) in folders {
            if let Some(session) = Self::read(name, &folder)
                && !found.iter().any(|one| one.port == session.port)
                && session.connect().is_ok()
            {
                found.push(session);
            }
        }
        found
    }

    /// The one of that name, or the only one.
    ///
    /// # Errors
    /// [`Error::NoSession`] and [`Error::SeveralSessions`].
    pub fn choose(folder: &Path, name: Option<&str>) -> Result<Self, Error> {
        if let Some(name) = name {
            let folder = if name == "default" {
                folder.to_owned()
            } else {
                folder.join("sessions").join(name)
            };
            return Self::read(name.to_owned(), &folder).ok_or_else(|| {
                Error::NoSession(format!(
                    "{} has no slave-port and slave-key",
                    folder.display()
                ))
            });
        }
        let mut all = Self::all(folder);
        match (all.pop(), all.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(last), false) => {
                let names = all.into_iter().map(|one| one.name);
                Err(Error::SeveralSessions(names.chain([last.name]).collect()))
            }
            (None, _) => Err(Error::NoSession(format!(
                "nobody listens on a port written down in {}",
                folder.display()
            ))),
        }
    }

    fn read(name: String, folder: &Path) -> Option<Self> {
        let port = std::fs::read_to_string(folder.join("slave-port")).ok()?;
        let key = std::fs::read_to_string(folder.join("slave-key")).ok()?;
        Some(Self {
            name,
            port: port.trim().parse().ok()?,
            key: Key::new(&key)?,
        })
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
    pub fn connect(&self) -> io::Result<TcpStream> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let stream = TcpStream::connect_timeout(&address, CONNECT)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
