//! Hooks: executables of the administrator that the agent runs when something
//! is asked for, has happened, or is missing.
//!
//! | kind | hooks | a failure |
//! |---|---|---|
//! | action | pre-connect, connect, stop, suspend, poweroff, expire | aborts the action |
//! | state | connected, suspended, disconnected | is logged |
//! | provisioning | `mount_home`, `add_user`, `after_add_user` | aborts the start |
//!
//! A hook gets flat pairs as arguments, `hook key value key value …`, and the
//! same pairs in its environment ([`arguments`]). It is root's, and nobody else
//! can change it ([`trust`]). It ends within its time or is killed with all
//! that it started ([`run`]). What it prints goes to `qvd-hooks.log`, and the
//! last line of one that fails is what the user is told.
//!
//! Where a path of a hook is configured, a folder `….d` may be: its executables
//! run in the order of their names ([`folder`]).

pub mod arguments;
mod detached;
mod failure;
pub mod folder;
mod leftover;
pub mod run;
pub mod trust;

use std::path::Path;
use std::time::Duration;

use qvd_config::VmaConfig;

pub use arguments::{Arguments, Situation};
pub use detached::Detached;
pub use failure::{Failure, Why};
pub use leftover::{Records, end_leftovers};
pub use run::{Order, Runner};

/// Seconds that a hook may take by default.
const TIME: Duration = Duration::from_secs(60);

/// The same of one that mounts a home or makes a user: directories and disks
/// are slow.
const PROVISIONING_TIME: Duration = Duration::from_secs(600);

/// The same of the expire hook, which may ask the user. The broker's side
/// repeats its call each hour.
const EXPIRE_TIME: Duration = Duration::from_secs(3600);

/// What a hook is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something is asked for, and may be refused.
    Action,
    /// Something has happened.
    State,
    /// A user's account is prepared.
    Provisioning,
}

/// A hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// A session is started or resumed; before provisioning.
    PreConnect,
    /// A session is started or resumed; after provisioning.
    Connect,
    /// The session is asked to stop.
    Stop,
    /// The session is asked to suspend, or its client went.
    Suspend,
    /// The virtual machine is asked to switch off.
    Poweroff,
    /// The disk image is too old.
    Expire,
    /// The client is connected.
    Connected,
    /// The session is suspended.
    Suspended,
    /// The session has ended.
    Disconnected,
    /// The home is missing.
    MountHome,
    /// The user is unknown.
    AddUser,
    /// The user was added.
    AfterAddUser,
}

impl Hook {
    /// Every hook.
    pub const ALL: [Self; 12] = [
        Self::PreConnect,
        Self::Connect,
        Self::Stop,
        Self::Suspend,
        Self::Poweroff,
        Self::Expire,
        Self::Connected,
        Self::Suspended,
        Self::Disconnected,
        Self::MountHome,
        Self::AddUser,
        Self::AfterAddUser,
    ];

