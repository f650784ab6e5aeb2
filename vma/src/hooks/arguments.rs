//! What a hook is told.
//!
//! Pairs as arguments, in this order: the state of the session
//! (`qvd.vm.session.state`, not for state hooks), what the hook is run for
//! (`qvd.hook.on_action`, `qvd.hook.on_state`, `qvd.hook.on_provisioning`), and
//! for pre-connect, connect and provisioning every property of the session.
//! Provisioning hooks get what connect gets, and their own pair in addition.
//!
//! The environment has the same pairs, `qvd.vm.user.name` as
//! `QVD_VM_USER_NAME` and `custom.site` as `QVD_CUSTOM_SITE`, and of every hook
//! the session as far as there is one: `QVD_SESSION_ID`, `QVD_VM_USER_NAME`,
//! `DISPLAY` and `XAUTHORITY`. Properties that are secrets are in the
//! environment only: everybody in the machine can read the arguments of a
//! process.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use qvd_rpc::SessionState;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Hook, Kind};

/// The path on which hooks find programs, whatever the agent was started with.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Properties of a session that are secrets.
const SECRETS: [&str; 2] = ["qvd.slave.key", "auth_token"];

/// The session as a hook sees it.
#[derive(Debug, Clone)]
pub struct Situation {
    /// Its state, as `x_state` says it.
    pub state: SessionState,
    /// Its name in logs.
    pub session: Option<String>,
    /// Login name of its user.
    pub user: Option<String>,
    /// Number of its display, while there is one.
    pub display: Option<u16>,
    /// File of the display's authority.
    pub authority: Option<PathBuf>,
    /// What it was started with.
    pub properties: Properties,
}

/// Properties of a session, the secret ones apart. `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Properties {
    open: BTreeMap<String, String>,
    secret: BTreeMap<String, SecretString>,
}

impl Properties {
    /// Takes what the caller of `x_start` said. What no program can be told, a
    /// name or a value with a zero byte, is left out.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut properties = Self::default();
        for (key, value) in pairs {
            if key.is_empty() || key.contains('\0') || value.contains('\0') {
                continue;
            }
            if SECRETS.contains(&key) {
                let value = SecretString::from(value);
                properties.secret.insert(key.to_owned(), value);
            } else {
                properties.open.insert(key.to_owned(), value.to_owned());
            }
        }
        properties
    }

    /// Sets one that is no secret, whatever was said before.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.open.insert(key.to_owned(), value.into());
    }

    /// Sets one that is no secret and has no value yet.
    pub fn fill(&mut self, key: &str, value: impl Into<String>) {
        let slot = self.open.entry(key.to_owned()).or_default();
        if slot.is_empty() {
            *slot = value.into();
        }
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.open.keys().chain(self.secret.keys());
        f.debug_set().entries(names).finish()
    }
}

impl PartialEq for Properties {
    fn eq(&self, other: &Self) -> bool {
        let exposed = |map: &BTreeMap<String, SecretString>| -> Vec<(String, String)> {
            let pair = |(k, v): (&String, &SecretString)| (k.clone(), v.expose_secret().to_owned());
            map.iter().map(pair).collect()
        };
        self.open == other.open && exposed(&self.secret) == exposed(&other.secret)
    }
}

impl Eq for Properties {}

/// Arguments and environment of a hook. Not for showing: there are secrets in.
#[derive(Clone)]
pub struct Arguments {
    pairs: Vec<(String, String)>,
    environment: BTreeMap<String, String>,
}

impl Arguments {
    /// What `hook` is told in this situation.
    #[must_use]
    pub fn of(hook: Hook, situation: &Situation) -> Self {
        let mut arguments = Self {
            pairs: Vec::new(),
            environment: environment(situation),
        };
        let state = situation.state.as_str();
        match hook.kind() {
            Kind::State => arguments.pair("qvd.hook.on_state", state_name(hook)),
            Kind::Action => {
                arguments.pair("qvd.vm.session.state", state);
                arguments.pair("qvd.hook.on_action", hook.name());
            }
            Kind::Provisioning => {
                arguments.pair("qvd.vm.session.state", state);
                arguments.pair("qvd.hook.on_action", Hook::Connect.name());
                arguments.pair("qvd.hook.on_provisioning", hook.name());
            }
        }
        let all = matches!(hook, Hook::PreConnect | Hook::Connect);
        if all || hook.kind() == Kind::Provisioning {
            let Properties { open, secret } = &situation.properties;
            for (key, value) in open {
                // What the agent itself says cannot be said by others.
                if !arguments.pairs.iter().any(|(said, _)| said == key) {
                    arguments.pair(key, value);
                }
            }
            for (key, value) in secret {
                let value = value.expose_secret().to_owned();
                arguments.environment.insert(variable(key), value);
            }
        }
        arguments
    }

    /// What the hook is told that is run because this one has failed.
    #[must_use]
    pub fn of_failure(mut self, hook: Hook, reason: &str) -> Self {
        self.pair("qvd.hook.on_fail", hook.name());
        self.pair("qvd.hook.reason", &reason.replace('\0', " "));
        self
    }

    /// The arguments, without the program's name.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.pairs
            .iter()
            .flat_map(|(key, value)| [key.as_str(), value.as_str()])
    }

    /// The whole environment.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.environment.iter();
        all.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn pair(&mut self, key: &str, value: &str) {
        self.pairs.push((key.to_owned(), value.to_owned()));
        self.environment.insert(variable(key), value.to_owned());
    }
}

