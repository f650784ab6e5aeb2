use std::collections::BTreeMap;
use std::fmt;

use crate::Refusal;

/// Parameters of `connect_to_vm` that go on to the agent: their names start
/// with `qvd.client.` or `custom.`, which is checked when they are read.
///
/// Values stay out of `Debug` output: `custom.…` may hold anything.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConnectParameters(BTreeMap<String, String>);

/// The parameter that names the session in logs: 8 to 64 letters, digits and
/// `-`.
pub const SESSION_ID: &str = "qvd.client.session-id";

/// The parameter of a client that lost its connection and tries by itself to
/// get the session back: `1`. A broker answers 409 when another client has the
/// session by now; one that does not know the parameter passes it on.
pub const RESUMES: &str = "qvd.client.session-resume";

impl ConnectParameters {
    /// No parameters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes parameters of a request.
    ///
    /// # Errors
    /// A 403 that names the first parameter a client may not send.
    pub fn from_pairs(pairs: BTreeMap<String, String>) -> Result<Self, Refusal> {
        match pairs.keys().find(|key| !is_allowed(key)) {
            None => Ok(Self(pairs)),
            Some(key) => Err(Refusal::parameter_not_allowed(key)),
        }
    }

    /// Sets a parameter, replacing an earlier value.
    ///
    /// # Errors
    /// A 403 when a client may not send a parameter of this name.
    pub fn set(&mut self, key: &str, value: impl Into<String>) -> Result<(), Refusal> {
        if !is_allowed(key) {
            return Err(Refusal::parameter_not_allowed(key));
        }
        self.0.insert(key.to_owned(), value.into());
        Ok(())
    }

    /// The value of a parameter; an empty value counts as none.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0
            .get(key)
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    }

    /// The session's name in the logs of client, broker and agent; none when
    /// what the client sends is no such name.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        self.value(SESSION_ID)
            .filter(|id| (8..=64).contains(&id.len()) && id.bytes().all(good))
    }

    /// Whether the client tries to get a session back by itself, which it had
    /// under the same name. Without a name there is nothing to get back.
    #[must_use]
    pub fn resumes(&self) -> bool {
        self.session_id().is_some() && self.value(RESUMES) == Some("1")
    }

    /// All parameters, empty ones too, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

impl fmt::Debug for ConnectParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn is_allowed(key: &str) -> bool {
    ["qvd.client.", "custom."].iter().any(|prefix| {
        key.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty())
    })
}

/// What the client of a Linux desktop says of itself when it connects. Every
/// key the reference client sends is sent, set or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientParameters {
    /// `model/layout`, for instance `pc105/es`.
    pub keyboard: Option<String>,
    /// `modem`, `isdn`, `adsl`, `wan`, `lan`, `local`, or a bandwidth (`56k`, `1m`).
    pub link: Option<String>,
    /// `WIDTHxHEIGHT` in pixels.
    pub geometry: Option<String>,
    /// Whether the desktop takes the whole screen.
    pub fullscreen: bool,
    /// NX options asked of the agent, `key=value` separated by commas.
    pub nxagent_extra_args: Option<String>,
    /// Whether printers of the user's machine are offered.
    pub printing: bool,
    /// Whether sound is wanted.
    pub audio: bool,
    /// Whether sound is to be compressed.
    pub audio_compression: bool,
    /// Time zone in the form `Europe/Madrid`.
    pub timezone: Option<String>,
    /// Name of the user's machine.
    pub hostname: Option<String>,
    /// Name of its operating system.
    pub os_name: Option<String>,
    /// Version of its operating system.
    pub os_version: Option<String>,
    /// More parameters, with their full names.
    pub more: ConnectParameters,
}

impl ClientParameters {
    /// The parameters as they are sent.
    #[must_use]
    pub fn to_parameters(&self) -> ConnectParameters {
        let flag = |on: bool| if on { "1" } else { "0" }.to_owned();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut pairs: BTreeMap<String, String> = [
            ("keyboard", text(&self.keyboard)),
            ("os", "linux".to_owned()),
            ("link", text(&self.link)),
            ("geometry", text(&self.geometry)),
            // The reference sends `1` or nothing here, and `0` elsewhere.
            (
                "fullscreen",
                if self.fullscreen {
                    "1".to_owned()
                } else {
                    String::new()
                },
            ),
            ("nxagent.extra_args", text(&self.nxagent_extra_args)),
            ("printing.enabled", flag(self.printing)),
            ("usb.enabled", flag(false)),
            ("usb.implementation", "USBIP".to_owned()),
            ("audio.compression.enable", flag(self.audio_compression)),
            ("audio.redirect.enable", flag(self.audio)),
            ("audio.redirect.server", String::new()),
            ("audio.redirect.port", String::new()),
        ]
        .into_iter()
        .map(|(key, value)| (format!("qvd.client.{key}"), value))
        .collect();
        for (key, value) in [
            ("timezone", &self.timezone),
            ("hostname", &self.hostname),
            ("os.name", &self.os_name),
            ("os.version", &self.os_version),
        ] {
            if let Some(value) = value {
                pairs.insert(format!("qvd.client.{key}"), value.clone());
            }
        }
        pairs.extend(self.more.iter().map(|(k, v)| (k.to_owned(), v.to_owned())));
        ConnectParameters(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_of_a_session_is_none() {
        let id = |value: &str| {
            let mut parameters = ConnectParameters::new();
            parameters.set(SESSION_ID, value).unwrap();
            parameters.session_id().map(str::to_owned)
        };
        assert_eq!(id("0123-abcd").as_deref(), Some("0123-abcd"));
        for wrong in ["", "short", "with a\nline end", &"x".repeat(65)] {
            assert_eq!(id(wrong), None, "{wrong}");
        }
        assert_eq!(ConnectParameters::new().session_id(), None);
    }

    #[test]
    fn only_a_session_with_a_name_is_resumed() {
        let mut parameters = ConnectParameters::new();
        parameters.set(RESUMES, "1").unwrap();
        assert!(!parameters.resumes());
        parameters.set(SESSION_ID, "0123-abcd").unwrap();
        assert!(parameters.resumes());
        parameters.set(RESUMES, "").unwrap();
        assert!(!parameters.resumes());
    }
}
