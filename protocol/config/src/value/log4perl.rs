//! The settings of the reference's log library that mean something here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Field, HostName, LogLevel, Value};
use crate::key::Key;
use crate::read::Reader;

/// Port of the syslog protocol over UDP.
const SYSLOG_PORT: u16 = 514;

/// Facilities of syslog by their numbers, as RFC 5424 numbers them.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// The `log4perl.*` keys, with which the manual sends the log to syslog.
///
/// What counts is `log4perl.rootLogger = LEVEL, NAME, …` and the appenders it
/// names: `Log::Dispatch::Syslog` and those that write to a file or the screen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log4perl {
    keys: BTreeMap<String, String>,
    level: Option<LogLevel>,
    appenders: Vec<Appender>,
}

/// One destination of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appender {
    /// Where it writes.
    pub to: Destination,
    /// The least level it writes; none: whatever the root logger lets through.
    pub threshold: Option<LogLevel>,
    /// How a line looks: Log4perl's `ConversionPattern`.
    pub pattern: Option<String>,
}

/// Where an appender writes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Destination {
    /// Standard error.
    Screen,
    /// A file.
    File(PathBuf),
    /// Syslog.
    Syslog {
        /// The name messages carry; none: the program's own.
        ident: Option<String>,
        /// The facility's number, 0 to 23.
        facility: u8,
        /// The socket.
        socket: SyslogSocket,
    },
}

/// How syslog is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyslogSocket {
    /// The machine's own, by datagrams on this path.
    Local(PathBuf),
    /// Another machine's, by UDP.
    Udp {
        /// Its name or address.
        host: String,
        /// Its port.
        port: u16,
    },
}

impl Log4perl {
    /// Names, without `log4perl.`, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.keys
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether an appender of the root logger writes to syslog, as the manual's
    /// `log4perl.appender.SYSLOG = Log::Dispatch::Syslog` does.
    #[must_use]
    pub fn syslog(&self) -> bool {
        let is_syslog = |a: &Appender| matches!(a.to, Destination::Syslog { .. });
        self.appenders.iter().any(is_syslog)
    }

    /// The level of the root logger, if there is one.
    #[must_use]
    pub fn level(&self) -> Option<LogLevel> {
        self.level
    }

    /// The destinations that the root logger names.
    #[must_use]
    pub fn appenders(&self) -> &[Appender] {
        &self.appenders
    }

    /// Makes sense of the keys.
    fn new(keys: BTreeMap<String, String>) -> Result<Self, Fault> {
        let mut log4perl = Self {
            keys,
            ..Self::default()
        };
        let lines = Lines(&log4perl.keys);
        let names = ["rootLogger", "rootCategory"];
        let Some((name, root)) = names
            .iter()
            .find_map(|name| Some((*name, lines.get(name)?)))
        else {
            return Ok(log4perl);
        };
        let mut words = root.split(',').map(str::trim);
        let level = words.next().unwrap_or_default();
        let level = level_of(level).ok_or_else(|| {
            Fault::new(name, "a level such as DEBUG, then names of appenders", root)
        })?;
        let appenders: Result<_, _> = words
            .filter(|word| !word.is_empty())
            .map(|word| lines.appender(name, word))
            .collect();
        (log4perl.level, log4perl.appenders) = (Some(level), appenders?);
        Ok(log4perl)
    }
}

/// A key, without `log4perl.`, that makes no sense.
struct Fault {
    key: String,
    expected: &'static str,
    found: String,
}

impl Fault {
    fn new(key: &str, expected: &'static str, found: &str) -> Self {
        Self {
            key: key.to_owned(),
            expected,
            found: found.to_owned(),
        }
    }
}

/// Log4perl's levels are written in capitals; TRACE is the lowest but ALL.
fn level_of(text: &str) -> Option<LogLevel> {
    if text.eq_ignore_ascii_case("trace") {
        return Some(LogLevel::All);
    }
    LogLevel::parse(text)
}