/// What the reference calls the states of its state hooks: the end of a
/// session is the state `stopped`, though the key says `disconnected`.
const fn state_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Connected => "connected",
        Hook::Suspended => "suspended",
        _ => "stopped",
    }
}

/// A clean environment, with what is known of the session.
fn environment(situation: &Situation) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::from([
        ("PATH".to_owned(), PATH.to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
    ]);
    let display = situation.display.map(|number| format!(":{number}"));
    let authority = situation.authority.as_ref();
    let known = [
        ("QVD_SESSION_ID", situation.session.clone()),
        ("QVD_VM_USER_NAME", situation.user.clone()),
        ("DISPLAY", display),
        (
            "XAUTHORITY",
            authority.map(|path| path.display().to_string()),
        ),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            environment.insert(name.to_owned(), value);
        }
    }
    environment
}

/// The variable of a property: always one of ours, so that no property can
/// change the way programs run.
fn variable(key: &str) -> String {
    let name: String = key
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    if name.starts_with("QVD_") {
        name
    } else {
        format!("QVD_{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation() -> Situation {
        let mut properties = Properties::new([
            ("qvd.vm.user.name", "ann"),
            ("qvd.client.geometry", "800x600"),
            ("qvd.slave.key", "s3cret"),
            ("custom.site", "a b"),
            ("custom.odd", "a\0b"),
            ("qvd.hook.on_action", "forged"),
            ("LD_PRELOAD", "/tmp/x.so"),
        ]);
        properties.fill("qvd.vm.user.name", "other");
        properties.fill("qvd.vm.user.home", "/home/ann");
        Situation {
            state: SessionState::Suspended,
            session: Some("ab12".into()),
            user: Some("ann".into()),
            display: Some(100),
            authority: Some("/run/qvd/session-100/Xauthority".into()),
            properties,
        }
    }

    fn words(hook: Hook) -> Vec<String> {
        Arguments::of(hook, &situation())
            .words()
            .map(str::to_owned)
            .collect()
    }

    fn variable_of(hook: Hook, name: &str) -> Option<String> {
        let arguments = Arguments::of(hook, &situation());
        let mut all = arguments.environment();
        all.find(|(n, _)| *n == name).map(|(_, v)| v.to_owned())
    }

    #[test]
    fn each_kind_has_its_pairs() {
        assert_eq!(
            words(Hook::Stop),
            [
                "qvd.vm.session.state",
                "suspended",
                "qvd.hook.on_action",
                "stop"
            ]
        );
        assert_eq!(words(Hook::Disconnected), ["qvd.hook.on_state", "stopped"]);
        let properties = [
            "LD_PRELOAD",
            "/tmp/x.so",
            "custom.site",
            "a b",
            "qvd.client.geometry",
            "800x600",
        ];
        let connect = words(Hook::Connect);
        assert_eq!(
            connect[..4],
            [
                "qvd.vm.session.state",
                "suspended",
                "qvd.hook.on_action",
                "connect"
            ]
        );
        assert_eq!(connect[4..10], properties);
        assert_eq!(
            connect[10..],
            ["qvd.vm.user.home", "/home/ann", "qvd.vm.user.name", "ann"]
        );
        let add_user = words(Hook::AddUser);
        assert_eq!(add_user[..4], connect[..4]);
        assert_eq!(add_user[4..6], ["qvd.hook.on_provisioning", "add_user"]);
        assert_eq!(add_user[6..], connect[4..]);
    }

    #[test]
    fn the_environment_has_the_same_and_the_session() {
        assert_eq!(
            variable_of(Hook::Stop, "QVD_HOOK_ON_ACTION").unwrap(),
            "stop"
        );
        assert_eq!(variable_of(Hook::Stop, "DISPLAY").unwrap(), ":100");
        assert_eq!(variable_of(Hook::Stop, "QVD_VM_USER_NAME").unwrap(), "ann");
        assert_eq!(variable_of(Hook::Stop, "QVD_CUSTOM_SITE"), None);
        assert_eq!(
            variable_of(Hook::Connect, "QVD_CUSTOM_SITE").unwrap(),
            "a b"
        );
        assert_eq!(variable_of(Hook::Connect, "LD_PRELOAD"), None);
        assert_eq!(
            variable_of(Hook::Connect, "QVD_LD_PRELOAD").unwrap(),
            "/tmp/x.so"
        );
    }

    #[test]
    fn a_secret_is_in_the_environment_only_and_never_shown() {
        assert!(!words(Hook::Connect).concat().contains("s3cret"));
        assert_eq!(
            variable_of(Hook::Connect, "QVD_SLAVE_KEY").unwrap(),
            "s3cret"
        );
        assert!(!format!("{:?}", situation()).contains("s3cret"));
    }

    #[test]
    fn what_is_run_after_a_failure_is_told_why() {
        let arguments = Arguments::of(Hook::Stop, &situation()).of_failure(Hook::Stop, "no");
        let words: Vec<&str> = arguments.words().collect();
        assert_eq!(
            words[4..],
            ["qvd.hook.on_fail", "stop", "qvd.hook.reason", "no"]
        );
    }
}
