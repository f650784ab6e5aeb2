//! The user of a session, looked up where the system looks users up.

use uzers::os::unix::UserExt as _;

use crate::control::User;

/// Finds a user. Asks the name service, which may ask a directory: call it
/// where it may wait.
///
/// # Errors
/// One sentence for the user's screen.
pub fn find(name: &str) -> Result<User, String> {
    let user = uzers::get_user_by_name(name).ok_or_else(|| format!("no such user: {name}"))?;
    let own = rustix::process::geteuid();
    if !own.is_root() && own.as_raw() != user.uid() {
        return Err(format!(
            "the agent runs without privileges and cannot start a session for user {name}"
        ));
    }
    Ok(User {
        name: name.to_owned(),
        uid: user.uid(),
        gid: user.primary_group_id(),
        home: user.home_dir().to_owned(),
        shell: user.shell().to_owned(),
    })
}
