//! RPM packages, put together by rpmbuild.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::tree::Tree;
use super::{MAINTAINER, Package, Release};
use crate::run;
use crate::workspace;

/// Scripts that rpm runs, by its names.
const SCRIPTS: [&str; 4] = ["pre", "post", "preun", "postun"];

/// Folders that are the package's own.
const OWN: [&str; 2] = ["usr/share/doc/", "usr/share/licenses/"];

/// Packs a tree; gives the file.
pub(super) fn pack(
    package: &Package,
    release: &Release,
    tree: &Tree,
    out: &Path,
) -> Result<PathBuf> {
    let name = package.name;
    tree.copy(
        &workspace::root().join("LICENSE"),
        Path::new("usr/share/licenses").join(name).join("LICENSE"),
        0o644,
    )?;
    tree.date(release.time)?;
    let work = Tree::new(out.join(format!(".{name}-rpm")))?;
    let spec = work.at(format!("{name}.spec"));
    work.put(
        &spec,
        specification(package, release, tree)?.as_bytes(),
        0o644,
    )?;
    let define = |name: &str, value: &str| ["--define".to_owned(), format!("{name} {value}")];
    let mut build = Command::new("rpmbuild");
    build
        .env("SOURCE_DATE_EPOCH", release.time.to_string())
        .args(["-bb", "--quiet", "--noclean"])
        .arg("--buildroot")
        .arg(work.at("root"))
        .args(define("_topdir", &work.path().display().to_string()))
        .args(define("_rpmdir", &out.display().to_string()))
        .args(define(
            "_rpmfilename",
            "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm",
        ))
        .args(define("_buildhost", "localhost"))
        .args(define("use_source_date_epoch_as_buildtime", "1"))
        .args(define("clamp_mtime_to_source_date_epoch", "1"))
        // The programs are stripped and the pages packed already.
        .args(define("__os_install_post", "%{nil}"))
        .args(define("debug_package", "%{nil}"))
        .args(define("_build_id_links", "none"))
        .args(define("_binary_payload", "w9.xzdio"))
        .arg(&spec);
    run::shown(&mut build)?;
    work.remove()?;
    let machine = std::env::consts::ARCH;
    let file = out.join(format!("{name}-{}-1.{machine}.rpm", release.version));
    ensure!(file.exists(), "rpmbuild did not make {}", file.display());
    Ok(file)
}

/// What rpmbuild reads. What a package needs and what it is stands in a file
/// of the sources, what is in it is known from the tree.
fn specification(package: &Package, release: &Release, tree: &Tree) -> Result<String> {
    let source = workspace::root().join("packaging/rpm").join(package.name);
    let read = |name: &str| {
        let path = source.join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let mut text = format!(
        "Name: {}\nVersion: {}\nRelease: 1\nLicense: GPL-3.0-or-later\nURL: https://theqvd.com/\n\
         Packager: {MAINTAINER}\n{}\n\
         %install\nmkdir -p %{{buildroot}}\ncp -a {}/. %{{buildroot}}\n",
        package.name,
        release.version,
        read("header")?,
        tree.path().display(),
    );
    for script in SCRIPTS {
        if source.join(script).exists() {
            text.push_str(&format!("\n%{script}\n{}", read(script)?));
        }
    }
    text.push_str("\n%files\n");
    for folder in OWN.map(|folder| format!("{folder}{}", package.name)) {
        for own in tree.folders(Path::new(&folder))? {
            text.push_str(&format!(
                "%dir %attr(755,root,root) \"/{}\"\n",
                own.display()
            ));
        }
    }
    for file in tree.files()? {
        let mode = fs::metadata(tree.at(&file))?.permissions().mode() & 0o7777;
        let name = file.display().to_string();
        let kind = match () {
            () if name.starts_with("etc/") => "%config(noreplace) ",
            () if name.starts_with("usr/share/licenses/") => "%license ",
            () if name.starts_with("usr/share/doc/") => "%doc ",
            () => "",
        };
        text.push_str(&format!("{kind}%attr({mode:o},root,root) \"/{name}\"\n"));
    }
    Ok(text)
}
