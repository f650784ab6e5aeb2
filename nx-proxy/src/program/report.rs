//! What the program says, in nxproxy's words: scripts and other programs look
//! for them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use chrono::Local;

use super::link;
use super::settings::Settings;
use crate::Target;
use crate::codec::{Greeting, Service};

/// The version of NX that is spoken.
const VERSION: &str = "3.5.99";

/// Tokens of the agent that may be out, where it does not want short ways.
const TOKENS: u32 = 24;

/// Smallest store that nxproxy names, in KiB.
const LEAST_STORE: u64 = 4096;

/// The log of a session.
pub(super) struct Report {
    out: Box<dyn Write + Send>,
    errors: Option<File>,
}

impl Report {
    /// To where the options say, or else the standard error, where a file that
    /// cannot be written to is told, too: no session is lost for it.
    pub(super) fn of(settings: &Settings) -> Self {
        let mut this = Self {
            out: Box::new(io::stderr()),
            errors: None,
        };
        if let Some(folder) = &settings.folder {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            if let Err(error) = made {
                let folder = folder.display();
                this.warning(&format!("Cannot make the folder '{folder}': {error}."));
            }
        }
        this.errors = settings.errors.as_deref().and_then(|path| this.open(path));
        if let Some(file) = settings.session.as_deref().and_then(|path| this.open(path)) {
            this.out = Box::new(file);
        }
        this
    }

