//! `cargo xtask package`: Debian packages of the programs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use qvd_config::Program;

use crate::workspace::{self, Metadata};
use crate::{install, man, run};

/// A package and what is in it beside its folder in `packaging/deb`.
struct Package {
    name: &'static str,
    /// The programs, in `/usr/bin`.
    programs: &'static [&'static str],
    /// Manual pages that `cargo xtask man` makes.
    pages: &'static [&'static str],
    /// Completions that it makes: files of `target/completions`.
    completes: Option<&'static str>,
    /// Files of the sources and where they go.
    files: &'static [(&'static str, &'static str)],
    /// Its configuration file, with every key in it.
    config: Option<Program>,
}

const PACKAGES: [Package; 4] = [
    Package {
        name: "qvd-vma",
        programs: &["qvd-vma", "qvd-vma-session", "qvd-vma-slaveserver"],
        pages: &["qvd-vma.8", "vma.conf.5"],
        completes: None,
        files: &[
            (
                "packaging/systemd/qvd-vma.service",
                "lib/systemd/system/qvd-vma.service",
            ),
            (
                "packaging/tmpfiles/qvd-vma.conf",
                "usr/lib/tmpfiles.d/qvd-vma.conf",
            ),
            ("packaging/logrotate/qvd-vma", "etc/logrotate.d/qvd-vma"),
            ("packaging/pam/qvd-vma.debian", "etc/pam.d/qvd-vma"),
            ("hooks-examples", "usr/share/doc/qvd-vma/examples"),
        ],
        config: Some(Program::Vma),
    },
    Package {
        name: "qvd-client",
        programs: &["qvdclient"],
        pages: &["qvdclient.1", "client.conf.5"],
        completes: Some("qvdclient"),
        files: &[],
        config: Some(Program::Client),
    },
    Package {
        name: "qvd-slaveclient",
        programs: &["qvd-slaveclient", "qvd-client-slaveserver"],
        pages: &["qvd-slaveclient.1"],
        completes: Some("qvd-slaveclient"),
        files: &[],
        config: None,
    },
    Package {
        name: "qvd-server",
        programs: &["qvd-server"],
        pages: &["l7r.conf.5"],
        completes: None,
        files: &[(
            "packaging/systemd/qvd-server.service",
            "lib/systemd/system/qvd-server.service",
        )],
        config: Some(Program::Server),
    },
];

/// The crates of the programs. The window is not among them yet.
const CRATES: [&str; 5] = [
    "qvd-vma",
    "qvd-slaveserver",
    "qvd-client",
    "qvd-slaveclient",
    "qvd-server",
];

/// What all programs are linked to, and the libraries' packages.
const LIBRARIES: &str = "libc6 (>= 2.34), libgcc-s1 (>= 4.2)";

/// Who looks after the packages.
const MAINTAINER: &str = "QVD maintainers <maintainers@theqvd.com>";

/// Builds the programs and packs them into `target/packages`.
pub(crate) fn run() -> Result<()> {
    make().map(drop)
}

/// As [`run`]; gives the files.
pub(crate) fn make() -> Result<Vec<PathBuf>> {
    install::packaging()?;
    let target = Metadata::read()?.target_directory;
    let mut build = run::cargo();
    build.args(["build", "--bins", "--release", "--locked"]);
    for name in CRATES {
        build.args(["-p", name]);
    }
    run::shown(&mut build)?;
    man::run()?;
    let out = target.join("packages");
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    PACKAGES
        .iter()
        .map(|package| pack(package, &target, &out))
        .collect()
}

fn pack(package: &Package, target: &Path, out: &Path) -> Result<PathBuf> {
    let tree = out.join(format!(".{}", package.name));
    let _ = fs::remove_dir_all(&tree);
    for program in package.programs {
        let to = tree.join("usr/bin").join(program);
        copy(&target.join("release").join(program), &to, 0o755)?;
        // Cargo does not strip packages whose profile is their own.
        run::shown(Command::new("strip").arg("--strip-unneeded").arg(&to))?;
    }
    for page in package.pages {
        let section = page.rsplit('.').next().unwrap_or("1");
        let to = tree.join(format!("usr/share/man/man{section}")).join(page);
        copy(&target.join("man").join(page), &to, 0o644)?;
        compress(&to)?;
    }
    if let Some(program) = package.completes {
        completions(program, target, &tree)?;
    }
    let root = workspace::root();
    for (from, to) in package.files {
        tree_of(&root.join(from), &tree.join(to))?;
    }
    if let Some(program) = package.config {
        let to = tree.join(program.file().trim_start_matches('/'));
        let lines: Vec<String> = qvd_config::sample(program).collect();
        write(&to, &format!("{}\n", lines.join("\n")), 0o644)?;
    }
    let doc = tree.join("usr/share/doc").join(package.name);
    copy(
        &root.join("packaging/deb/copyright"),
        &doc.join("copyright"),
        0o644,
    )?;
    let version = version()?;
    let log = doc.join("changelog");
    copy(&root.join("CHANGELOG.md"), &log, 0o644)?;
    compress(&log)?;
    control(package, &version, &tree)?;
    let deb = out.join(format!(
        "{}_{version}_{}.deb",
        package.name,
        architecture()?
    ));
    run::shown(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zxz", "--build"])
            .args([&tree, &deb]),
    )?;
    let size = fs::metadata(&deb)?.len();
    println!(
        "{}: {} kB, {} kB installed",
        deb.display(),
        size / 1000,
        kib_of(&tree)?
    );
    fs::remove_dir_all(&tree)?;
    Ok(deb)
}

