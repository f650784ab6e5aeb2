//! The user of a session, looked up where the system looks users up.

use uzers::os::unix::UserExt as _;

use crate::control::User;

/// Finds a user; `None` when the system knows none of that name.
///
/// # Errors
/// When the agent has no privileges and is not that user.
pub fn find(name: &str) -> Result<Option<User>, String> {
    let own = rustix::process::geteuid();
    let user = uzers::get_user_by_name(name);
    if !own.is_root() && user.as_ref().map(uzers::User::uid) != Some(own.as_raw()) {
        return Err(format!(
            "the agent runs without privileges and cannot start a session for user {name}"
        ));
    }
    Ok(user.map(|user| User {
        name: name.to_owned(),
        uid: user.uid(),
        gid: user.primary_group_id(),
        groups: Vec::new(),
        home: user.home_dir().to_owned(),
        shell: user.shell().to_owned(),
    }))
}
