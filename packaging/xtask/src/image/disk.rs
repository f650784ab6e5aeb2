//! A bootable disk out of a root folder, without mounting anything: the file
//! system is written by mke2fs, the boot loader into its places by hand.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::run;

/// Where the only partition begins, in bytes: before it the boot loader has
/// its place.
const PARTITION: u64 = 1024 * 1024;

/// A sector, in bytes.
const SECTOR: u64 = 512;

/// The code of the master boot record; the table of partitions follows it.
const BOOT_CODE: usize = 440;

/// Names that would be random, and the same image another each time.
const DISK_ID: &str = "0x51564401";
const FILE_SYSTEM_ID: &str = "51564400-0000-4000-8000-000000000001";
const HASH_SEED: &str = "51564400-0000-4000-8000-000000000002";

/// GRUB's parts for a BIOS.
const GRUB: &str = "/usr/lib/grub/i386-pc";

/// What GRUB needs to read its menu and start Linux.
const MODULES: [&str; 7] = [
    "biosdisk",
    "part_msdos",
    "ext2",
    "normal",
    "linux",
    "configfile",
    "boot",
];

/// Makes a disk of `size` MiB in `work`.
pub(super) fn make(tar: &Path, size: u64, time: u64, work: &Path) -> Result<PathBuf> {
    let root = work.join("root");
    fs::create_dir(&root)?;
    run::shown(
        Command::new("tar")
            .args(["--extract", "--numeric-owner", "--preserve-permissions"])
            .arg("--file")
            .arg(tar)
            .arg("--directory")
            .arg(&root),
    )?;
    fs::remove_file(tar)?;
    let raw = work.join("disk.raw");
    let bytes = size * 1024 * 1024;
    File::create(&raw)?.set_len(bytes)?;
    partition(&raw)?;
    let kib = (bytes - PARTITION) / 1024;
    run::shown(
        Command::new("mke2fs")
            .env("E2FSPROGS_FAKE_TIME", time.to_string())
            .args(["-q", "-t", "ext4", "-L", "qvd", "-U", FILE_SYSTEM_ID])
            .arg("-E")
            .arg(format!(
                "offset={PARTITION},hash_seed={HASH_SEED},lazy_itable_init=1"
            ))
            .arg("-d")
            .args([&root, &raw])
            .arg(format!("{kib}k")),
    )?;
    times(&raw, time, work)?;
    boot_loader(&raw, work)?;
    let disk = work.join("disk.qcow2");
    run::shown(
        Command::new("qemu-img")
            // Smaller and sooner done than zlib's; needs qemu 5.1 or later.
            .args([
                "convert",
                "-c",
                "-O",
                "qcow2",
                "-o",
                "compression_type=zstd",
            ])
            .args([&raw, &disk]),
    )?;
    Ok(disk)
}

/// Gives every file the image's time in all its times: mke2fs takes the times
/// of access and change from the folder's files, which were written just now.
fn times(raw: &Path, time: u64, work: &Path) -> Result<()> {
    let partition = format!("{}?offset={PARTITION}", raw.display());
    let output = run::captured(Command::new("dumpe2fs").arg(&partition))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "dumpe2fs does not read the disk");
    let mut script = String::new();
    for inode in used_inodes(&said).context("dumpe2fs does not tell which inodes are used")? {
        for field in ["atime", "ctime", "crtime"] {
            script.push_str(&format!("sif <{inode}> {field} @{time}\n"));
            script.push_str(&format!("sif <{inode}> {field}_extra 0\n"));
        }
    }
    let commands = work.join("times");
    fs::write(&commands, script)?;
    let mut debugfs = Command::new("debugfs");
    let output = run::captured(
        debugfs
            .env("E2FSPROGS_FAKE_TIME", time.to_string())
            .args(["-w", "-f"])
            .arg(&commands)
            .arg(&partition),
    )?;
    ensure!(output.status.success(), "debugfs does not write the times");
    Ok(())
}

/// The inodes that hold files, of what dumpe2fs says: how many there are, and
/// which ranges are free. The first ten but the root's are the file system's
/// own.
fn used_inodes(said: &str) -> Option<Vec<u32>> {
    let count = said
        .lines()
        .find_map(|line| line.strip_prefix("Inode count:"))?;
    let count: u32 = count.trim().parse().ok()?;
    let mut free = vec![false; usize::try_from(count).ok()?.checked_add(1)?];
    let lists = said
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Free inodes:"));
    for range in lists.flat_map(|list| list.split(',')) {
        let range = range.trim();
        if range.is_empty() {
            continue;
        }
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        free.get_mut(first..=last)?.fill(true);
    }
    let used = |inode: &u32| {
        let is_file = *inode == 2 || *inode > 10;
        is_file && usize::try_from(*inode).is_ok_and(|at| free.get(at) == Some(&false))
    };
    Some((1..=count).filter(used).collect())
}

fn partition(raw: &Path) -> Result<()> {
    let table = format!(
        "label: dos\nlabel-id: {DISK_ID}\nstart={}, type=83, bootable\n",
        PARTITION / SECTOR
    );
    let mut sfdisk = Command::new("sfdisk");
    sfdisk
        .arg("--quiet")
        .arg(raw)
        .stdin(std::process::Stdio::piped());
    let mut child = sfdisk.spawn().context("running sfdisk")?;
    let input = child.stdin.take();
    input
        .context("sfdisk's input")?
        .write_all(table.as_bytes())?;
    ensure!(child.wait()?.success(), "sfdisk failed");
    Ok(())
}

/// Writes GRUB's first part into the master boot record and its second after
/// it, where the first looks for it unless it is told otherwise.
fn boot_loader(raw: &Path, work: &Path) -> Result<()> {
    let core = work.join("core.img");
    run::shown(
        Command::new("grub-mkimage")
            .args(["-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-o"])
            .arg(&core)
            .args(MODULES),
    )?;
    let mut first = [0; BOOT_CODE];
    let boot = Path::new(GRUB).join("boot.img");
    File::open(&boot)
        .and_then(|mut file| file.read_exact(&mut first))
        .with_context(|| boot.display().to_string())?;
    let second = fs::read(&core)?;
    let room = PARTITION - SECTOR;
    ensure!(
        u64::try_from(second.len())? <= room,
        "GRUB takes {} bytes, before the partition there are {room}",
        second.len()
    );
    let mut disk = OpenOptions::new().write(true).open(raw)?;
    disk.write_all(&first)?;
    disk.seek(SeekFrom::Start(SECTOR))?;
    disk.write_all(&second)?;
    disk.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_used_inodes_are_those_that_are_not_free() {
        let said =
            "Inode count:              24\n\n  Free inodes: 14-16, 18\n  Free inodes: 20-24\n";
        assert_eq!(used_inodes(said).unwrap(), [2, 11, 12, 13, 17, 19]);
        assert_eq!(used_inodes("Inode count: 4\n Free inodes: 3-9"), None);
        assert_eq!(used_inodes(""), None);
    }
}
