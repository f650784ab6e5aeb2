//! `cargo xtask package`: Debian packages and RPMs of the programs.

mod deb;
mod judge;
mod rpm;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use qvd_config::Program;

use self::tree::Tree;
use crate::workspace::{self, Metadata};
use crate::{install, man, run};

/// A package and what is in it; what it needs and who it is stands in
/// `packaging/deb` and `packaging/rpm`.
struct Package {
    name: &'static str,
    /// The programs, in `/usr/bin`.
    programs: &'static [&'static str],
    /// Manual pages that `cargo xtask man` makes; those of a program's commands
    /// come with the program's.
    pages: &'static [&'static str],
    /// Programs whose completions it makes: files of `target/completions`.
    completes: &'static [&'static str],
    /// Files of the sources and where they go.
    files: &'static [Given],
    /// Its configuration file, with every key in it.
    config: Option<Program>,
}

/// A file or folder of the sources in a package.
struct Given {
    from: &'static str,
    to: &'static str,
    kinds: &'static [Kind],
}

/// A kind of package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Deb,
    Rpm,
}

const BOTH: &[Kind] = &[Kind::Deb, Kind::Rpm];

const fn given(from: &'static str, to: &'static str, kinds: &'static [Kind]) -> Given {
    Given { from, to, kinds }
}

const PACKAGES: [Package; 5] = [
    Package {
        name: "qvd-vma",
        programs: &["qvd-vma", "qvd-vma-session", "qvd-vma-slaveserver"],
        pages: &["qvd-vma.8", "vma.conf.5"],
        completes: &["qvd-vma"],
        files: &[
            given(
                "packaging/systemd/qvd-vma.service",
                "lib/systemd/system/qvd-vma.service",
                &[Kind::Deb],
            ),
            given(
                "packaging/systemd/qvd-vma.service",
                "usr/lib/systemd/system/qvd-vma.service",
                &[Kind::Rpm],
            ),
            given(
                "packaging/sysvinit/qvd-vma",
                "etc/init.d/qvd-vma",
                &[Kind::Deb],
            ),
            given(
                "packaging/tmpfiles/qvd-vma.conf",
                "usr/lib/tmpfiles.d/qvd-vma.conf",
                BOTH,
            ),
            given(
                "packaging/logrotate/qvd-vma",
                "etc/logrotate.d/qvd-vma",
                BOTH,
            ),
            given(
                "packaging/pam/qvd-vma.debian",
                "etc/pam.d/qvd-vma",
                &[Kind::Deb],
            ),
            given(
                "packaging/pam/qvd-vma.redhat",
                "etc/pam.d/qvd-vma",
                &[Kind::Rpm],
            ),
            given(
                "packaging/udev/60-qvd-vma.rules",
                "lib/udev/rules.d/60-qvd-vma.rules",
                &[Kind::Deb],
            ),
            given(
                "packaging/udev/60-qvd-vma.rules",
                "usr/lib/udev/rules.d/60-qvd-vma.rules",
                &[Kind::Rpm],
            ),
            given(
                "packaging/modules-load/qvd-vma.conf",
                "usr/lib/modules-load.d/qvd-vma.conf",
                BOTH,
            ),
            given(
                "packaging/apparmor/usr.bin.qvd-vma",
                "etc/apparmor.d/usr.bin.qvd-vma",
                &[Kind::Deb],
            ),
            given(
                "packaging/apparmor/usr.bin.qvd-vma-slaveserver",
                "etc/apparmor.d/usr.bin.qvd-vma-slaveserver",
                &[Kind::Deb],
            ),
            given("hooks-examples", "usr/share/doc/qvd-vma/examples", BOTH),
        ],
        config: Some(Program::Vma),
    },
    Package {
        name: "qvdclient",
        programs: &["qvdclient", "qvd-nxproxy"],
        pages: &["qvdclient.1", "qvd-nxproxy.1", "client.conf.5"],
        completes: &["qvdclient", "qvd-nxproxy"],
        files: &[],
        config: Some(Program::Client),
    },
    Package {
        name: "qvd-client",
        programs: &["qvd-client"],
        pages: &["qvd-client.1"],
        completes: &["qvd-client"],
        files: &[
            given(
                "packaging/desktop/qvd-client.desktop",
                "usr/share/applications/qvd-client.desktop",
                BOTH,
            ),
            given(
                "packaging/desktop/qvd-client.svg",
                "usr/share/icons/hicolor/scalable/apps/qvd-client.svg",
                BOTH,
            ),
            given(
                "packaging/desktop/com.theqvd.client.metainfo.xml",
                "usr/share/metainfo/com.theqvd.client.metainfo.xml",
                BOTH,
            ),
        ],
        config: None,
    },
    Package {
        name: "qvd-slaveclient",
        programs: &["qvd-slaveclient", "qvd-client-slaveserver"],
        pages: &["qvd-slaveclient.1"],
        completes: &["qvd-slaveclient"],
        files: &[],
        config: None,
    },
    Package {
        name: "qvd-server",
        programs: &["qvd-server"],
        pages: &["qvd-server.8", "l7r.conf.5"],
        completes: &["qvd-server"],
        files: &[
            given(
                "packaging/systemd/qvd-server.service",
                "lib/systemd/system/qvd-server.service",
                &[Kind::Deb],
            ),
            given(
                "packaging/systemd/qvd-server.service",
                "usr/lib/systemd/system/qvd-server.service",
                &[Kind::Rpm],
            ),
            given(
                "packaging/sysusers/qvd-server.conf",
                "usr/lib/sysusers.d/qvd-server.conf",
                BOTH,
            ),
        ],
        config: Some(Program::Server),
    },
];

