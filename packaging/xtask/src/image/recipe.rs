//! Recipes: lists of packages, files and set-up programs in folders.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// What an image is made of.
#[derive(Debug)]
pub(super) struct Recipe {
    /// Debian's names.
    pub(super) packages: Vec<String>,
    /// Trees that are laid over the root, in this order.
    pub(super) files: Vec<PathBuf>,
    /// Programs run within the root at last, in this order.
    pub(super) setups: Vec<PathBuf>,
}

impl Recipe {
    /// The recipe of a kind of image, and more packages.
    pub(super) fn read(folder: &Path, kind: &str, more: &[String]) -> Result<Self> {
        let parts = [folder.join("common"), folder.join(kind)];
        let mut packages = Vec::new();
        for part in &parts {
            let file = part.join("packages");
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            let names = text.lines().map(str::trim);
            let names = names.filter(|line| !line.is_empty() && !line.starts_with('#'));
            packages.extend(names.map(str::to_owned));
        }
        packages.extend_from_slice(more);
        for name in &packages {
            ensure!(is_name(name), "`{name}` is no name of a Debian package");
        }
        packages.sort();
        packages.dedup();
        Ok(Self {
            packages,
            files: parts.iter().map(|part| part.join("files")).collect(),
            setups: parts.iter().map(|part| part.join("setup")).collect(),
        })
    }
}

/// Debian's grammar: anything else could be an option or a pattern to apt.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() >= 2
        && bytes
            .next()
            .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipes_are_good() {
        let folder = crate::workspace::root().join("packaging/images");
        for kind in ["kvm", "lxc"] {
            let recipe = Recipe::read(&folder, kind, &["xfce4".into()]).unwrap();
            assert!(recipe.packages.iter().any(|name| name == "xfce4"));
            assert!(recipe.packages.iter().any(|name| name == "openbox"));
            for path in recipe.files.iter().chain(&recipe.setups) {
                let here = path.exists() || path.ends_with("files");
                assert!(here, "{}", path.display());
            }
        }
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let folder = crate::workspace::root().join("packaging/images");
        for name in ["", "x", "-y", "a b", "Xfce", "?essential", "a,b", "../x"] {
            let error = Recipe::read(&folder, "lxc", &[name.into()]).unwrap_err();
            assert!(error.to_string().contains("no name of a Debian package"));
        }
    }
}
