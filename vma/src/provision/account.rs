//! What the broker says of a user's account, checked.

use std::path::{Component, Path, PathBuf};

use qvd_config::VmaConfig;
use qvd_rpc::Parameters;

use crate::parameters::is_login;

/// Lowest user and group id that the broker may give a user. Below are root
/// and the system's own accounts; 100 is the group `users`.
pub const LOWEST_ID: u32 = 100;

/// Ids that mean "none" or "nobody" somewhere: 16 and 32 bits of -1 and -2.
pub const NO_ID: [u32; 4] = [65_534, 65_535, u32::MAX - 1, u32::MAX];

/// Most groups of a user beside his own.
const MAX_GROUPS: usize = 64;

/// Longest path of a home, in bytes.
const MAX_HOME: usize = 256;

/// The account of a session's user, as `qvd.vm.user.*` and `vma.user.*` say.
/// Of a user who exists it is what was asked for, not what he has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id; the system chooses where there is none.
    pub uid: Option<u32>,
    /// Id of the primary group; the system chooses where there is none.
    pub gid: Option<u32>,
    /// Name of the primary group; as the user's where there is none.
    pub group: Option<String>,
    /// Names of the other groups.
    pub groups: Vec<String>,
    /// Home folder.
    pub home: PathBuf,
}

impl Account {
    /// Reads the parameters of a start.
    ///
    /// # Errors
    /// One sentence that names the parameter that is not acceptable.
    pub fn from_parameters(parameters: &Parameters, config: &VmaConfig) -> Result<Self, String> {
        let value = |key: &str| parameters.value(&format!("qvd.vm.user.{key}"));
        let user = &config.user;
        let name = value("name").unwrap_or(user.default_name.as_str());
        if !is_login(name) {
            return Err(refused("name", "a login name"));
        }
        let group = value("group");
        if !group.is_none_or(is_login) {
            return Err(refused("group", "the name of a group"));
        }
        let groups = match value("groups") {
            Some(list) => groups(list)?,
            None => user
                .default_groups
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        let home = match value("home") {
            Some(home) => self::home(home)?,
            None => user.home_path.join(name),
        };
        Ok(Self {
            name: name.to_owned(),
            uid: value("uid").map(|text| id("uid", text)).transpose()?,
            gid: value("gid").map(|text| id("gid", text)).transpose()?,
            group: group.map(str::to_owned),
            groups,
            home,
        })
    }

    /// An account that nothing but its name is known of.
    #[cfg(test)]
    #[must_use]
    pub fn of_test(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            uid: None,
            gid: None,
            group: None,
            groups: Vec::new(),
            home: Path::new("/home").join(name),
        }
    }

    /// Name of the primary group.
    #[must_use]
    pub fn primary(&self) -> &str {
        self.group.as_deref().unwrap_or(&self.name)
    }
}

fn refused(parameter: &str, form: &str) -> String {
    format!("parameter qvd.vm.user.{parameter} is not {form}")
}

fn id(parameter: &str, text: &str) -> Result<u32, String> {
    let digits = text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
    Some(text)
        .filter(|_| digits)
        .and_then(|text| text.parse().ok())
        .filter(|id| *id >= LOWEST_ID && !NO_ID.contains(id))
        .ok_or_else(|| refused(parameter, &format!("a number from {LOWEST_ID} on")))
}

/// Names with commas or spaces between.
fn groups(list: &str) -> Result<Vec<String>, String> {
    let mut groups: Vec<String> = Vec::new();
    for name in list.split([',', ' ']).filter(|name| !name.is_empty()) {
        if !is_login(name) || groups.len() >= MAX_GROUPS {
            let form = format!("a list of at most {MAX_GROUPS} names of groups");
            return Err(refused("groups", &form));
        }
        if !groups.iter().any(|known| known == name) {
            groups.push(name.to_owned());
        }
    }
    Ok(groups)
}

/// An absolute path that is no detour, and can be a field of `/etc/passwd`.
fn home(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let mut parts = path.components();
    let clean = parts.next() == Some(Component::RootDir)
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && path.parent().is_some()
        && text.len() <= MAX_HOME
        && !text.contains("/./")
        && !text.contains(|c: char| c.is_control() || c == ':');
    if clean {
        Ok(path.to_owned())
    } else {
        Err(refused("home", "an absolute path of a folder"))
    }
}

#[cfg(test)]
mod tests {
    use qvd_config::Properties;

    use super::*;

    fn account(pairs: &[(&str, &str)], config: &str) -> Result<Account, String> {
        let properties = Properties::from_sources([("test", config.as_bytes())]).unwrap();
        let config = VmaConfig::from_properties(&properties).unwrap();
        let mut parameters = Parameters::new();
        for (key, value) in pairs {
            parameters.set(format!("qvd.vm.user.{key}"), *value);
        }
        Account::from_parameters(&parameters, &config)
    }

    #[test]
    fn what_is_missing_or_empty_has_defaults() {
        let config = "vma.user.default.groups = audio, video\nvma.user.home.path = /homes\n";
        let found = account(&[("uid", ""), ("groups", "")], config).unwrap();
        assert_eq!(found.name, "qvd");
        assert_eq!(found.groups, ["audio", "video"]);
        assert_eq!(found.home, Path::new("/homes/qvd"));
        assert_eq!((found.uid, found.gid, found.group), (None, None, None));
    }

    #[test]
    fn everything_can_be_said() {
        let pairs = [
            ("name", "ann"),
            ("uid", "1500"),
            ("gid", "100"),
            ("group", "staff"),
            ("groups", "audio,video audio,,lp"),
            ("home", "/srv/people/ann lee"),
        ];
        let found = account(&pairs, "").unwrap();
        assert_eq!(found.uid, Some(1500));
        assert_eq!(found.gid, Some(100));
        assert_eq!(found.primary(), "staff");
        assert_eq!(found.groups, ["audio", "video", "lp"]);
        assert_eq!(found.home, Path::new("/srv/people/ann lee"));
    }

    #[test]
    fn what_is_dangerous_is_refused_by_name() {
        let many: Vec<String> = (0..=MAX_GROUPS).map(|n| format!("g{n}")).collect();
        let long = format!("/{}", "x".repeat(MAX_HOME));
        for (key, value) in [
            ("name", "-r"),
            ("uid", "0"),
            ("uid", "99"),
            ("uid", "+1000"),
            ("uid", "-1"),
            ("uid", "65534"),
            ("uid", "4294967295"),
            ("uid", "99999999999"),
            ("gid", "0"),
            ("gid", "1000x"),
            ("group", "a:b"),
            ("group", "--root"),
            ("groups", "audio,-x"),
            ("groups", &many.join(",")),
            ("home", "home/ann"),
            ("home", "/"),
            ("home", "/home/../etc"),
            ("home", "/home/./ann"),
            ("home", "/home/ann:/bin/sh"),
            ("home", "/home/ann\n"),
            ("home", &long),
        ] {
            let message = account(&[(key, value)], "").unwrap_err();
            let parameter = format!("qvd.vm.user.{key}");
            assert!(message.contains(&parameter), "{key}={value}: {message}");
        }
    }
}