/// The crates of the programs.
const CRATES: [&str; 7] = [
    "qvd-vma",
    "qvd-slaveserver",
    "nx-proxy",
    "qvd-client",
    "qvd-client-window",
    "qvd-slaveclient",
    "qvd-server",
];

/// Who looks after the packages.
const MAINTAINER: &str = "QVD maintainers <maintainers@theqvd.com>";

/// Which packages, and of which sources.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    version: String,
    /// The time that all files have, in seconds since 1970.
    time: u64,
}

impl Release {
    /// Of the sources as they are.
    pub(crate) fn of_sources() -> Result<Self> {
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: workspace::source_date()?,
        })
    }

    /// A later one of the same programs, which upgrades are tried with.
    pub(crate) fn later(mut self) -> Self {
        self.version.push_str("+later");
        self
    }

    fn debian(&self) -> String {
        format!("{}-1", self.version)
    }
}

/// What `cargo xtask package` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Have lintian, rpmlint and the tools for single files judge them, too.
    #[arg(long)]
    judge: bool,
}

/// Builds the programs and packs them into `target/packages`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    install::packaging()?;
    let made = make()?;
    for file in &made {
        println!(
            "{}: {} kB",
            file.display(),
            fs::metadata(file)?.len() / 1000
        );
    }
    if arguments.judge {
        judge::run(&made)?;
    }
    Ok(())
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
    let release = Release::of_sources()?;
    let out = target.join("packages");
    // Those of another version are not to be taken for these.
    match fs::remove_dir_all(&out) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| out.display().to_string());
        }
        _ => {}
    }
    let mut made = Vec::new();
    for package in &PACKAGES {
        made.push(pack(package, Kind::Deb, &release, &target, &out)?);
        made.push(pack(package, Kind::Rpm, &release, &target, &out)?);
    }
    Ok(made)
}

/// Packs the programs that were built once more, as a later release: Debian
/// packages, into `out`.
pub(crate) fn make_later(out: &Path) -> Result<Vec<PathBuf>> {
    let target = Metadata::read()?.target_directory;
    let release = Release::of_sources()?.later();
    let packed = |package| pack(package, Kind::Deb, &release, &target, out);
    PACKAGES.iter().map(packed).collect()
}

fn pack(
    package: &Package,
    kind: Kind,
    release: &Release,
    target: &Path,
    out: &Path,
) -> Result<PathBuf> {
    let tree = stage(package, kind, target, out)?;
    let made = match kind {
        Kind::Deb => deb::pack(package, release, &tree, out),
        Kind::Rpm => rpm::pack(package, release, &tree, out),
    };
    let file = made.with_context(|| format!("packing {}", package.name))?;
    println!("{}: {} kB installed", package.name, tree.kib()?);
    tree.remove()?;
    Ok(file)
}