struct Lines<'a>(&'a BTreeMap<String, String>);

impl Lines<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.trim())
    }

    fn appender(&self, root: &str, name: &str) -> Result<Appender, Fault> {
        let base = format!("appender.{name}");
        let class = self.get(&base).ok_or_else(|| {
            Fault::new(
                root,
                "names of appenders that are set by log4perl.appender.NAME",
                name,
            )
        })?;
        let to = match class.rsplit("::").next() {
            Some("Syslog") => self.syslog(&base)?,
            Some("File" | "FileRotate") => Destination::File(self.file(&base)?),
            Some("Screen" | "ScreenColoredLevels") => Destination::Screen,
            _ => {
                let known = "Log::Dispatch::Syslog, Log::Dispatch::File or Log::Dispatch::Screen";
                return Err(Fault::new(&base, known, class));
            }
        };
        let threshold = format!("{base}.Threshold");
        let threshold = match self.get(&threshold) {
            None => None,
            Some(text) => Some(
                level_of(text)
                    .ok_or_else(|| Fault::new(&threshold, "a level such as DEBUG", text))?,
            ),
        };
        let pattern = format!("{base}.layout.ConversionPattern");
        Ok(Appender {
            to,
            threshold,
            pattern: self.get(&pattern).map(str::to_owned),
        })
    }

    fn file(&self, base: &str) -> Result<PathBuf, Fault> {
        let key = format!("{base}.filename");
        let text = self.get(&key).unwrap_or_default();
        PathBuf::parse(text).ok_or_else(|| Fault::new(&key, "an absolute path", text))
    }

    fn syslog(&self, base: &str) -> Result<Destination, Fault> {
        let key = format!("{base}.facility");
        let name = self.get(&key).unwrap_or("user");
        let facility = FACILITIES
            .iter()
            .position(|facility| *facility == name)
            .and_then(|number| u8::try_from(number).ok())
            .ok_or_else(|| Fault::new(&key, "a facility such as daemon or local0", name))?;
        Ok(Destination::Syslog {
            ident: self.get(&format!("{base}.ident")).map(str::to_owned),
            facility,
            socket: self.socket(base)?,
        })
    }

    /// `socket = TYPE`, or as Sys::Syslog's hash: `socket.type`, `socket.host`,
    /// `socket.port` and `socket.path`.
    fn socket(&self, base: &str) -> Result<SyslogSocket, Fault> {
        let key = |name: &str| format!("{base}.socket{name}");
        let typed = [key(".type"), key("")];
        let kind = typed.iter().find_map(|k| Some((k, self.get(k)?)));
        match kind {
            None | Some((_, "native" | "unix" | "stream" | "eventlog")) => {
                let path = self.get(&key(".path")).unwrap_or("/dev/log");
                PathBuf::parse(path)
                    .map(SyslogSocket::Local)
                    .ok_or_else(|| Fault::new(&key(".path"), "an absolute path", path))
            }
            Some((_, "udp" | "inet")) => {
                let host = self.get(&key(".host")).unwrap_or("localhost");
                let host = HostName::parse(host)
                    .ok_or_else(|| Fault::new(&key(".host"), "a host name or address", host))?;
                let port = match self.get(&key(".port")) {
                    None => SYSLOG_PORT,
                    Some(text) => text
                        .parse()
                        .ok()
                        .filter(|port| *port > 0)
                        .ok_or_else(|| Fault::new(&key(".port"), "a port", text))?,
                };
                let host = host.as_str().to_owned();
                Ok(SyslogSocket::Udp { host, port })
            }
            Some((key, other)) => Err(Fault::new(
                key,
                "native, unix or udp; other ways, such as RELP, are the local syslog's",
                other,
            )),
        }
    }
}

impl Field for Log4perl {
    const SECRET: bool = false;

