//! `cargo xtask image`: disk images with the agent, from Debian's packages and
//! the recipes in `packaging/images`.

mod disk;
mod oci;
mod recipe;
mod root;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use self::recipe::Recipe;
use crate::workspace::{self, Metadata};
use crate::{install, package, run};

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A qcow2 disk with a kernel, for a virtual machine.
    Kvm,
    /// A tar.gz of a root folder, for a container.
    Lxc,
    /// The same as an archive of the Open Container Initiative, for podman and
    /// its like.
    Oci,
}

impl Kind {
    /// The folder of its recipe.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Lxc | Self::Oci => "lxc",
        }
    }

    /// The name of its file.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Kvm => "qvd-kvm.qcow2",
            Self::Lxc => "qvd-lxc.tar.gz",
            Self::Oci => "qvd-oci.tar",
        }
    }
}

/// What image to make.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// What the image is for.
    kind: Kind,
    /// One more Debian package in the image; may be given again.
    #[arg(long = "package", value_name = "NAME")]
    packages: Vec<String>,
    /// A program run in the image's root once the packages are there; may be
    /// given again.
    #[arg(long = "script", value_name = "FILE")]
    scripts: Vec<PathBuf>,
    /// A hook of the agent, put into /etc/qvd/hooks; may be given again.
    #[arg(long = "hook", value_name = "FILE")]
    hooks: Vec<PathBuf>,
    /// A vma.conf in place of the package's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The agent's package; without it the one in target/packages, which is
    /// made where it is missing.
    #[arg(long, value_name = "FILE.deb")]
    agent: Option<PathBuf>,
    /// Where Debian's packages come from.
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://deb.debian.org/debian"
    )]
    mirror: String,
    /// Debian's release.
    #[arg(long, value_name = "NAME", default_value = "bookworm")]
    suite: String,
    /// How large a disk is, in MiB; the file holds only what is used of it.
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1024..=1_048_576))]
    size: u64,
    /// The image's file; without it one in target/images.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Arguments {
    /// The plain image of a kind.
    pub(crate) fn plain(kind: Kind, out: PathBuf) -> Self {
        Self {
            kind,
            packages: vec![],
            scripts: vec![],
            hooks: vec![],
            config: None,
            agent: None,
            mirror: "http://deb.debian.org/debian".into(),
            suite: "bookworm".into(),
            size: 4096,
            out: Some(out),
        }
    }

    pub(crate) fn with_hook(mut self, hook: PathBuf) -> Self {
        self.hooks.push(hook);
        self
    }

    pub(crate) fn with_config(mut self, config: PathBuf) -> Self {
        self.config = Some(config);
        self
    }
}

/// Free space an image takes while it is made, in MiB: its root twice, packed
/// and unpacked, and what comes of it.
const SPACE: u64 = 2500;

/// Makes an image and says where it is; nothing is left of one that fails.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    make(arguments).map(drop)
}

/// As [`run`]; gives the file.
pub(crate) fn make(arguments: &Arguments) -> Result<PathBuf> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "making an image needs root: it unpacks packages with their owners"
    );
    install::images()?;
    let kind = arguments.kind;
    let target = Metadata::read()?.target_directory;
    let recipe = Recipe::read(
        &workspace::root().join("packaging/images"),
        kind.name(),
        &arguments.packages,
    )?;
    for file in arguments.scripts.iter().chain(&arguments.hooks) {
        executable(file)?;
    }
    let agent = match &arguments.agent {
        Some(file) => file.clone(),
        None => agent(&target.join("packages"))?,
    };
    let out = match &arguments.out {
        Some(file) => file.clone(),
        None => target.join("images").join(kind.file()),
    };
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    space(folder)?;

    let work = Work::new(folder)?;
    let time = workspace::source_date()?;
    let tar = root::make(&root::Plan {
        recipe: &recipe,
        agent: &agent,
        scripts: &arguments.scripts,
        hooks: &arguments.hooks,
        config: arguments.config.as_deref(),
        mirror: &arguments.mirror,
        suite: &arguments.suite,
        time,
        work: &work.0,
    })?;
    let made = match kind {
        Kind::Kvm => disk::make(&tar, arguments.size, time, &work.0)?,
        Kind::Lxc => {
            run::shown(Command::new("gzip").args(["-n", "-6"]).arg(&tar))?;
            tar.with_extension("tar.gz")
        }
        Kind::Oci => oci::make(&tar, time, &work.0)?,
    };
    fs::rename(&made, &out).with_context(|| format!("putting {} in place", out.display()))?;
    let size = fs::metadata(&out)?.len();
    println!("{}: {} MB", out.display(), size / 1_000_000);
    Ok(out)
}

/// A folder that is gone when the work is done or has failed.
struct Work(PathBuf);

impl Work {
    fn new(folder: &Path) -> Result<Self> {
        let path = folder.join(format!(".making-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Refuses to begin what would end for want of space.
fn space(folder: &Path) -> Result<()> {
    let stat = rustix::fs::statvfs(folder)
        .with_context(|| format!("asking for the space in {}", folder.display()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize) / (1024 * 1024);
    ensure!(
        free >= SPACE,
        "{} has {free} MiB free, an image takes {SPACE} while it is made",
        folder.display()
    );
    Ok(())
}

fn executable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let meta = fs::metadata(file).with_context(|| file.display().to_string())?;
    ensure!(
        meta.is_file() && meta.permissions().mode() & 0o111 != 0,
        "{} is not an executable file",
        file.display()
    );
    Ok(())
}

/// The newest package of the agent in `folder`; made where there is none.
pub(crate) fn agent(folder: &Path) -> Result<PathBuf> {
    if let Some(there) = newest_agent(folder) {
        return Ok(there);
    }
    package::make()?;
    newest_agent(folder).context("no agent among the packages")
}

fn newest_agent(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let packages = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("qvd-vma_") && name.ends_with(".deb")
    });
    packages.max_by_key(|path| fs::metadata(path).and_then(|m| m.modified()).ok())
}
