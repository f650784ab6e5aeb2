//! What a session of the program is to be, made of nxproxy's options.

use std::path::{Path, PathBuf};

use super::others::OTHERS;
use super::words::Words;
use crate::Target;
use crate::codec::Service;

/// Where sessions have their folders where no root is given, beneath the home.
const ROOT: &str = ".nx";

/// Added to a display's number for the port of its NX connection.
pub(super) const NX_PORT: u16 = 4000;

/// The same for the port of slave connections.
const SLAVE_PORT: u16 = 12000;

/// The number where none is given (seen with 3.5.99.26).
const NUMBER: u16 = 8;

/// Tries to connect where no number of them is given.
const TRIES: u32 = 30;

/// Most tries that can be asked for.
const MAX_TRIES: u32 = 10_000;

/// Longest cookie: the agent takes words of at most 511 bytes.
const MAX_COOKIE: usize = 256;

/// Processes that can be named to be ended with the session.
const MAX_KILLS: usize = 32;

/// How the two ends come together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    /// This end connects, with so many tries.
    Connect(Target, u32),
    /// This end listens, for one connection.
    Listen {
        at: Place,
        /// Who may connect; everybody, unless named.
        accept: Option<String>,
    },
}

/// Where the program listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Unix(PathBuf),
    /// A port of all interfaces, or of the loopback one alone.
    Tcp {
        port: u16,
        loopback: bool,
    },
}

/// A session.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) link: Link,
    /// Both ends know it.
    pub(super) cookie: Option<String>,
    /// The display, where it is not that of the environment.
    pub(super) display: Option<String>,
    pub(super) targets: Vec<(Service, Target)>,
    /// Where connections for the agent's slave command are taken.
    pub(super) slave: Option<Place>,
    /// The same for the font server that the agent knows.
    pub(super) fonts: Option<Place>,
    /// The session's folder, if files are in it.
    pub(super) folder: Option<PathBuf>,
    /// Where the log goes instead of the standard error.
    pub(super) session: Option<PathBuf>,
    /// Where faults are written, too.
    pub(super) errors: Option<PathBuf>,
    /// Where statistics are written.
    pub(super) stats: Option<PathBuf>,
    /// Processes that end with the session.
    pub(super) kill: Vec<i32>,
    /// What the user is to be told of the options.
    pub(super) warnings: Vec<String>,
}

impl Settings {
    /// Of options, for the user whose home this is.
    ///
    /// # Errors
    /// What is wrong with them, as a sentence.
    pub(super) fn of(words: Words, home: Option<&Path>) -> Result<Self, String> {
        let number = words.number.unwrap_or(NUMBER);
        let mut draft = Draft::default();
        let mut this = Self {
            link: Link::Connect(Target::port(0), 0),
            cookie: None,
            display: None,
            targets: Vec::new(),
            slave: None,
            fonts: None,
            folder: None,
            session: None,
            errors: None,
            stats: None,
            kill: Vec::new(),
            warnings: Vec::new(),
        };
        for (key, value) in words.pairs {
            this.option(&mut draft, number, &key, value)?;
        }
        if let Some(host) = words.host {
            draft.connect = Some(host);
        }
        let root = draft.root.clone().or_else(|| Some(home?.join(ROOT)));
        let folder = root.map(|root| root.join(format!("S-{number}")));
        for file in [&mut this.session, &mut this.errors, &mut this.stats] {
            // As nxproxy has it: a name is one of the session's folder.
            if let (Some(path), Some(folder)) = (&file, &folder)
                && path.is_relative()
            {
                *file = Some(folder.join(path));
                this.folder = Some(folder.clone());
            }
        }
        this.link = draft.link(number)?;
        Ok(this)
    }

    fn option(
        &mut self,
        draft: &mut Draft,
        number: u16,
        key: &str,
        value: String,
    ) -> Result<(), String> {
        match key {
            "connect" => draft.connect = Some(value),
            "accept" => draft.accept = Some(value),
            "port" => draft.port = Some(port(key, &value)?),
            "listen" => draft.listen = Some(value),
            "loopback" => draft.loopback = switch(key, &value)?,
            "retry" => draft.retry = Some(retry(&value)?),
            "root" => draft.root = Some(value.into()),
            "cookie" => self.cookie = Some(cookie(value)?),
            "display" => self.display = Some(value),
            "session" => self.session = Some(value.into()),
            "errors" => self.errors = Some(value.into()),
            "stats" => self.stats = Some(value.into()),
            "kill" => self.kill.push(process(&value)?),
            "cups" => self.target(Service::Cups, &value, Some(631), key)?,
            "smb" | "samba" => self.target(Service::Smb, &value, Some(139), key)?,
            "media" => self.target(Service::Media, &value, None, key)?,
            "http" => self.target(Service::Http, &value, Some(80), key)?,
            "slave" => self.slave = slave(&value, number)?,
            "font" if value == "1" => {
                let warning = "Ignoring option 'font', which names no port.";
                self.warnings.push(warning.to_owned());
            }
            "font" if value == "0" => self.fonts = None,
            "font" => self.fonts = Some(place(key, &value, true)?),
            _ if OTHERS.contains(&key) => {}
            _ => self.warnings.push(format!(
                "Ignoring unknown option '{}' with value '{}'.",
                shown(key),
                shown(&value)
            )),
        }
        if self.kill.len() > MAX_KILLS {
            return Err(format!(
                "option 'kill' is given more than {MAX_KILLS} times"
            ));
        }
        Ok(())
    }

