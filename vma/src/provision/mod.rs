//! Preparing a user's account: the drive of the homes, the user, his home.
//!
//! Everything here blocks: it asks the name service, which may ask a
//! directory, and runs programs. Errors are one sentence for the user's
//! screen. The order, with the hooks that the core puts between:
//!
//! 1. [`find`]: a user that the system knows, from `/etc/passwd` or a
//!    directory, is never made.
//! 2. [`mount_home`], or the hook in its place, if [`needs_home`] says so.
//! 3. If the user was not found, [`add_user`], or [`expect_user`] and the hook
//!    in its place; then [`find`] again, and [`give_up`] if that was in vain.
//! 4. The hook after that, if the user was not found or [`needs_set_up`] says
//!    that an earlier one was not carried to its end.
//! 5. [`complete`], in any case.
//!
//! [`recover`] comes before all that, when a daemon starts: one that was
//! killed may have left things half done. They are undone, so that the next
//! start of a session meets either nothing or the whole.
//!
//! An agent without privileges serves its own user, who is there, in a home
//! that is there: nothing is mounted, added or made then.

mod account;
mod drive;
mod home;
mod journal;
pub mod program;
mod turn;
mod user;

use qvd_config::VmaConfig;

pub use account::Account;
pub use user::find;

use crate::control::User;
use journal::{Journal, Step};
use turn::Turn;

/// Whether the drive of the homes is due: the home is missing, as in
/// the reference.
#[must_use]
pub fn needs_home(_config: &VmaConfig, account: &Account, user: Option<&User>) -> bool {
    let home = user.map_or(account.home.as_path(), |user| user.home.as_path());
    is_privileged() && !home.is_dir()
}

/// Mounts the drive of the homes where there is one; the default of the hook
/// `mount_home`.
///
/// # Errors
/// One sentence. Nothing is mounted then.
pub fn mount_home(config: &VmaConfig, _account: &Account) -> Result<(), String> {
    let _turn = Turn::take()?;
    drive::mount(config, &mut clean(config)?)
}

/// Makes a user and his home; the default of the hook `add_user`.
///
/// # Errors
/// One sentence. What was made of the user is removed again.
pub fn add_user(config: &VmaConfig, account: &Account) -> Result<(), String> {
    let _turn = Turn::take()?;
    let mut journal = clean(config)?;
    let first = journal.steps().len();
    let made = user::make(config, account, &mut journal).and_then(|user| {
        // The hook that comes next sets things up in it.
        if user.home.is_dir() {
            Ok(())
        } else {
            home::make(&user, &mut journal)
        }
    });
    if let Err(error) = made {
        undo_from(config, &mut journal, first)?;
        return Err(error);
    }
    tracing::info!(user = account.name, "user was added");
    let name = account.name.clone();
    journal.replace(first, Some(Step::SetUp { name }))
}

/// Tells that a hook is about to add a user, who is to be set up then.
///
/// # Errors
/// One sentence.
pub fn expect_user(config: &VmaConfig, account: &Account) -> Result<(), String> {
    let _turn = Turn::take()?;
    let name = account.name.clone();
    let mut journal = clean(config)?;
    journal.set_up(&name)?;
    journal.begin(Step::SetUp { name })
}

/// Tells that the hook has not added the user.
///
/// # Errors
/// One sentence.
pub fn give_up(config: &VmaConfig, account: &Account) -> Result<(), String> {
    let _turn = Turn::take()?;
    clean(config)?.set_up(&account.name)
}

/// Whether a user was added, and the hook that comes after it did not run to
/// its end: it failed, or the daemon was killed.
#[must_use]
pub fn needs_set_up(config: &VmaConfig, account: &Account) -> bool {
    let set_up = |step: &Step| matches!(step, Step::SetUp { name } if *name == account.name);
    Journal::open(config).is_ok_and(|journal| journal.steps().iter().any(set_up))
}

/// Gives a user who exists and is set up what his session needs: a home, where
/// it is missing, and the groups that the broker names for him.
///
/// # Errors
/// One sentence. No half-made home is left.
pub fn complete(config: &VmaConfig, account: &Account, mut user: User) -> Result<User, String> {
    if !is_privileged() {
        return Ok(user);
    }
    let _turn = Turn::take()?;
    let mut journal = clean(config)?;
    if !user.home.is_dir() {
        home::make(&user, &mut journal)?;
    }
    if account.uid.is_some_and(|uid| uid != user.uid) {
        let (name, uid) = (&user.name, user.uid);
        tracing::warn!("user {name} has id {uid}, not the one of qvd.vm.user.uid");
    }
    user.known = user::known_groups(&user)?;
    user.groups = user::further_groups(account, &user)?;
    journal.set_up(&user.name)?;
    Ok(user)
}

/// Undoes what an earlier daemon left half done. For a daemon that starts,
/// before it takes calls.
///
/// # Errors
/// One sentence for the log. It is tried again before anything is made.
pub fn recover(config: &VmaConfig) -> Result<(), String> {
    let _turn = Turn::take()?;
    let display = config.nx.display.number();
    program::mark(format!("{}:{display}", config.process.run.display()));
    let ended = program::end_leftovers();
    if ended > 0 {
        tracing::warn!("ended {ended} programs of an earlier agent");
    }
    let mut journal = clean(config)?;
    for step in journal.steps().to_vec() {
        // The hook was killed before there was a user.
        if let Step::SetUp { name } = step
            && matches!(find(&name), Ok(None))
        {
            journal.set_up(&name)?;
        }
    }
    Ok(())
}

fn is_privileged() -> bool {
    rustix::process::geteuid().is_root()
}

/// The journal, in which nothing is half done any more.
fn clean(config: &VmaConfig) -> Result<Journal, String> {
    let mut journal = Journal::open(config)?;
    let set_up = |step: &Step| matches!(step, Step::SetUp { .. });
    let first = journal.steps().iter().take_while(|s| set_up(s)).count();
    undo_from(config, &mut journal, first)
        .map_err(|e| format!("what an earlier start left cannot be undone: {e}"))?;
    Ok(journal)
}

/// Undoes the steps from this one on, the last first.
fn undo_from(config: &VmaConfig, journal: &mut Journal, first: usize) -> Result<(), String> {
    while let Some(last) = journal.steps().get(first..).and_then(<[Step]>::last) {
        match last {
            Step::Table { device } => drive::undo_table(device)?,
            Step::User { .. } | Step::Group { .. } => user::undo(config, last)?,
            Step::Home { staging } => home::undo(staging)?,
            Step::SetUp { .. } => {}
        }
        journal.replace(journal.steps().len() - 1, None)?;
    }
    Ok(())
}
