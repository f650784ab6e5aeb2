use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access as _, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus,
};

/// Keeps this thread, and those it starts, from every file outside the folder,
/// where the kernel has Landlock. A second wall: paths are kept beneath the
/// folder without it.
///
/// /proc is let through for reading: attributes are changed by way of
/// descriptors named there.
pub(super) fn enter(root: &OwnedFd) {
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
        Ok(status) => tracing::debug!(?status, "landlock"),
        Err(error) => tracing::warn!(%error, "landlock does not confine the share"),
    }
}