    fn target(
        &mut self,
        service: Service,
        value: &str,
        usual: Option<u16>,
        key: &str,
    ) -> Result<(), String> {
        if usual.is_none() && value == "1" {
            return Err("No port specified for multimedia connections".to_owned());
        }
        let target = Target::parse(value, usual).map_err(|error| wrong(key, &error.to_string()))?;
        self.targets.retain(|(known, _)| *known != service);
        self.targets.extend(target.map(|target| (service, target)));
        Ok(())
    }
}

/// Options that are one thing together.
#[derive(Default)]
struct Draft {
    connect: Option<String>,
    accept: Option<String>,
    port: Option<u16>,
    listen: Option<String>,
    loopback: bool,
    retry: Option<u32>,
    root: Option<PathBuf>,
}

impl Draft {
    fn link(self, number: u16) -> Result<Link, String> {
        let usual = || {
            let port = number.checked_add(NX_PORT);
            port.ok_or_else(|| format!("there is no port for number {number}: set port"))
        };
        let Some(host) = self.connect else {
            let at = match self.listen.as_deref() {
                None => Place::Tcp {
                    port: self.port.map_or_else(usual, Ok)?,
                    loopback: self.loopback,
                },
                Some(value) => place("listen", value, self.loopback)?,
            };
            let accept = self.accept;
            return Ok(Link::Listen { at, accept });
        };
        let full = host.starts_with("unix:") || host.starts_with("tcp:");
        let text = match full {
            true => host.clone(),
            false => format!("tcp:{host}:{}", self.port.map_or_else(usual, Ok)?),
        };
        let target =
            Target::parse(&text, None).map_err(|_| format!("'{}' is no host", shown(&host)))?;
        let target = target.ok_or_else(|| wrong("connect", "names nothing"))?;
        Ok(Link::Connect(target, self.retry.unwrap_or(TRIES)))
    }
}

fn wrong(key: &str, why: &str) -> String {
    format!("option '{key}': {why}")
}

fn port(key: &str, value: &str) -> Result<u16, String> {
    let port = value.parse::<u16>().ok().filter(|port| *port > 0);
    port.ok_or_else(|| wrong(key, &format!("'{}' is no port", shown(value))))
}

fn switch(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(wrong(
            key,
            &format!("'{}' is neither 0 nor 1", shown(value)),
        )),
    }
}

fn retry(value: &str) -> Result<u32, String> {
    let tries = value.parse::<u32>().ok();
    let tries = tries.filter(|tries| *tries <= MAX_TRIES);
    // nxproxy takes 0 and tries on.
    let tries = tries.map(|tries| if tries == 0 { TRIES } else { tries });
    tries.ok_or_else(|| {
        wrong(
            "retry",
            &format!("'{}' is no number of tries", shown(value)),
        )
    })
}

/// The processes that options name to be ended, whatever else is wrong with
/// them.
pub(super) fn processes(words: &Words) -> Vec<i32> {
    let pairs = words.pairs.iter().filter(|(key, _)| key == "kill");
    pairs
        .filter_map(|(_, value)| process(value).ok())
        .take(MAX_KILLS)
        .collect()
}

fn process(value: &str) -> Result<i32, String> {
    // 1 and below are no processes of a session.
    let process = value.parse::<i32>().ok().filter(|process| *process > 1);
    process.ok_or_else(|| wrong("kill", &format!("'{}' is no process", shown(value))))
}

/// The value is a secret: it is not shown.
fn cookie(value: String) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    match value.len() <= MAX_COOKIE && value.bytes().all(plain) {
        true => Ok(value),
        false => Err(wrong(
            "cookie",
            "its value is no word of letters and digits",
        )),
    }
}

fn slave(value: &str, number: u16) -> Result<Option<Place>, String> {
    if value == "0" {
        return Ok(None);
    }
    if value == "1" {
        let port = number.checked_add(SLAVE_PORT);
        let port = port.ok_or_else(|| wrong("slave", "there is no port for this number"))?;
        return Ok(Some(Place::Tcp {
            port,
            loopback: true,
        }));
    }
    place("slave", value, true).map(Some)
}