/// The files of a package where they go.
fn stage(package: &Package, kind: Kind, target: &Path, out: &Path) -> Result<Tree> {
    let tree = Tree::new(out.join(format!(".{}", package.name)))?;
    for program in package.programs {
        let to = Path::new("usr/bin").join(program);
        tree.copy(&target.join("release").join(program), &to, 0o755)?;
        // Cargo does not strip packages whose profile is their own.
        let mut strip = Command::new("strip");
        strip.args(["--strip-unneeded", "--remove-section=.comment"]);
        run::shown(strip.arg(tree.at(&to)))?;
    }
    for page in pages(package, &target.join("man"))? {
        let section = page.rsplit('.').next().unwrap_or("1");
        let to = format!("usr/share/man/man{section}/{page}");
        tree.copy(&target.join("man").join(&page), &to, 0o644)?;
        tree.compress(&to)?;
    }
    for program in package.completes {
        completions(program, kind, target, &tree)?;
    }
    let root = workspace::root();
    for given in package
        .files
        .iter()
        .filter(|given| given.kinds.contains(&kind))
    {
        tree.graft(&root.join(given.from), Path::new(given.to))?;
    }
    if let Some(program) = package.config {
        let to = program.file().trim_start_matches('/');
        let lines: Vec<String> = qvd_config::sample(program).collect();
        // Who reads the broker's finds secrets in it.
        let mode = if program == Program::Server {
            0o640
        } else {
            0o644
        };
        tree.put(to, format!("{}\n", lines.join("\n")).as_bytes(), mode)?;
    }
    let log = Path::new("usr/share/doc")
        .join(package.name)
        .join("changelog");
    tree.copy(&root.join("CHANGELOG.md"), &log, 0o644)?;
    tree.compress(&log)?;
    Ok(tree)
}

/// The names of a package's manual pages in `folder`.
fn pages(package: &Package, folder: &Path) -> Result<Vec<String>> {
    let mut pages: Vec<String> = package
        .pages
        .iter()
        .map(|page| (*page).to_owned())
        .collect();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_commands = package.pages.iter().any(|page| {
            let (program, section) = page.rsplit_once('.').unwrap_or((page, ""));
            name.starts_with(&format!("{program}-")) && name.ends_with(&format!(".{section}"))
        });
        if is_commands {
            pages.push(name);
        }
    }
    pages.sort();
    Ok(pages)
}

fn completions(program: &str, kind: Kind, target: &Path, tree: &Tree) -> Result<()> {
    let from = target.join("completions");
    let zsh = match kind {
        Kind::Deb => "vendor-completions",
        Kind::Rpm => "site-functions",
    };
    for (file, to) in [
        (
            format!("{program}.bash"),
            format!("bash-completion/completions/{program}"),
        ),
        (format!("_{program}"), format!("zsh/{zsh}/_{program}")),
        (
            format!("{program}.fish"),
            format!("fish/vendor_completions.d/{program}.fish"),
        ),
    ] {
        let to = Path::new("usr/share").join(to);
        tree.copy(&from.join(file), to, 0o644)?;
    }
    Ok(())
}

/// Builds `qvdclient` so that it needs no library of the machine, into
/// `target/static`.
pub(crate) fn run_static() -> Result<()> {
    install::packaging()?;
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let known = run::captured(Command::new("rustup").args(["target", "list", "--installed"]))
        .context("rustup, which has the standard library for musl")?;
    let known = String::from_utf8_lossy(&known.stdout);
    if !known.lines().any(|line| line == target) {
        run::shown(Command::new("rustup").args(["target", "add", &target]))?;
    }
    let mut build = run::cargo();
    build
        .env(format!("CC_{}", target.replace('-', "_")), "musl-gcc")
        .args(["build", "--release", "--locked", "--target", &target])
        .args(["-p", "qvd-client", "--bin", "qvdclient"])
        .args(["-p", "qvd-slaveclient", "--bin", "qvd-slaveclient"]);
    run::shown(&mut build)?;
    let folder = Metadata::read()?.target_directory;
    let out = Tree::new(folder.join("static"))?;
    for program in ["qvdclient", "qvd-slaveclient"] {
        let from = folder.join(&target).join("release").join(program);
        out.copy(&from, program, 0o755)?;
        run::shown(Command::new("strip").arg(out.at(program)))?;
        let asked = run::captured(Command::new("file").arg("--brief").arg(out.at(program)))?;
        let said = String::from_utf8_lossy(&asked.stdout);
        ensure!(
            said.contains("static-pie linked") || said.contains("statically linked"),
            "{program} is not static: {said}"
        );
        let size = fs::metadata(out.at(program))?.len() / 1000;
        println!("{}: {size} kB", out.at(program).display());
    }
    Ok(())
}
