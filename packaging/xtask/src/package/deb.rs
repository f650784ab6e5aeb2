//! Debian packages, put together by dpkg-deb.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::tree::Tree;
use super::{MAINTAINER, Package, Release};
use crate::run;
use crate::workspace;

/// Scripts that dpkg runs.
const SCRIPTS: [&str; 4] = ["preinst", "postinst", "prerm", "postrm"];

/// Packs a tree; gives the file.
pub(super) fn pack(
    package: &Package,
    release: &Release,
    tree: &Tree,
    out: &Path,
) -> Result<PathBuf> {
    let name = package.name;
    let doc = Path::new("usr/share/doc").join(name);
    tree.copy(
        &workspace::root().join("packaging/deb/copyright"),
        doc.join("copyright"),
        0o644,
    )?;
    let log = doc.join("changelog.Debian");
    tree.put(&log, changelog(name, release)?.as_bytes(), 0o644)?;
    tree.compress(&log)?;
    control(package, release, tree)?;
    tree.date(release.time)?;
    let version = release.debian();
    let deb = out.join(format!("{name}_{version}_{}.deb", architecture()?));
    run::shown(
        Command::new("dpkg-deb")
            .env("SOURCE_DATE_EPOCH", release.time.to_string())
            .args(["--root-owner-group", "-Zxz", "--build"])
            .args([tree.path(), &deb]),
    )?;
    Ok(deb)
}

/// The package's own files: who it is, what it needs, what it does.
fn control(package: &Package, release: &Release, tree: &Tree) -> Result<()> {
    let source = workspace::root().join("packaging/deb").join(package.name);
    let text =
        fs::read_to_string(source.join("control")).with_context(|| source.display().to_string())?;
    let text = text.replacen("${shlibs}", &libraries(package, tree)?, 1);
    ensure!(
        !text.contains("${"),
        "{}: an unknown name",
        source.display()
    );
    let (mut kept, mut sums) = (String::new(), String::new());
    for file in tree.files()? {
        let name = file.display().to_string();
        if name.starts_with("etc/") {
            kept.push_str(&format!("/{name}\n"));
        }
        let sum = run::captured(Command::new("md5sum").arg(tree.at(&file)))?;
        let sum = String::from_utf8_lossy(&sum.stdout);
        let sum = sum.split_whitespace().next();
        sums.push_str(&format!(
            "{}  {name}\n",
            sum.context("md5sum says nothing")?
        ));
    }
    let own = format!(
        "Version: {}\nArchitecture: {}\nMaintainer: {MAINTAINER}\nPriority: optional\n\
         Installed-Size: {}\nHomepage: https://theqvd.com/\n",
        release.debian(),
        architecture()?,
        tree.kib()?
    );
    // The section of that name stands first.
    let (first, rest) = text.split_once('\n').context("an empty control file")?;
    tree.put(
        "DEBIAN/control",
        format!("{first}\n{own}{rest}").as_bytes(),
        0o644,
    )?;
    for script in SCRIPTS {
        let from = source.join(script);
        if from.exists() {
            tree.copy(&from, Path::new("DEBIAN").join(script), 0o755)?;
        }
    }
    if !kept.is_empty() {
        tree.put("DEBIAN/conffiles", kept.as_bytes(), 0o644)?;
    }
    tree.put("DEBIAN/md5sums", sums.as_bytes(), 0o644)
}

/// The packages of the libraries that the programs are linked to.
fn libraries(package: &Package, tree: &Tree) -> Result<String> {
    // It wants to stand in a source package.
    tree.put(
        "debian/control",
        b"Source: qvd\n\nPackage: qvd\nArchitecture: any\n",
        0o644,
    )?;
    let mut asked = Command::new("dpkg-shlibdeps");
    asked.current_dir(tree.path()).args(["-O", "--warnings=0"]);
    for program in package.programs {
        asked.arg(format!("-eusr/bin/{program}"));
    }
    let output = run::captured(&mut asked)?;
    fs::remove_dir_all(tree.at("debian"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let found = said
        .lines()
        .find_map(|line| line.strip_prefix("shlibs:Depends="));
    let found = found.filter(|_| output.status.success());
    found.map(str::to_owned).with_context(|| {
        let why = String::from_utf8_lossy(&output.stderr);
        format!(
            "dpkg-shlibdeps does not know {}'s libraries: {why}",
            package.name
        )
    })
}

/// The form that dpkg reads; what changed stands in the project's own.
fn changelog(name: &str, release: &Release) -> Result<String> {
    let mut date = Command::new("date");
    date.env("LC_ALL", "C").args(["--utc", "--rfc-email"]);
    let date = run::captured(date.arg(format!("--date=@{}", release.time)))?;
    ensure!(date.status.success(), "date does not know {}", release.time);
    Ok(format!(
        "{name} ({}) unstable; urgency=medium\n\n  \
         * Version {}: what changed stands in changelog.gz.\n\n -- {MAINTAINER}  {}\n",
        release.debian(),
        release.version,
        String::from_utf8_lossy(&date.stdout).trim()
    ))
}

fn architecture() -> Result<String> {
    let output = run::captured(Command::new("dpkg").arg("--print-architecture"))?;
    ensure!(
        output.status.success(),
        "dpkg does not tell the architecture"
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
