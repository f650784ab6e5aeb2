//! One window for each saved connection on a display. Another start finds the
//! one that is there at a socket, has it come up, and hands it what it is to
//! connect to.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use qvd_client::cli::Environment;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::worker::{Message, Messages};

/// Longest call taken, in bytes.
const MAX_CALL: u64 = 4096;

/// How long the other end of the socket may take to say what it has to.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first line of a call.
const GREETING: &str = "qvd-client 1";

/// What another start wants of the window: it comes up, and this is what it is
/// to connect to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) user: Option<String>,
    pub(crate) vm: Option<String>,
}

impl Call {
    /// Whether it says where to connect to.
    pub(crate) fn names_something(&self) -> bool {
        *self != Self::default()
    }

    fn render(&self) -> String {
        let mut text = format!("{GREETING}\n");
        let port = self.port.map(|port| port.to_string());
        for (name, value) in [
            ("host", &self.host),
            ("port", &port),
            ("user", &self.user),
            ("vm", &self.vm),
        ] {
            // Whoever typed a control character meant nothing that exists.
            if let Some(value) = value.as_ref().filter(|v| !v.contains(char::is_control)) {
                text.push_str(&format!("{name} {value}\n"));
            }
        }
        text
    }

    /// `None` where it is none.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(GREETING) {
            return None;
        }
        let mut call = Self::default();
        for line in lines {
            let (name, value) = line.split_once(' ')?;
            if value.is_empty() || value.contains(char::is_control) {
                return None;
            }
            let value = value.to_owned();
            match name {
                "host" => call.host = Some(value),
                "port" => call.port = Some(value.parse().ok().filter(|port| *port != 0)?),
                "user" => call.user = Some(value),
                "vm" => call.vm = Some(value),
                // Of a newer one.
                _ => {}
            }
        }
        Some(call)
    }
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The window is up, and has what was handed to it.
    Up,
    /// It is up, and stays with what it is connected to.
    Busy,
}

impl Taken {
    const ALL: [Self; 2] = [Self::Up, Self::Busy];

    fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Busy => "busy",
        }
    }
}

/// A place that a window wants in exchange for its own.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) folder: PathBuf,
    pub(crate) display: String,
    pub(crate) file: PathBuf,
    pub(crate) next: Next,
}

/// What is done once the place is this window's.
#[derive(Debug)]
pub(crate) enum Next {
    /// This saved connection is used; none is the default one.
    Use(Option<String>),
    /// What the pages say is saved under this name.
    SaveAs(String),
}

/// Whose window it is.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Ours.
    First(Place),
    /// Another's, which has taken the call.
    Other(Taken),
}

/// The place of the one window, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    listener: UnixListener,
    name: PathBuf,
    /// Which socket of that name is this one.
    inode: u64,
    /// Who may call.
    uid: u32,
}

/// Claims the place of the window that uses `file` on this display. `folder` is
/// made where it is not there.
///
/// # Errors
/// When there can be no socket in `folder`, or the window that is there does
/// not answer.
pub(crate) fn claim(folder: &Path, display: &str, file: &Path, call: &Call) -> io::Result<Claim> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)?;
    let uid = fs::metadata(folder)?.uid();
    let name = name(folder, display, file);
    let lock = lock(folder)?;
    match UnixStream::connect(&name) {
        Ok(stream) => {
            drop(lock);
            ask(&stream, call).map(Claim::Other)
        }
        Err(error) if is_nobody(&error) => {
            match fs::remove_file(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&name)?;
            listener.set_nonblocking(true)?;
            let inode = fs::metadata(&name)?.ino();
            Ok(Claim::First(Place {
                listener,
                inode,
                name,
                uid,
            }))
        }
        Err(error) => Err(error),
    }
}

/// Where the window is called that uses `file` on this display.
fn name(folder: &Path, display: &str, file: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (display, real(file)).hash(&mut hasher);
    folder.join(format!("window-{:016x}", hasher.finish()))
}

/// A file's own path, whether it is there by now or is not: a window keeps its
/// place when its file is made.
fn real(file: &Path) -> PathBuf {
    let there = file.ancestors().find_map(|ancestor| {
        let rest = file.strip_prefix(ancestor).ok()?;
        Some(fs::canonicalize(ancestor).ok()?.join(rest))
    });
    there.unwrap_or_else(|| file.to_owned())
}

/// Whether one window uses either file.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    real(one) == real(other)
}