    /// Opens a file of the session's; others shall not read what is in it.
    fn open(&mut self, path: &Path) -> Option<File> {
        let opened = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path);
        match opened {
            Ok(file) => Some(file),
            Err(error) => {
                let path = path.display();
                self.warning(&format!("Cannot write to the file '{path}': {error}."));
                None
            }
        }
    }

    fn line(&mut self, line: &str) {
        // At once, and nobody may be listening any more.
        let _ = self.out.write_all(format!("{line}\n").as_bytes());
    }

    pub(super) fn info(&mut self, words: &str) {
        self.line(&format!("Info: {words}"));
    }

    pub(super) fn warning(&mut self, words: &str) {
        self.line(&format!("Warning: {words}"));
    }

    pub(super) fn error(&mut self, words: &str) {
        let line = format!("Error: {words}.");
        self.line(&line);
        if let Some(errors) = &mut self.errors {
            let _ = writeln!(errors, "{line}");
        }
    }

    /// A step of the session, with its time.
    pub(super) fn session(&mut self, step: &str) {
        let now = Local::now().format("%a %b %e %H:%M:%S %Y");
        self.line(&format!("Session: {step} at '{now}'."));
    }

    pub(super) fn begin(&mut self) {
        self.line(&format!(
            "\nNXPROXY - Version {VERSION}\n\nqvd-nxproxy {}, of QVD, which is free software (GPL-3.0-or-later).\n",
            env!("CARGO_PKG_VERSION")
        ));
        let process = std::process::id();
        self.info(&format!(
            "Proxy running in server mode with pid '{process}'."
        ));
        self.session("Starting session");
    }

    /// What the agent said of the session, and where channels lead to.
    pub(super) fn agreed(
        &mut self,
        greeting: &Greeting,
        settings: &Settings,
        display: &str,
        slave: Option<&str>,
        fonts: Option<&str>,
    ) {
        self.info("Connection with remote proxy completed.");
        if settings.cookie.is_none() {
            self.info("No proxy cookie was provided for authentication.");
        }
        self.info("Forwarding the real X authorization cookie.");
        self.parameters(greeting);
        self.info(&format!(
            "Forwarding X11 connections to display '{display}'."
        ));
        for (service, target) in &settings.targets {
            let name = match service {
                Service::Cups => "CUPS",
                Service::Smb => "SMB",
                Service::Media => "multimedia",
                Service::Http => "HTTP",
                Service::Slave | Service::Font => continue,
            };
            self.info(&format!(
                "Forwarding {name} connections to port '{target}'."
            ));
        }
        if let Some(place) = slave {
            self.info(&format!(
                "Listening to slave connections on port '{place}'."
            ));
        }
        if let Some(place) = fonts {
            self.info(&format!(
                "Listening to font server connections on port '{place}'."
            ));
        }
        self.session("Session started");
    }

    fn parameters(&mut self, greeting: &Greeting) {
        let link = greeting.link.to_ascii_uppercase();
        let token = crate::live::token_size(&link);
        let tokens = if greeting.strict { TOKENS / 2 } else { TOKENS };
        self.info(&format!(
            "Using {link} link parameters {token}/{tokens}/1/0."
        ));
        if greeting.delta {
            let most = kibibytes(&greeting.cache);
            self.info(&format!(
                "Using cache parameters 4/{LEAST_STORE}KB/{most}KB/{most}KB."
            ));
        }
        self.info(&format!(
            "Using pack method '{}' with session ''.",
            greeting.pack
        ));
        if !greeting.delta {
            self.info("Not using NX delta compression.");
        }
        match greeting.data {
            0 => self.info("Not using ZLIB data compression."),
            level => self.info(&format!("Using ZLIB data compression {level}/{level}/32.")),
        }
        match greeting.stream {
            0 => self.info("Not using ZLIB stream compression."),
            level => self.info(&format!("Using ZLIB stream compression {level}/{level}.")),
        }
        self.info(match greeting.delta {
            true => "No suitable cache file found.",
            false => "Not using a persistent cache.",
        });
    }

    /// The X server has accepted the session.
    pub(super) fn established(&mut self) {
        self.info("Established X server connection.");
        self.info("Using shared memory parameters 0/0K.");
    }

    /// A channel is open whose server is at `target`.
    pub(super) fn forwarded(&mut self, service: Service, target: &Target) {
        let place = match target {
            Target::Tcp { port, .. } => port.to_string(),
            Target::Unix(path) => path.display().to_string(),
        };
        let name = server(service);
        self.info(&format!(
            "Forwarded new connection to {name} server on port '{place}'."
        ));
    }

    /// A channel has no local end.
    pub(super) fn not_opened(&mut self, service: Service, target: Option<&Target>, why: &str) {
        let name = server(service);
        let words = match (service, target) {
            (Service::Slave | Service::Font, _) => {
                format!("Refusing attempted connection to {name} server: {why}.")
            }
            (_, None) => format!("Refusing attempted connection to {name} server."),
            (_, Some(target)) => {
                let place = match target {
                    Target::Tcp { host, port } => format!("{host}:{port}"),
                    Target::Unix(path) => format!("unix:{}", path.display()),
                };
                let why = why.strip_prefix(&format!("{target}: ")).unwrap_or(why);
                let why = link::words(why);
                format!("Connection to {name} server '{place}' failed with error '{why}'.")
            }
        };
        self.warning(&words);
    }

    /// A channel is closed.
    pub(super) fn closed(&mut self, service: Service) {
        let name = server(service);
        self.info(&format!("Closed connection to {name} server."));
    }
}

/// A server's name where connections to it are told.
fn server(service: Service) -> &'static str {
    match service {
        Service::Cups => "CUPS",
        Service::Smb => "SMB",
        Service::Media => "media",
        Service::Http => "HTTP",
        Service::Slave => "slave",
        Service::Font => "font",
    }
}

/// A size as the agent spells it: bytes, or with `k` or `m`.
fn kibibytes(size: &str) -> u64 {
    let number = |digits: &str| digits.parse::<u64>().unwrap_or(0);
    if let Some(digits) = size.strip_suffix(['k', 'K']) {
        number(digits)
    } else if let Some(digits) = size.strip_suffix(['m', 'M']) {
        number(digits).saturating_mul(1024)
    } else {
        number(size) / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_the_agent_spells_them() {
        for (size, kib) in [
            ("8192k", 8192),
            ("16m", 16384),
            ("2048", 2),
            ("", 0),
            ("x", 0),
        ] {
            assert_eq!(kibibytes(size), kib, "{size}");
        }
    }
}
