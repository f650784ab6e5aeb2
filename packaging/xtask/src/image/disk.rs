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
    boot_loader(&raw, work)?;
    let disk = work.join("disk.qcow2");
    run::shown(
        Command::new("qemu-img")
            .args(["convert", "-c", "-O", "qcow2"])
            .args([&raw, &disk]),
    )?;
    Ok(disk)
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