    fn expected() -> Cow<'static, str> {
        "text".into()
    }

    fn accepts(_: &str) -> bool {
        true
    }

    /// A value whose references cannot be followed is left out: Log4perl has
    /// variables of its own, written the same way.
    fn read(reader: &mut Reader<'_>, key: &'static Key) -> Option<Self> {
        let texts = reader.texts(key);
        match Self::new(texts) {
            Ok(log4perl) => Some(log4perl),
            Err(fault) => {
                let name = format!("log4perl.{}", fault.key);
                reader.invalid(&name, fault.expected, &fault.found);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_new(entries: &[(&str, &str)]) -> Result<Log4perl, String> {
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        Log4perl::new(entries.iter().map(owned).collect()).map_err(|fault| fault.key)
    }

    fn log4perl(entries: &[(&str, &str)]) -> Log4perl {
        try_new(entries).unwrap()
    }

    const APPENDER: (&str, &str) = ("appender.SYSLOG", "Log::Dispatch::Syslog");
    const ROOT: (&str, &str) = ("rootLogger", "DEBUG, SYSLOG");

    #[test]
    fn the_syslog_appender_counts_when_the_root_logger_uses_it() {
        let used = log4perl(&[APPENDER, ROOT]);
        assert!(used.syslog());
        assert_eq!(used.level(), Some(LogLevel::Debug));
        assert!(!log4perl(&[APPENDER]).syslog());
        assert_eq!(log4perl(&[APPENDER]).level(), None);
        assert!(!log4perl(&[APPENDER, ("rootLogger", "INFO")]).syslog());
    }

    #[test]
    fn an_appender_has_what_its_keys_say() {
        let pattern = "%d %P %F %L %c - %m%n";
        let all = log4perl(&[
            APPENDER,
            ("rootLogger", "DEBUG, SYSLOG, FILE, SCREEN"),
            ("appender.SYSLOG.facility", "local3"),
            ("appender.SYSLOG.ident", "desk"),
            ("appender.SYSLOG.Threshold", "WARN"),
            ("appender.SYSLOG.layout.ConversionPattern", pattern),
            ("appender.SYSLOG.socket.type", "udp"),
            ("appender.SYSLOG.socket.host", "10.0.0.7"),
            ("appender.FILE", "Log::Log4perl::Appender::File"),
            ("appender.FILE.filename", "/var/log/other.log"),
            ("appender.SCREEN", "Log::Log4perl::Appender::Screen"),
        ]);
        let [syslog, file, screen] = all.appenders() else {
            panic!("{all:?}")
        };
        assert_eq!(syslog.threshold, Some(LogLevel::Warn));
        assert_eq!(syslog.pattern.as_deref(), Some(pattern));
        let expected = Destination::Syslog {
            ident: Some("desk".into()),
            facility: 19,
            socket: SyslogSocket::Udp {
                host: "10.0.0.7".into(),
                port: 514,
            },
        };
        assert_eq!(syslog.to, expected);
        assert_eq!(file.to, Destination::File("/var/log/other.log".into()));
        assert_eq!(screen.to, Destination::Screen);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (key, value, named) in [
            ("rootLogger", "LOUD, SYSLOG", "rootLogger"),
            ("rootLogger", "DEBUG, OTHER", "rootLogger"),
            ("appender.SYSLOG", "Log::Dispatch::DBI", "appender.SYSLOG"),
            (
                "appender.SYSLOG.facility",
                "local9",
                "appender.SYSLOG.facility",
            ),
            ("appender.SYSLOG.socket", "tcp", "appender.SYSLOG.socket"),
            (
                "appender.SYSLOG.Threshold",
                "some",
                "appender.SYSLOG.Threshold",
            ),
        ] {
            let mut entries = vec![APPENDER, ROOT];
            entries.retain(|(k, _)| *k != key);
            entries.push((key, value));
            assert_eq!(try_new(&entries), Err(named.to_owned()), "{key} = {value}");
        }
    }
}