/// The package's own files: who it is, what it needs, what it does.
fn control(package: &Package, version: &str, tree: &Path) -> Result<()> {
    let source = workspace::root().join("packaging/deb").join(package.name);
    let folder = tree.join("DEBIAN");
    let text =
        fs::read_to_string(source.join("control")).with_context(|| source.display().to_string())?;
    let text = text.replacen("Depends: ", &format!("Depends: {LIBRARIES}, "), 1);
    let own = format!(
        "Version: {version}\nArchitecture: {}\nMaintainer: {MAINTAINER}\nPriority: optional\n\
         Installed-Size: {}\nHomepage: https://theqvd.com/\n",
        architecture()?,
        kib_of(tree)?
    );
    write(&folder.join("control"), &format!("{own}{text}"), 0o644)?;
    for script in ["preinst", "postinst", "prerm", "postrm"] {
        let from = source.join(script);
        if from.exists() {
            copy(&from, &folder.join(script), 0o755)?;
        }
    }
    let mut files = Vec::new();
    files_of(tree, &mut files)?;
    files.sort();
    let (mut kept, mut sums) = (String::new(), String::new());
    for file in files {
        let name = file.strip_prefix(tree)?.display().to_string();
        if name.starts_with("DEBIAN") {
            continue;
        }
        if name.starts_with("etc/") {
            kept.push_str(&format!("/{name}\n"));
        }
        let sum = run::captured(Command::new("md5sum").arg(&file))?;
        let sum = String::from_utf8_lossy(&sum.stdout);
        let sum = sum
            .split_whitespace()
            .next()
            .context("md5sum says nothing")?;
        sums.push_str(&format!("{sum}  {name}\n"));
    }
    if !kept.is_empty() {
        write(&folder.join("conffiles"), &kept, 0o644)?;
    }
    write(&folder.join("md5sums"), &sums, 0o644)
}

fn completions(program: &str, target: &Path, tree: &Path) -> Result<()> {
    let from = target.join("completions");
    let share = tree.join("usr/share");
    for (file, to) in [
        (
            format!("{program}.bash"),
            format!("bash-completion/completions/{program}"),
        ),
        (
            format!("_{program}"),
            format!("zsh/vendor-completions/_{program}"),
        ),
        (
            format!("{program}.fish"),
            format!("fish/vendor_completions.d/{program}.fish"),
        ),
    ] {
        copy(&from.join(file), &share.join(to), 0o644)?;
    }
    Ok(())
}

fn version() -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    ensure!(!version.is_empty(), "the workspace has no version");
    Ok(version.to_owned())
}

fn architecture() -> Result<String> {
    let output = run::captured(Command::new("dpkg").arg("--print-architecture"))?;
    ensure!(
        output.status.success(),
        "dpkg does not tell the architecture"
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn compress(file: &Path) -> Result<()> {
    run::shown(Command::new("gzip").args(["-n", "-9", "-f"]).arg(file))
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let bytes = fs::read(from).with_context(|| from.display().to_string())?;
    put(to, &bytes, mode)
}

fn write(to: &Path, text: &str, mode: u32) -> Result<()> {
    put(to, text.as_bytes(), mode)
}

fn put(to: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let doing = || to.display().to_string();
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(doing)?;
    }
    fs::write(to, bytes).with_context(doing)?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).with_context(doing)
}

/// Copies a file, or a folder with what is in it. Programs stay programs.
fn tree_of(from: &Path, to: &Path) -> Result<()> {
    let meta = fs::metadata(from).with_context(|| from.display().to_string())?;
    if meta.is_file() {
        let mode = if meta.permissions().mode() & 0o111 != 0 {
            0o755
        } else {
            0o644
        };
        return copy(from, to, mode);
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        tree_of(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn files_of(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files_of(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// What the files of a tree take, in KiB.
fn kib_of(tree: &Path) -> Result<u64> {
    let mut files = Vec::new();
    files_of(tree, &mut files)?;
    let sizes = files
        .iter()
        .map(|file| fs::metadata(file).map(|meta| meta.len().div_ceil(1024)));
    sizes.sum::<std::io::Result<u64>>().map_err(Into::into)
}