/// Held while it is found out who is first: no longer than that takes.
fn lock(folder: &Path) -> io::Result<File> {
    let lock = File::create(folder.join("window-lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// Where windows are found.
pub(crate) fn folder(environment: &Environment) -> Option<PathBuf> {
    match (&environment.runtime, &environment.home) {
        (Some(runtime), _) => Some(runtime.join("qvd")),
        (None, Some(home)) => Some(home.join(".qvd")),
        (None, None) => None,
    }
}

/// The display's name: a window on another one cannot be brought up here.
pub(crate) fn display(environment: &Environment) -> String {
    let wayland = std::env::var("WAYLAND_DISPLAY").ok();
    let name = wayland.filter(|name| !name.is_empty());
    name.or_else(|| environment.display.clone())
        .unwrap_or_default()
}

/// Nobody is there, or not any more.
fn is_nobody(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error.kind(), ConnectionRefused | NotFound)
}

/// Hands a call to the window that is there.
fn ask(mut stream: &UnixStream, call: &Call) -> io::Result<Taken> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(call.render().as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.take(MAX_CALL).read_to_string(&mut answer)?;
    let word = answer.trim_end();
    let taken = Taken::ALL.into_iter().find(|taken| taken.word() == word);
    taken.ok_or_else(|| io::Error::other("it does not take the call"))
}

impl Place {
    /// Takes calls until it is dropped.
    pub(crate) async fn serve(self, messages: Messages) -> io::Result<()> {
        let listener = tokio::net::UnixListener::from_std(self.listener.try_clone()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            if stream.peer_cred()?.uid() != self.uid {
                continue;
            }
            // One after the other: each is a user's doing.
            match timeout(PATIENCE, answer(stream, &messages)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!("a call: {error}"),
                Err(_) => tracing::debug!("a call that is not completed"),
            }
        }
    }
}

async fn answer(mut stream: tokio::net::UnixStream, messages: &Messages) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut text = String::new();
    reader.take(MAX_CALL).read_to_string(&mut text).await?;
    let call = Call::parse(&text).ok_or_else(|| io::Error::other("it is none"))?;
    let (taken, answered) = oneshot::channel();
    let gone = || io::Error::other("the window is gone");
    let sent = messages.send(Message::Called(call, taken));
    sent.map_err(|_| gone())?;
    let taken = answered.await.map_err(|_| gone())?;
    writer.write_all(taken.word().as_bytes()).await
}

impl Drop for Place {
    fn drop(&mut self) {
        // It may be gone with its folder, or be another's who came meanwhile.
        let _lock = self.name.parent().and_then(|folder| lock(folder).ok());
        if fs::metadata(&self.name).is_ok_and(|now| now.ino() == self.inode) {
            let _ = fs::remove_file(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call {
            host: Some("broker".into()),
            port: Some(443),
            user: Some("ann b".into()),
            vm: None,
        }
    }

    #[test]
    fn a_call_is_read_as_it_was_written_and_nothing_else_is_one() {
        assert_eq!(Call::parse(&call().render()), Some(call()));
        assert_eq!(Call::parse("qvd-client 1\nnew x\n"), Some(Call::default()));
        for text in [
            "",
            "GET / HTTP/1.1\n",
            "qvd-client 1\nport 0\n",
            "qvd-client 1\nhost\n",
            "qvd-client 1\nhost \u{1b}[m\n",
        ] {
            assert_eq!(Call::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_file_has_one_path_before_it_is_made_and_after() {
        let home = tempfile::tempdir().unwrap();
        let link = home.path().join("link");
        fs::create_dir(home.path().join("own")).unwrap();
        std::os::unix::fs::symlink(home.path().join("own"), &link).unwrap();
        let file = link.join("connections/lab.conf");
        let before = real(&file);
        fs::create_dir(link.join("connections")).unwrap();
        fs::write(&file, "").unwrap();
        assert_eq!(real(&file), before);
        assert!(is_same(
            &file,
            &home.path().join("own/connections/lab.conf")
        ));
        assert!(!is_same(&file, &link.join("connections/b.conf")));
    }

    #[tokio::test]
    async fn the_second_finds_the_first_and_what_a_dead_one_left_is_taken_over() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("client.conf");
        let folder = home.path().join("qvd");
        let first = claim(&folder, ":0", &file, &Call::default()).unwrap();
        let Claim::First(place) = first else {
            panic!("nobody was there");
        };
        let (messages, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let serving = tokio::spawn(place.serve(messages));
        let asking = {
            let (folder, file) = (folder.clone(), file.clone());
            tokio::task::spawn_blocking(move || claim(&folder, ":0", &file, &call()))
        };
        let Some(Message::Called(seen, taken)) = receiver.recv().await else {
            panic!("no call");
        };
        assert_eq!(seen, call());
        taken.send(Taken::Busy).unwrap();
        let other = asking.await.unwrap().unwrap();
        assert!(matches!(other, Claim::Other(Taken::Busy)), "{other:?}");

        // Another display or file is another window.
        for (display, file) in [(":1", &file), (":0", &home.path().join("b.conf"))] {
            let other = claim(&folder, display, file, &Call::default()).unwrap();
            assert!(matches!(other, Claim::First(_)));
        }
        serving.abort();
        let _ = serving.await;
        // One that was killed leaves its socket behind.
        let Claim::First(dead) = claim(&folder, ":0", &file, &call()).unwrap() else {
            panic!("the first has ended");
        };
        let name = dead.name.clone();
        drop(dead.listener.try_clone().unwrap());
        drop(dead);
        drop(UnixListener::bind(&name).unwrap());
        assert!(name.exists());
        let again = claim(&folder, ":0", &file, &call()).unwrap();
        assert!(matches!(again, Claim::First(_)));
    }
}
