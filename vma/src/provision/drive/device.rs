//! A block device as the kernel knows it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock, major, minor};
use serde::{Deserialize, Serialize};

use super::fault;

/// What tells a drive from every other one that has been at its place since
/// the system was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its file below `/dev`.
    pub path: PathBuf,
    /// Major and minor number, `254:16`.
    pub number: String,
    /// Counts the drives that the kernel has seen; empty on old kernels.
    pub sequence: String,
    /// Size in bytes.
    pub size: u64,
    /// Which start of the system this was.
    pub boot: String,
}

impl Device {
    /// The drive that is at a path now.
    ///
    /// # Errors
    /// As of the file system; `InvalidInput` when it is no block device.
    pub fn at(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        if !file.file_type().is_block_device() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a block device",
            ));
        }
        let number = format!("{}:{}", major(file.rdev()), minor(file.rdev()));
        let sequence = fs::read_to_string(sysfs(&number).join("diskseq"));
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self {
            path: path.to_owned(),
            sequence: sequence.unwrap_or_default().trim().to_owned(),
            size: File::open(path)?.seek(SeekFrom::End(0))?,
            boot: boot.trim().to_owned(),
            number,
        })
    }

    /// The numbers of the drive and of its partitions.
    pub fn family(&self) -> Vec<String> {
        let parts = parts(&self.number).into_iter().map(|part| part.number);
        std::iter::once(self.number.clone()).chain(parts).collect()
    }

    /// Its first partition, `/dev/vdb1` or `/dev/nvme0n1p1`, if the kernel
    /// knows one.
    pub fn first_partition(&self) -> Option<PathBuf> {
        let first = parts(&self.number).into_iter().find(|part| part.index == 1);
        first.map(|part| part.path)
    }
}

/// A partition.
struct Part {
    index: u32,
    number: String,
    path: PathBuf,
}

fn parts(drive: &str) -> Vec<Part> {
    let entries = fs::read_dir(sysfs(drive)).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).ok();
            Some(Part {
                index: read("partition")?.trim().parse().ok()?,
                number: read("dev")?.trim().to_owned(),
                path: Path::new("/dev").join(entry.file_name()),
            })
        })
        .collect()
}

fn sysfs(number: &str) -> PathBuf {
    Path::new("/sys/dev/block").join(number)
}

/// Where a device is mounted, if it is.
pub fn mounted_on(number: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().find_map(|line| {
        // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw
        let mut fields = line.split(' ').skip(2);
        let device = fields.next()?;
        let place = fields.nth(1)?;
        (device == number).then(|| place.replace("\\040", " ").into())
    })
}

/// A drive that no other agent, nor udev, works on meanwhile.
pub struct Locked {
    device: Device,
    file: File,
}

impl Locked {
    /// Locks a drive as systemd's convention has it.
    ///
    /// # Errors
    /// One sentence.
    pub fn open(path: &Path) -> Result<Self, String> {
        let device = Device::at(path).map_err(|e| fault(path, &e))?;
        let file = File::open(path).map_err(|e| fault(path, &e))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| format!("{} is being worked on by another program", path.display()))?;
        Ok(Self { device, file })
    }

    /// The drive.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Its file below `/dev`.
    pub fn path(&self) -> &Path {
        &self.device.path
    }

    /// Whether nothing in the system uses it: no mount, no volume manager.
    ///
    /// # Errors
    /// One sentence, when something does.
    pub fn require_unused(&self) -> Result<(), String> {
        let exclusive = OFlags::EXCL.bits().cast_signed();
        let mut open = File::options();
        match open.read(true).custom_flags(exclusive).open(self.path()) {
            Ok(_) => Ok(()),
            Err(e) => Err(format!("{self} cannot be prepared: {e}")),
        }
    }
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the drive of the homes {}", self.path().display())
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing it does so too, once the last copy is closed.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}
