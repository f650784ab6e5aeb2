//! The drive of the homes: `vma.user.home.drive`, of which the first partition
//! is mounted on `vma.user.home.path`.
//!
//! | the drive holds | what is done |
//! |---|---|
//! | nothing: every byte that is looked at is zero | GPT, one partition, file system; mounted |
//! | a partition table, partition 1 with a file system | mounted |
//! | a partition table, partition 1 that holds nothing | file system; mounted |
//! | a file system, without partitions | mounted |
//! | anything else | refused, untouched |
//!
//! **Nothing that somebody else has written is ever overwritten.** What is
//! empty is decided twice: by `blkid`, which knows the marks of some hundred
//! formats, and by reading: whatever blkid does not know is no zero somewhere
//! at its beginning, its end or between.
//!
//! **A drive that was left half made** (the VM was switched off) is known by
//! the name of its partition, [`UNFINISHED`], which it has until its file
//! system is whole: that one is made anew. It is written on the drive since
//! nothing else is sure to outlive the VM.
//!
//! It is mounted `nodev,nosuid`: nothing in a home is a device or runs with
//! more than its user's rights.

mod device;
mod empty;
mod make;
mod probe;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use qvd_config::VmaConfig;

pub use device::Device;

use super::journal::Journal;
use super::program::{LONG, Program};
use device::{Locked, mounted_on};
use probe::Content;

/// Name of a partition whose file system is not yet whole.
const UNFINISHED: &str = "qvd-home-unfinished";

/// Name of a partition that the agent has made, and label of its file system.
const FINISHED: &str = "qvd-home";

/// File systems whose checker takes `-a`: repair what is safe, ask nothing.
const CHECKED: [&str; 7] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "f2fs"];

/// Bits of a checker's exit status that leave a sound file system: repaired,
/// and repaired with a restart advised.
const SOUND: i32 = 0b11;

/// Mounts the drive, if there is one and the homes are not on another already.
///
/// # Errors
/// One sentence. The drive is as it was then, or marked as unfinished.
pub fn mount(config: &VmaConfig, journal: &mut Journal) -> Result<(), String> {
    let homes = &config.user.home_path;
    let Some(drive) = &config.user.home_drive else {
        return Ok(());
    };
    if !drive.exists() || !on_root_device(homes).map_err(|e| fault(homes, &e))? {
        return Ok(());
    }
    let locked = Locked::open(drive)?;
    let (partition, kind) = prepare(&locked, config, journal)?;
    check(&partition, &kind)?;
    fs::create_dir_all(homes).map_err(|e| fault(homes, &e))?;
    attach(config, &partition, &kind)
}

/// Undoes a partition table that was left half written.
///
/// # Errors
/// One sentence.
pub fn undo_table(device: &Device) -> Result<(), String> {
    make::undo(device)
}

/// The device to be mounted and the type of its file system, which is made if
/// nothing is there.
fn prepare(
    drive: &Locked,
    config: &VmaConfig,
    journal: &mut Journal,
) -> Result<(PathBuf, String), String> {
    for device in drive.device().family() {
        if let Some(place) = mounted_on(&device) {
            return Err(format!("{drive} is mounted on {} already", place.display()));
        }
    }
    let kind = config.user.home_fs.as_str();
    match probe::look(drive.path())? {
        Content::FileSystem(kind) => Ok((drive.path().to_owned(), kind)),
        Content::Table => {
            let partition = make::partition(drive)?;
            match probe::look(&partition)? {
                _ if make::is_unfinished(drive)? => {
                    make::file_system(drive, &partition, kind)?;
                    Ok((partition, kind.to_owned()))
                }
                Content::FileSystem(kind) => Ok((partition, kind)),
                Content::Nothing => {
                    empty::require(&partition)?;
                    make::file_system(drive, &partition, kind)?;
                    Ok((partition, kind.to_owned()))
                }
                Content::Table => Err(probe::refused(&partition, "a partition table")),
                Content::Other(what) => Err(probe::refused(&partition, &what)),
            }
        }
        Content::Nothing => {
            empty::require(drive.path())?;
            make::table(drive, journal)?;
            let partition = make::partition(drive)?;
            make::file_system(drive, &partition, kind)?;
            Ok((partition, kind.to_owned()))
        }
        Content::Other(what) => Err(probe::refused(drive.path(), &what)),
    }
}

/// Has the file system's own checker repair what it can.
fn check(device: &Path, kind: &str) -> Result<(), String> {
    let checker = Program::new(format!("fsck.{kind}"));
    if !CHECKED.contains(&kind) || !checker.exists() {
        return Ok(());
    }
    let ended = checker.arg("-a").arg(device).limit(LONG).end()?;
    match ended.code() {
        Some(code) if code & !SOUND == 0 => Ok(()),
        _ => Err(format!(
            "the file system on {} is damaged: {}",
            device.display(),
            ended.complaint()
        )),
    }
}

fn attach(config: &VmaConfig, device: &Path, kind: &str) -> Result<(), String> {
    let homes = &config.user.home_path;
    let mounted = Program::new(config.command.mount.as_path())
        .args(["-t", kind, "-o", "nodev,nosuid"])
        .arg(device)
        .arg(homes)
        .run();
    match (mounted, on_root_device(homes)) {
        (Ok(_), Ok(false)) => {
            tracing::info!("{} is mounted on {}", device.display(), homes.display());
            Ok(())
        }
        (Ok(_), _) => Err(format!(
            "{} was mounted, but not on {}",
            device.display(),
            homes.display()
        )),
        (Err(fault), there) => {
            if there.is_ok_and(|root| !root) {
                // Mounted, and failed after that.
                let umount = Program::new(config.command.umount.as_path());
                if let Err(error) = umount.arg(homes).run() {
                    tracing::warn!("{error}");
                }
            }
            Err(fault)
        }
    }
}

/// Whether a folder, or what there is of its path, is on the device of `/`.
fn on_root_device(path: &Path) -> io::Result<bool> {
    let root = fs::metadata("/")?.dev();
    for path in path.ancestors() {
        match fs::metadata(path) {
            Ok(folder) => return Ok(folder.dev() == root),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

fn fault(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}