    /// Its name, as in the keys of the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreConnect => "pre-connect",
            Self::Connect => "connect",
            Self::Stop => "stop",
            Self::Suspend => "suspend",
            Self::Poweroff => "poweroff",
            Self::Expire => "expire",
            Self::Connected => "connected",
            Self::Suspended => "suspended",
            Self::Disconnected => "disconnected",
            Self::MountHome => "mount_home",
            Self::AddUser => "add_user",
            Self::AfterAddUser => "after_add_user",
        }
    }

    /// The hook of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.name() == name)
    }

    /// What it is run for.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::PreConnect
            | Self::Connect
            | Self::Stop
            | Self::Suspend
            | Self::Poweroff
            | Self::Expire => Kind::Action,
            Self::Connected | Self::Suspended | Self::Disconnected => Kind::State,
            Self::MountHome | Self::AddUser | Self::AfterAddUser => Kind::Provisioning,
        }
    }

    /// What is run, if anything.
    #[must_use]
    pub fn program(self, config: &VmaConfig) -> Option<&Path> {
        let (action, state, provisioning) =
            (&config.on_action, &config.on_state, &config.on_provisioning);
        match self {
            Self::PreConnect => action.pre_connect.as_deref(),
            Self::Connect => action.connect.as_deref(),
            Self::Stop => action.stop.as_deref(),
            Self::Suspend => action.suspend.as_deref(),
            Self::Poweroff => action.poweroff.as_deref(),
            Self::Expire => action.expire.as_deref(),
            Self::Connected => state.connected.as_deref(),
            Self::Suspended => state.suspended.as_deref(),
            Self::Disconnected => state.disconnected.as_deref(),
            Self::MountHome => provisioning.mount_home.as_deref(),
            Self::AddUser => provisioning.add_user.as_deref(),
            Self::AfterAddUser => provisioning.after_add_user.as_deref(),
        }
    }

    /// How long it may run.
    #[must_use]
    pub fn limit(self, config: &VmaConfig) -> Duration {
        let times = &config.hook_time;
        let own = match self {
            Self::PreConnect => times.pre_connect,
            Self::Connect => times.connect,
            Self::Stop => times.stop,
            Self::Suspend => times.suspend,
            Self::Poweroff => times.poweroff,
            Self::Expire => times.expire,
            Self::Connected => times.connected,
            Self::Suspended => times.suspended,
            Self::Disconnected => times.disconnected,
            Self::MountHome => times.mount_home,
            Self::AddUser => times.add_user,
            Self::AfterAddUser => times.after_add_user,
        };
        own.or(times.all).unwrap_or(match self.kind() {
            Kind::Provisioning => PROVISIONING_TIME,
            _ if self == Self::Expire => EXPIRE_TIME,
            _ => TIME,
        })
    }

    /// What is run when it has failed, if anything.
    #[must_use]
    pub fn on_fail(self, config: &VmaConfig) -> Option<&Path> {
        let on_fail = &config.on_fail;
        match self {
            Self::PreConnect => on_fail.pre_connect.as_deref(),
            Self::Connect => on_fail.connect.as_deref(),
            Self::Stop => on_fail.stop.as_deref(),
            Self::Suspend => on_fail.suspend.as_deref(),
            Self::Poweroff => on_fail.poweroff.as_deref(),
            Self::Expire => on_fail.expire.as_deref(),
            Self::Connected => on_fail.connected.as_deref(),
            Self::Suspended => on_fail.suspended.as_deref(),
            Self::Disconnected => on_fail.disconnected.as_deref(),
            Self::MountHome => on_fail.mount_home.as_deref(),
            Self::AddUser => on_fail.add_user.as_deref(),
            Self::AfterAddUser => on_fail.after_add_user.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use qvd_config::Properties;

    use super::*;

    fn config(text: &str) -> VmaConfig {
        let properties = Properties::from_sources([("vma.conf", text.as_bytes())]).unwrap();
        VmaConfig::from_properties(&properties).unwrap()
    }

    #[test]
    fn each_hook_has_the_keys_of_its_name() {
        for hook in Hook::ALL {
            let (name, kind) = (
                hook.name(),
                match hook.kind() {
                    Kind::Action => "action",
                    Kind::State => "state",
                    Kind::Provisioning => "provisioning",
                },
            );
            let config = config(&format!(
                "vma.on_{kind}.{name} = /hook\nvma.on_fail.{name} = /fail\n\
                 vma.hook.timeout = 7\nvma.hook.timeout.{name} = 3\n"
            ));
            assert_eq!(Hook::named(name), Some(hook));
            assert_eq!(hook.program(&config), Some(Path::new("/hook")), "{name}");
            assert_eq!(hook.on_fail(&config), Some(Path::new("/fail")), "{name}");
            assert_eq!(hook.limit(&config), Duration::from_secs(3), "{name}");
            for other in Hook::ALL.into_iter().filter(|other| *other != hook) {
                assert_eq!(other.program(&config), None);
                assert_eq!(other.on_fail(&config), None);
                assert_eq!(other.limit(&config), Duration::from_secs(7));
            }
        }
    }

    #[test]
    fn what_is_slow_by_nature_has_more_time() {
        let config = config("");
        assert_eq!(Hook::Connect.limit(&config), TIME);
        assert_eq!(Hook::AddUser.limit(&config), PROVISIONING_TIME);
        assert_eq!(Hook::Expire.limit(&config), EXPIRE_TIME);
    }
}
