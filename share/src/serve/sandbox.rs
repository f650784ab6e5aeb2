use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access as _, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus,
};

/// How far the second wall stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wall {
    /// Nothing outside the folder can be opened, made, removed or linked.
    Whole,
    /// The same but for what this kernel's Landlock does not know yet.
    Part,
    /// This kernel has no Landlock, or has it switched off.
    None,
}

impl Wall {
    fn of(status: &RulesetStatus) -> Self {
        match status {
            RulesetStatus::FullyEnforced => Self::Whole,
            RulesetStatus::PartiallyEnforced => Self::Part,
            RulesetStatus::NotEnforced => Self::None,
        }
    }
}

/// Keeps this thread, and those it starts, from every file outside the folder,
/// where the kernel has Landlock. A second wall: paths are kept beneath the
/// folder without it.
///
/// /proc is let through for reading: attributes are changed by way of
/// descriptors named there.
pub(super) fn enter(root: &OwnedFd) -> Wall {
    let all = AccessFs::from_all(ABI::V5);
    let read = AccessFs::from_read(ABI::V5);
    let confined = || -> Result<RulesetStatus, landlock::RulesetError> {
        let mut ruleset = Ruleset::default()
            .handle_access(all)?
            .create()?
            .add_rule(PathBeneath::new(root, all))?;
        if let Ok(proc) = PathFd::new("/proc/self/fd") {
            ruleset = ruleset.add_rule(PathBeneath::new(proc, read))?;
        }
        Ok(ruleset.restrict_self()?.ruleset)
    };
    match confined() {
        Ok(status) => {
            let wall = Wall::of(&status);
            tracing::debug!(?wall, "landlock");
            wall
        }
        Err(error) => {
            tracing::warn!(%error, "landlock does not confine the share");
            Wall::None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn the_wall_is_as_far_as_the_kernel_says() {
        for (status, wall) in [
            (RulesetStatus::FullyEnforced, Wall::Whole),
            (RulesetStatus::PartiallyEnforced, Wall::Part),
            (RulesetStatus::NotEnforced, Wall::None),
        ] {
            assert_eq!(Wall::of(&status), wall);
        }
    }

    /// On a kernel without Landlock the wall is said not to stand, and does
    /// not.
    #[test]
    fn behind_the_wall_is_nothing_but_the_folder() {
        let directory = tempfile::tempdir().unwrap();
        let (inside, outside) = (directory.path().join("in"), directory.path().join("out"));
        fs::create_dir(&inside).unwrap();
        fs::write(inside.join("f"), b"inside").unwrap();
        fs::write(&outside, b"outside").unwrap();
        let root = OwnedFd::from(File::open(&inside).unwrap());
        let seen = std::thread::spawn(move || {
            let wall = enter(&root);
            let own =
                fs::read(inside.join("f")).is_ok() && fs::write(inside.join("g"), b"").is_ok();
            let out = fs::read(&outside).is_ok();
            let made = fs::write(outside.with_extension("new"), b"").is_ok();
            let moved = fs::rename(inside.join("g"), outside.with_extension("g")).is_ok();
            (wall, own, out || made || moved)
        });
        let (wall, own, out) = seen.join().unwrap();
        assert!(own);
        assert_eq!(out, wall == Wall::None);
        // Others go where they went.
        assert!(fs::read(directory.path().join("out")).is_ok());
    }
}
