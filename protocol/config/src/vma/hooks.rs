//! The keys of hooks: executables of the administrator.
//!
//! Where a key names an executable, a folder whose name ends in `.d` is taken
//! too: the executables in it are run in the order of their names.

use std::path::PathBuf;
use std::time::Duration;

use crate::key::Status::Supported;
use crate::read::section;

section! {
    /// Hooks run when something is asked for. One that fails aborts it.
    pub struct ActionHooks {
        pre_connect: Option<PathBuf> = "vma.on_action.pre-connect", "", Supported,
            "Run when a session is started or resumed, before the user's account is prepared. Empty: no hook.";
        connect: Option<PathBuf> = "vma.on_action.connect", "", Supported,
            "Run when a session is started or resumed, after the user's account was prepared. Empty: no hook.";
        stop: Option<PathBuf> = "vma.on_action.stop", "", Supported,
            "Run when the session is asked to stop. Empty: no hook.";
        suspend: Option<PathBuf> = "vma.on_action.suspend", "", Supported,
            "Run when the session is asked to suspend. Empty: no hook.";
        poweroff: Option<PathBuf> = "vma.on_action.poweroff", "", Supported,
            "Run when the virtual machine is asked to shut down. Empty: no hook.";
        expire: Option<PathBuf> = "vma.on_action.expire", "", Supported,
            "Run when the virtual machine reaches its soft expiration limit, and hourly after. Empty: no hook.";
    }
}

section! {
    /// Hooks run when something has happened. They cannot fail anything.
    pub struct StateHooks {
        connected: Option<PathBuf> = "vma.on_state.connected", "", Supported,
            "Run when the client is connected to the session. Empty: no hook.";
        suspended: Option<PathBuf> = "vma.on_state.suspended", "", Supported,
            "Run when the session is suspended. Empty: no hook.";
        disconnected: Option<PathBuf> = "vma.on_state.disconnected", "", Supported,
            "Run when the session has ended. Empty: no hook.";
    }
}

section! {
    /// Hooks that prepare a user's account.
    pub struct ProvisioningHooks {
        mount_home: Option<PathBuf> = "vma.on_provisioning.mount_home", "", Supported,
            "Run in place of mounting the disk of the home directories. Empty: the disk of vma.user.home.drive is mounted.";
        add_user: Option<PathBuf> = "vma.on_provisioning.add_user", "", Supported,
            "Run in place of useradd for a user that does not exist. Empty: useradd.";
        after_add_user: Option<PathBuf> = "vma.on_provisioning.after_add_user", "", Supported,
            "Run after a user was added. Empty: no hook.";
    }
}

section! {
    /// How long hooks may run.
    pub struct HookTimes {
        all: Option<Duration> = "vma.hook.timeout", "", Supported,
            "Seconds that a hook without a limit of its own may run; then it is killed with all that it started. Empty: 60, for the provisioning hooks 600, and for the expire hook, which may ask the user, 3600.";
        pre_connect: Option<Duration> = "vma.hook.timeout.pre-connect", "", Supported,
            "Seconds that the pre-connect hook may run. Empty: as vma.hook.timeout says.";
        connect: Option<Duration> = "vma.hook.timeout.connect", "", Supported,
            "Seconds that the connect hook may run. Empty: as vma.hook.timeout says.";
        stop: Option<Duration> = "vma.hook.timeout.stop", "", Supported,
            "Seconds that the stop hook may run. Empty: as vma.hook.timeout says.";
        suspend: Option<Duration> = "vma.hook.timeout.suspend", "", Supported,
            "Seconds that the suspend hook may run. Empty: as vma.hook.timeout says.";
        poweroff: Option<Duration> = "vma.hook.timeout.poweroff", "", Supported,
            "Seconds that the poweroff hook may run. Empty: as vma.hook.timeout says.";
        expire: Option<Duration> = "vma.hook.timeout.expire", "", Supported,
            "Seconds that the expire hook may run. Empty: as vma.hook.timeout says.";
        connected: Option<Duration> = "vma.hook.timeout.connected", "", Supported,
            "Seconds that the connected hook may run. Empty: as vma.hook.timeout says.";
        suspended: Option<Duration> = "vma.hook.timeout.suspended", "", Supported,
            "Seconds that the suspended hook may run. Empty: as vma.hook.timeout says.";
        disconnected: Option<Duration> = "vma.hook.timeout.disconnected", "", Supported,
            "Seconds that the disconnected hook may run. Empty: as vma.hook.timeout says.";
        mount_home: Option<Duration> = "vma.hook.timeout.mount_home", "", Supported,
            "Seconds that the mount_home hook may run. Empty: as vma.hook.timeout says.";
        add_user: Option<Duration> = "vma.hook.timeout.add_user", "", Supported,
            "Seconds that the add_user hook may run. Empty: as vma.hook.timeout says.";
        after_add_user: Option<Duration> = "vma.hook.timeout.after_add_user", "", Supported,
            "Seconds that the after_add_user hook may run. Empty: as vma.hook.timeout says.";
    }
}

section! {
    /// What is run when a hook has failed. It changes nothing more.
    pub struct OnFail {
        pre_connect: Option<PathBuf> = "vma.on_fail.pre-connect", "", Supported,
            "Run when the pre-connect hook has failed, with its arguments and the reason. Empty: nothing.";
        connect: Option<PathBuf> = "vma.on_fail.connect", "", Supported,
            "Run when the connect hook has failed, with its arguments and the reason. Empty: nothing.";
        stop: Option<PathBuf> = "vma.on_fail.stop", "", Supported,
            "Run when the stop hook has failed, with its arguments and the reason. Empty: nothing.";
        suspend: Option<PathBuf> = "vma.on_fail.suspend", "", Supported,
            "Run when the suspend hook has failed, with its arguments and the reason. Empty: nothing.";
        poweroff: Option<PathBuf> = "vma.on_fail.poweroff", "", Supported,
            "Run when the poweroff hook has failed, with its arguments and the reason. Empty: nothing.";
        expire: Option<PathBuf> = "vma.on_fail.expire", "", Supported,
            "Run when the expire hook has failed, with its arguments and the reason. Empty: nothing.";
        connected: Option<PathBuf> = "vma.on_fail.connected", "", Supported,
            "Run when the connected hook has failed, with its arguments and the reason. Empty: nothing.";
        suspended: Option<PathBuf> = "vma.on_fail.suspended", "", Supported,
            "Run when the suspended hook has failed, with its arguments and the reason. Empty: nothing.";
        disconnected: Option<PathBuf> = "vma.on_fail.disconnected", "", Supported,
            "Run when the disconnected hook has failed, with its arguments and the reason. Empty: nothing.";
        mount_home: Option<PathBuf> = "vma.on_fail.mount_home", "", Supported,
            "Run when the mount_home hook has failed, with its arguments and the reason. Empty: nothing.";
        add_user: Option<PathBuf> = "vma.on_fail.add_user", "", Supported,
            "Run when the add_user hook has failed, with its arguments and the reason. Empty: nothing.";
        after_add_user: Option<PathBuf> = "vma.on_fail.after_add_user", "", Supported,
            "Run when the after_add_user hook has failed, with its arguments and the reason. Empty: nothing.";
    }
}
