use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::table::Table;
use super::unmount::unmount;

/// Where a file system of ours is mounted.
///
/// Whoever finds it dead may unmount it and mount something else there; that
/// is not ours to take away. The file system itself is not asked who it is: a
/// process that asks one of its own, and is killed meanwhile, never ends.
#[derive(Debug)]
pub(super) struct Place {
    point: PathBuf,
    /// The real name, and the device number, as the mount table has them.
    mounted: Option<(PathBuf, Vec<u8>)>,
    /// The kernel's end of the file system.
    kernel: OwnedFd,
}

impl Place {
    /// Of a file system that was mounted on `point` just now, which is `real`
    /// by its real name.
    pub(super) fn of(session: &impl AsFd, point: &Path, real: Option<PathBuf>) -> io::Result<Self> {
        let kernel = session.as_fd().try_clone_to_owned()?;
        let mounts = Table::open().and_then(|mut table| table.mounts());
        let device = mounts.ok().zip(real).and_then(|(mounts, real)| {
            let mut there = mounts.into_iter().rev();
            let device = there.find(|mount| mount.point == real)?.device;
            Some((real, device))
        });
        Ok(Self {
            point: point.to_owned(),
            mounted: device,
            kernel,
        })
    }

    /// Unmounts it, if it still is mounted.
    pub(super) fn leave(&self) {
        if self.is_there() {
            unmount(&self.point);
        }
    }

    /// While the kernel has the file system, nothing else has its device
    /// number.
    fn is_there(&self) -> bool {
        let Some((real, device)) = &self.mounted else {
            return self.is_alive();
        };
        let mounts = Table::open().and_then(|mut table| table.mounts());
        let last = |mounts: Vec<super::table::Mount>| {
            let mut there = mounts.into_iter().rev();
            there.find(|mount| mount.point == *real)
        };
        let is_ours = mounts.map(last).map_or(true, |last| {
            last.is_some_and(|mount| mount.device == *device)
        });
        is_ours && self.is_alive()
    }

    /// Whether the kernel still has it, mounted or in use.
    fn is_alive(&self) -> bool {
        is_alive(&self.kernel)
    }
}

/// Whether the kernel still has the file system that it asks for by this
/// device.
pub(super) fn is_alive(device: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(device, PollFlags::empty())];
    let polled = poll(&mut fds, Some(&Timespec::default()));
    let [fd] = &fds;
    polled.is_err() || !fd.revents().contains(PollFlags::ERR)
}
