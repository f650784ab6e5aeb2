//! Where the programs of this workspace are.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The environment variable with the directory of the built programs, set by
/// `cargo xtask test`.
pub const BIN_DIR_VARIABLE: &str = "QVD_BIN_DIR";

/// The path of a program of this workspace: in `QVD_BIN_DIR`, or else where
/// cargo built it beside the running test.
///
/// # Errors
///
/// [`Error::NotBuilt`] says how to build it.
pub fn built(name: &str) -> Result<PathBuf> {
    let directory = match std::env::var_os(BIN_DIR_VARIABLE) {
        Some(path) => Some(PathBuf::from(path)),
        None => profile_directory(),
    };
    let missing = || Error::NotBuilt {
        program: name.into(),
    };
    built_in(&directory.ok_or_else(missing)?, name)
}

/// The path of a program of this workspace which was built into `directory`.
///
/// # Errors
///
/// [`Error::NotBuilt`] says how to build it.
pub fn built_in(directory: &Path, name: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    if !path.is_file() {
        return Err(Error::NotBuilt {
            program: name.into(),
        });
    }
    Ok(path)
}

/// Cargo's build directory (`target`) as seen from the running program.
pub fn target_directory() -> Option<PathBuf> {
    profile_directory().and_then(|profile| Some(profile.parent()?.to_owned()))
}

/// `target/<profile>`: a test runs from its `deps`, a program from itself.
fn profile_directory() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let directory = program.parent()?;
    if directory.ends_with("deps") {
        return Some(directory.parent()?.to_owned());
    }
    Some(directory.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_says_what_to_run() {
        let error = built("no-such-program").unwrap_err();
        assert_eq!(
            error.to_string(),
            "no-such-program is not built: run `cargo xtask test`, which builds the programs first"
        );
    }

    #[test]
    fn the_build_directory_holds_the_profile() {
        let target = target_directory().unwrap();
        assert!(std::env::current_exe().unwrap().starts_with(target));
    }
}
