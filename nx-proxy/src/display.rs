use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use x11rb::connection::Connection as _;
use x11rb::errors::{ConnectError, ConnectionError, ReplyError};
use x11rb::protocol::xproto::{AccessControl, AtomEnum, ConnectionExt as _, Family, HostMode};
use x11rb::rust_connection::RustConnection;

use crate::Error;
use crate::authority::{self, Access};

/// How long the X server may take to answer. A display over ssh takes some
/// round trips of it.
const ANSWER: Duration = Duration::from_secs(10);

/// Longest keyboard description read, in 4-byte units.
const MAX_RULES: u32 = 256;

/// Longest part of a keyboard's description taken, in bytes.
const MAX_FIELD: usize = 256;

/// Tries to open a display. An X server that has just lost its last client
/// starts afresh and drops connections that come in meanwhile (seen with Xvfb);
/// the next one waits until it is ready.
const TRIES: usize = 5;

/// An X display of the user.
///
/// It stays open as long as this lives: an X server that loses its last client
/// starts afresh, and forgets whom it admits.
#[derive(Clone)]
pub struct Display {
    name: String,
    keyboard: Option<Keyboard>,
    screen: ScreenSize,
    connection: Arc<RustConnection>,
    access: Access,
}

impl fmt::Debug for Display {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Display")
            .field("name", &self.name)
            .field("keyboard", &self.keyboard)
            .field("screen", &self.screen)
            .finish_non_exhaustive()
    }
}

/// The size of a screen in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScreenSize {
    /// Pixels across.
    pub width: u16,
    /// Pixels down.
    pub height: u16,
}

/// The keyboard of a display. Shown, it is what nxagent is told of it:
/// `model/layout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyboard {
    model: String,
    layout: String,
    /// What the display says, in the order of [`XKB`]; empty what it does not
    /// say.
    xkb: [String; 5],
}

/// What a display says of its keyboard, in the order in which it does.
const XKB: [&str; 5] = ["rules", "model", "layout", "variant", "options"];

impl fmt::Display for Keyboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.model, self.layout)
    }
}

impl fmt::Display for ScreenSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl Display {
    /// Opens the display `name`, such as `:0`, with the cookie that the
    /// X authority file has for it.
    ///
    /// # Errors
    /// [`Error::DisplayMissing`] when it is not there, does not answer within
    /// ten seconds, or refuses this program.
    pub async fn open(name: &str) -> Result<Self, Error> {
        let named = name.to_owned();
        ask(name, move || {
            let mut tries = TRIES;
            loop {
                tries -= 1;
                match connect(&named)
                    .and_then(|(c, screen, access)| look(&named, c, screen, access))
                {
                    Err(Fault::Dropped(_)) if tries > 0 => {}
                    opened => return opened.map_err(|fault| missing(&named, fault.words())),
                }
            }
        })
        .await
    }

    /// The name, as in `DISPLAY`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The keyboard, where the display tells it.
    #[must_use]
    pub fn keyboard(&self) -> Option<&Keyboard> {
        self.keyboard.as_ref()
    }

    /// The size of its screen.
    #[must_use]
    pub fn screen(&self) -> ScreenSize {
        self.screen
    }

    /// The way to further connections.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// Lets programs of this user draw on the display without a cookie.
    ///
    /// nxproxy does not read the X authority file (seen with 3.5.99.26), so a
    /// display that knows nothing but cookies would refuse it. Whoever runs as
    /// this user can read that file anyway, and Debian's X sessions make the
    /// same entry, so it is left in place: taking it back could hit another
    /// session at its start.
    pub(crate) async fn admit_user(&self) -> Result<(), Error> {
        let connection = Arc::clone(&self.connection);
        ask(&self.name, move || {
            if let Err(error) = admit(&connection) {
                // The display may admit the user all the same; if not,
                // nxproxy is refused, and that is told.
                tracing::debug!(%error, "display does not take access for this user");
            }
            Ok(())
        })
        .await
    }
}

/// Talks to the X server in a thread of its own: the calls block, and a
/// display that hangs must not hold the program.
async fn ask<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new()
        .name("display".into())
        .spawn(move || {
            // Nobody may be waiting any more.
            let _ = answer.send(work());
        })
        .map_err(Error::system("starting a thread"))?;
    match timeout(ANSWER, answered).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) | Err(_) => Err(missing(
            name,
            format!("no answer within {} seconds", ANSWER.as_secs()),
        )),
    }
}

/// Why a display cannot be opened that does not answer.
pub(crate) const CLOSED_BY_IT: &str = "it closed the connection";

/// Why a display could not be opened.
enum Fault {
    /// The connection was dropped in the middle.
    Dropped(String),
    Other(String),
}