/// Where to listen: a port, `tcp:port`, `tcp:localhost:port` or `unix:path`.
fn place(key: &str, value: &str, loopback: bool) -> Result<Place, String> {
    let target = Target::parse(value, None).map_err(|error| wrong(key, &error.to_string()))?;
    match target {
        Some(Target::Unix(path)) => Ok(Place::Unix(path)),
        Some(Target::Tcp { host, port }) if host == "localhost" || host == "127.0.0.1" => {
            let loopback = loopback || value.contains(&host);
            Ok(Place::Tcp { port, loopback })
        }
        _ => Err(wrong(
            key,
            &format!("'{}' is no place to listen", shown(value)),
        )),
    }
}

/// A text of others as part of a line.
pub(super) fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(200).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(given: &[&str]) -> Result<Settings, String> {
        let mut words = Words::default();
        for word in given {
            words.take(word)?;
        }
        Settings::of(words, Some(Path::new("/home/ann")))
    }

    fn link(given: &[&str]) -> Link {
        settings(given).ok().unwrap().link
    }

    fn tcp(host: &str, port: u16) -> Target {
        Target::parse(&format!("tcp:{host}:{port}"), None)
            .unwrap()
            .unwrap()
    }

    /// As seen with nxproxy 3.5.99.26.
    #[test]
    fn the_ends_come_together_as_with_nxproxy() {
        for (given, target, tries) in [
            (&["localhost:40"][..], tcp("localhost", 4040), TRIES),
            (&["localhost"], tcp("localhost", 4008), TRIES),
            (
                &["nx/nx,connect=vm,port=30001,retry=2:50"],
                tcp("vm", 30001),
                2,
            ),
            (
                &["connect=unix:/run/a"],
                Target::Unix("/run/a".into()),
                TRIES,
            ),
        ] {
            assert_eq!(link(given), Link::Connect(target, tries), "{given:?}");
        }
        let tried = Link::Connect(tcp("vm", 4008), TRIES);
        assert_eq!(link(&["connect=vm,retry=0"]), tried);
        for (given, port, loopback, accept) in [
            (&[][..], 4008, false, None),
            (&["listen=4282"], 4282, false, None),
            (
                &["nx/nx,accept=vm,loopback=1:40"],
                4040,
                true,
                Some("vm".to_owned()),
            ),
            (&["listen=tcp:localhost:4282"], 4282, true, None),
        ] {
            let at = Place::Tcp { port, loopback };
            assert_eq!(link(given), Link::Listen { at, accept }, "{given:?}");
        }
    }

    #[test]
    fn channels_and_files_are_where_the_options_say() {
        let given = "nx/nx,root=/r,media=4713,cups=1,smb=unix:/s,slave=1,errors=e,session=/f:40";
        let settings = settings(&[given, "cups=0", "link=modem", "novelty=7"])
            .ok()
            .unwrap();
        assert_eq!(
            settings.targets,
            [
                (Service::Media, tcp("localhost", 4713)),
                (Service::Smb, Target::Unix("/s".into()))
            ]
        );
        let slave = Place::Tcp {
            port: 12040,
            loopback: true,
        };
        assert_eq!(settings.slave, Some(slave));
        assert_eq!(settings.errors, Some("/r/S-40/e".into()));
        assert_eq!(settings.session, Some("/f".into()));
        assert_eq!(
            settings.warnings,
            ["Ignoring unknown option 'novelty' with value '7'."]
        );
    }

    #[test]
    fn names_of_files_are_those_of_the_sessions_folder() {
        let given = settings(&["stats=s,errors=/e:40"]).ok().unwrap();
        assert_eq!(given.stats, Some("/home/ann/.nx/S-40/s".into()));
        assert_eq!(given.folder, Some("/home/ann/.nx/S-40".into()));
        assert_eq!(given.errors, Some("/e".into()));
        assert_eq!(settings(&["errors=/e:40"]).ok().unwrap().folder, None);
    }

    #[test]
    fn processes_are_known_where_other_words_are_wrong() {
        let mut words = Words::default();
        let taken = words.take("nx/nx,kill=7,port=x,kill=1,kill=9:40");
        assert!(taken.is_ok());
        assert_eq!(processes(&words), [7, 9]);
    }

    #[test]
    fn what_is_wrong_is_named_and_no_cookie_shown() {
        for (given, part) in [
            ("port=0,connect=a", "'0' is no port"),
            ("retry=x,connect=a", "'x'"),
            ("loopback=2", "'2'"),
            ("kill=1", "'1' is no process"),
            ("media=1", "No port specified for multimedia"),
            ("cups=tcp:x", "cups"),
            ("connect=a b", "'a b' is no host"),
            ("listen=tcp:other:1", "'tcp:other:1'"),
            ("nx/nx,listen=0", "'0' is no place"),
        ] {
            let error = settings(&[given]).err().unwrap();
            assert!(error.contains(part), "{given}: {error}");
        }
        for given in ["cookie=a/b", "nx/nx:50,cookie=a/b", "nx/nx,cookie=a/b,:x"] {
            let error = settings(&[given]).err().unwrap();
            assert!(!error.contains("a/b"), "{error}");
        }
        let kills = vec!["kill=7"; MAX_KILLS + 1].join(",");
        assert!(settings(&[&kills]).is_err());
    }
}
