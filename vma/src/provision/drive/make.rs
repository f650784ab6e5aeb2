//! Making a partition and a file system.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::super::journal::{Journal, Step};
use super::super::program::{LONG, Program};
use super::device::Locked;
use super::probe::Content;
use super::{Device, FINISHED, UNFINISHED, empty, fault, probe};

/// Smallest drive that is prepared, in bytes: partition tables take 2 MiB, and
/// a file system needs some too.
const SMALLEST: u64 = 8 << 20;

/// What of a drive is emptied again when its table was left half written, at
/// either end, in bytes. All of a GPT is there, and all of it was empty.
const TABLE: u64 = 1 << 20;

/// What sfdisk is to write: one partition over the whole drive. Its name is
/// [`UNFINISHED`].
const LAYOUT: &str = "label: gpt\nname=qvd-home-unfinished, type=linux\n";

/// Keeps sfdisk from having the kernel read the table again, which it cannot
/// while udev looks; partx tells the kernel what is new.
const QUIETLY: [&str; 3] = ["--quiet", "--no-reread", "--no-tell-kernel"];

/// Writes a partition table on an empty drive.
///
/// # Errors
/// One sentence. The drive is empty again then.
pub fn table(drive: &Locked, journal: &mut Journal) -> Result<(), String> {
    if drive.device().size < SMALLEST {
        return Err(format!("{drive} has less than {} MiB", SMALLEST >> 20));
    }
    drive.require_unused()?;
    tracing::info!("{drive} is empty and is given a partition");
    let step = journal.steps().len();
    let device = drive.device().clone();
    journal.begin(Step::Table { device })?;
    let written = Program::new("sfdisk")
        .args(QUIETLY)
        .args(["--wipe", "never", "--wipe-partitions", "never"])
        .arg(drive.path())
        .input(LAYOUT)
        .run();
    if let Err(error) = written {
        undo(drive.device())?;
        journal.replace(step, None)?;
        return Err(error);
    }
    // From here on the drive says itself how far it is.
    journal.replace(step, None)
}

/// The first partition of a drive that has a table. Where the kernel has not
/// read the table (a container, a loop device), it is told.
///
/// # Errors
/// One sentence, when there is none.
pub fn partition(drive: &Locked) -> Result<PathBuf, String> {
    if let Some(path) = drive.device().first_partition() {
        return Ok(path);
    }
    // Its status tells of each partition that is there already.
    Program::new("partx")
        .args(["--update", "--nr", "1:1"])
        .arg(drive.path())
        .end()?;
    let found = drive.device().first_partition();
    found.ok_or_else(|| probe::refused(drive.path(), "a partition table without partition 1"))
}

/// Whether the agent has begun with the first partition and not finished.
///
/// # Errors
/// One sentence.
pub fn is_unfinished(drive: &Locked) -> Result<bool, String> {
    Ok(part_label(drive.path())?.as_deref() == Some(UNFINISHED))
}

/// Name of the first partition, if its table has names.
fn part_label(drive: &Path) -> Result<Option<String>, String> {
    let ended = Program::new("sfdisk")
        .arg("--part-label")
        .arg(drive)
        .arg("1")
        .end()?;
    Ok((ended.code() == Some(0)).then(|| ended.text().trim().to_owned()))
}

/// Makes a file system on a partition that holds nothing, or what an
/// unfinished try has left.
///
/// # Errors
/// One sentence.
pub fn file_system(drive: &Locked, partition: &Path, kind: &str) -> Result<(), String> {
    if is_unfinished(drive)? {
        // A maker of file systems refuses what looks like one.
        let wipe = Program::new("wipefs").args(["--all", "--quiet"]);
        wipe.arg(partition).run()?;
    } else if !rename(drive, UNFINISHED) {
        // A table without names: what is half made cannot be told from what
        // is somebody's, and will be refused.
        tracing::debug!("the table of {drive} has no names");
    }
    tracing::info!("making a file system {kind} on {}", partition.display());
    let make = Program::new(format!("mkfs.{kind}"));
    let (arguments, labelled): (&[&str], bool) = match kind {
        "ext2" | "ext3" | "ext4" | "xfs" => (&["-q"], true),
        "btrfs" => (&["--quiet"], true),
        _ => (&[], false),
    };
    let label: &[&str] = if labelled { &["-L", FINISHED] } else { &[] };
    make.args(arguments)
        .args(label)
        .arg(partition)
        .limit(LONG)
        .run()?;
    if is_unfinished(drive)? && !rename(drive, FINISHED) {
        return Err(format!("{drive} cannot be marked as finished"));
    }
    Ok(())
}

fn rename(drive: &Locked, name: &str) -> bool {
    let renamed = Program::new("sfdisk")
        .args(QUIETLY)
        .arg("--part-label")
        .arg(drive.path())
        .args(["1", name])
        .run();
    renamed.is_ok()
}

/// Empties a drive again whose table was left half written, if it is still
/// the same drive and nothing else was written on it.
///
/// # Errors
/// One sentence.
pub fn undo(device: &Device) -> Result<(), String> {
    match Device::at(&device.path) {
        Ok(now) if now == *device => {}
        // Another one, or none: not ours to touch.
        _ => return Ok(()),
    }
    let drive = Locked::open(&device.path)?;
    drive.require_unused()?;
    // A table that is whole is ours, and the next mount goes on with it, or
    // somebody else's. So is everything else that has a name.
    let whole = part_label(drive.path())?.is_some() || partition(&drive).is_ok();
    let known = !matches!(
        probe::look(drive.path())?,
        Content::Nothing | Content::Table
    );
    if whole || known || empty::require_between(drive.path(), TABLE).is_err() {
        return Ok(());
    }
    let ends = File::options().write(true).open(drive.path());
    ends.and_then(|file| clear_ends(&file, device.size))
        .map_err(|e| fault(drive.path(), &e))?;
    empty::require(drive.path())
}

fn clear_ends(file: &File, size: u64) -> io::Result<()> {
    let zeros = vec![0; usize::try_from(TABLE).unwrap_or_default()];
    file.write_all_at(&zeros, 0)?;
    file.write_all_at(&zeros, size.saturating_sub(TABLE))?;
    file.sync_all()
}