impl Fault {
    fn words(self) -> String {
        match self {
            Self::Dropped(words) | Self::Other(words) => words,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::Dropped(CLOSED_BY_IT.to_owned()),
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<ConnectionError> for Fault {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::IoError(error) => error.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<ReplyError> for Fault {
    fn from(error: ReplyError) -> Self {
        match error {
            ReplyError::ConnectionError(error) => error.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

fn connect(name: &str) -> Result<(RustConnection, usize, Access), Fault> {
    let refused = |reason: &[u8]| {
        let reason = String::from_utf8_lossy(reason);
        Fault::Other(format!("access refused: {}", reason.trim()))
    };
    authority::connect(name).map_err(|error| match error {
        ConnectError::DisplayParsingError(_) => Fault::Other("not the name of a display".into()),
        ConnectError::SetupAuthenticate(refusal) => refused(&refusal.reason),
        ConnectError::SetupFailed(refusal) => refused(&refusal.reason),
        ConnectError::IoError(error) => error.into(),
        ConnectError::Incomplete { .. } => Fault::Dropped(CLOSED_BY_IT.to_owned()),
        other => Fault::Other(other.to_string()),
    })
}

fn look(
    name: &str,
    connection: RustConnection,
    screen: usize,
    access: Access,
) -> Result<Display, Fault> {
    let Some(screen) = connection.setup().roots.get(screen) else {
        return Err(Fault::Other("it has no such screen".into()));
    };
    let size = ScreenSize {
        width: screen.width_in_pixels,
        height: screen.height_in_pixels,
    };
    let atom = connection.intern_atom(true, b"_XKB_RULES_NAMES")?;
    let atom = atom.reply()?.atom;
    let mut keyboard = None;
    if atom != x11rb::NONE {
        let kind = AtomEnum::STRING;
        let rules = connection.get_property(false, screen.root, atom, kind, 0, MAX_RULES)?;
        keyboard = Keyboard::from_rules(&rules.reply()?.value);
    }
    Ok(Display {
        name: name.to_owned(),
        keyboard,
        screen: size,
        connection: Arc::new(connection),
        access,
    })
}

fn admit(connection: &RustConnection) -> Result<(), ReplyError> {
    let hosts = connection.list_hosts()?.reply()?;
    if hosts.mode == AccessControl::DISABLE {
        return Ok(());
    }
    // `#` and a number is a user by id: the name may have no entry here.
    let user = format!("localuser\0#{}", rustix::process::geteuid().as_raw());
    connection
        .change_hosts(
            HostMode::INSERT,
            Family::SERVER_INTERPRETED,
            user.as_bytes(),
        )?
        .check()
}

fn missing(name: &str, reason: impl Into<String>) -> Error {
    Error::DisplayMissing {
        display: name.to_owned(),
        reason: reason.into(),
    }
}

impl Keyboard {
    /// Reads a root window's `_XKB_RULES_NAMES`: rules, model, layouts,
    /// variants and options, each ended by a NUL. Of several layouts, the
    /// first counts in `model/layout`.
    #[must_use]
    pub fn from_rules(rules: &[u8]) -> Option<Self> {
        let mut fields = rules.split(|b| *b == 0);
        let mut field = || {
            let field = fields.next().unwrap_or_default();
            let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_-,:.+()".contains(b);
            let good = field.len() <= MAX_FIELD && field.iter().all(plain);
            let text = String::from_utf8_lossy(if good { field } else { b"" });
            text.into_owned()
        };
        let xkb = [field(), field(), field(), field(), field()];
        let [_, model, layout, _, _] = &xkb;
        let first = |text: &String| {
            let first = text.split(',').next().unwrap_or_default();
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
            let good = (1..=32).contains(&first.len()) && first.bytes().all(plain);
            good.then(|| first.to_owned())
        };
        Some(Self {
            model: first(model)?,
            layout: first(layout)?,
            xkb,
        })
    }

    /// All that the display says, by the names that X uses: rules, model,
    /// layout, variant and options. Layouts, variants and options are lists
    /// with commas. Empty what the display does not say.
    pub fn xkb(&self) -> impl Iterator<Item = (&'static str, &str)> {
        XKB.into_iter().zip(self.xkb.iter().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyboards_are_read_from_the_rules() {
        let read = |rules: &[u8]| Keyboard::from_rules(rules).map(|k| k.to_string());
        assert_eq!(read(b"evdev\0pc105\0es\0\0\0").as_deref(), Some("pc105/es"));
        assert_eq!(
            read(b"evdev\0pc104\0us,de\0,nodeadkeys\0grp:toggle\0").as_deref(),
            Some("pc104/us")
        );
        for rules in [
            &b""[..],
            b"evdev",
            b"evdev\0pc105",
            b"evdev\0\0us\0",
            b"evdev\0pc105\0a:b\0",
            b"evdev\0pc=105\0us\0",
        ] {
            assert_eq!(read(rules), None);
        }
    }

    /// One that goes away while it is asked, as often as it is tried.
    #[tokio::test]
    async fn a_display_that_closes_the_connection_is_told_so() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        // A display's port is 6000 and its number.
        let number = listener.local_addr().unwrap().port() - 6000;
        let closing = std::thread::spawn(move || {
            for _ in 0..TRIES {
                let (mut stream, _) = listener.accept().unwrap();
                let mut setup = [0; 12];
                io::Read::read_exact(&mut stream, &mut setup).unwrap();
            }
        });
        let name = format!("127.0.0.1:{number}");
        let error = Display::open(&name).await.unwrap_err();
        let words = format!("display {name} cannot be opened: it closed the connection");
        assert_eq!(error.to_string(), words);
        closing.join().unwrap();
    }

    #[tokio::test]
    async fn a_display_that_is_not_there_is_named() {
        for name in [":299", "nonsense", ""] {
            let error = Display::open(name).await.unwrap_err();
            assert!(
                matches!(&error, Error::DisplayMissing { display, .. } if display == name),
                "{error}"
            );
        }
    }
}
