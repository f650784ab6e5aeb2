//! The keys that name hooks: executables of the administrator.

use std::path::PathBuf;

use crate::key::Status::Unused;
use crate::read::section;

section! {
    /// Hooks run when something is asked for. One that fails aborts it.
    pub struct ActionHooks {
        pre_connect: Option<PathBuf> = "vma.on_action.pre-connect", "", Unused,
            "Run when a session is started or resumed, before the user's account is prepared. Empty: no hook.";
        connect: Option<PathBuf> = "vma.on_action.connect", "", Unused,
            "Run when a session is started or resumed, after the user's account was prepared. Empty: no hook.";
        stop: Option<PathBuf> = "vma.on_action.stop", "", Unused,
            "Run when the session is asked to stop. Empty: no hook.";
        suspend: Option<PathBuf> = "vma.on_action.suspend", "", Unused,
            "Run when the session is asked to suspend. Empty: no hook.";
        poweroff: Option<PathBuf> = "vma.on_action.poweroff", "", Unused,
            "Run when the virtual machine is asked to shut down. Empty: no hook.";
        expire: Option<PathBuf> = "vma.on_action.expire", "", Unused,
            "Run when the virtual machine reaches its soft expiration limit, and hourly after. Empty: no hook.";
    }
}

section! {
    /// Hooks run when something has happened. They cannot fail anything.
    pub struct StateHooks {
        connected: Option<PathBuf> = "vma.on_state.connected", "", Unused,
            "Run when the client is connected to the session. Empty: no hook.";
        suspended: Option<PathBuf> = "vma.on_state.suspended", "", Unused,
            "Run when the session is suspended. Empty: no hook.";
        disconnected: Option<PathBuf> = "vma.on_state.disconnected", "", Unused,
            "Run when the session has ended. Empty: no hook.";
    }
}

section! {
    /// Hooks that prepare a user's account.
    pub struct ProvisioningHooks {
        mount_home: Option<PathBuf> = "vma.on_provisioning.mount_home", "", Unused,
            "Run in place of mounting the disk of the home directories. Empty: the disk of vma.user.home.drive is mounted.";
        add_user: Option<PathBuf> = "vma.on_provisioning.add_user", "", Unused,
            "Run in place of useradd for a user that does not exist. Empty: useradd.";
        after_add_user: Option<PathBuf> = "vma.on_provisioning.after_add_user", "", Unused,
            "Run after a user was added. Empty: no hook.";
    }
}
