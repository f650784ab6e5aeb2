//! The media of the user's machine: what is mounted beneath `/media` and the
//! like, and word of every change.

use std::io;
use std::path::PathBuf;

use qvd_share::mount::{Mount, Table};

/// Where media are mounted beneath one of `roots`, in the order of their
/// names.
pub(super) fn media(table: &mut Table, roots: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    Ok(outermost(table.mounts()?, roots))
}

/// The outermost mounts beneath `roots`: what is mounted within a medium is
/// reached through it.
fn outermost(mounts: Vec<Mount>, roots: &[PathBuf]) -> Vec<PathBuf> {
    // An automounter's own mount has nothing in it before it is entered, and
    // what then comes is a mount too.
    let real = mounts.into_iter().filter(|mount| mount.kind != b"autofs");
    let points = real.map(|mount| mount.point);
    let is_medium = |point: &PathBuf| {
        let beneath = |root: &PathBuf| point != root && point.starts_with(root);
        roots.iter().any(beneath)
    };
    let mut found: Vec<PathBuf> = points.filter(is_medium).collect();
    found.sort();
    // A parent comes before what is beneath it.
    let mut outermost: Vec<PathBuf> = Vec::new();
    for point in found {
        if !outermost.iter().any(|other| point.starts_with(other)) {
            outermost.push(point);
        }
    }
    outermost
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
24 1 0:22 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 24 0:25 / /media rw - tmpfs tmpfs rw
31 30 8:17 / /media/ann/My\\040stick rw,nosuid shared:9 master:3 - vfat /dev/sdb1 rw
32 31 8:18 / /media/ann/My\\040stick/deeper rw - ext4 /dev/sdb2 rw
33 24 8:33 / /run/media/ann/b\\134c rw - ext4 /dev/sdc rw
34 24 0:40 / /mediathek/x rw - tmpfs tmpfs rw
35 24 0:41 / /media/auto rw - autofs systemd-1 rw
garbage
36 24 0:42 / /media/half";

    fn table() -> Vec<Mount> {
        let lines = TABLE.as_bytes().split(|b| *b == b'\n');
        lines.filter_map(Mount::of).collect()
    }

    #[test]
    fn media_are_the_outermost_mounts_beneath_their_folders() {
        let roots = ["/media", "/run/media"].map(PathBuf::from);
        let found = outermost(table(), &roots);
        let expected = ["/media/ann/My stick", "/run/media/ann/b\\c"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(outermost(table(), &[]).is_empty());
    }

    #[test]
    fn the_machines_own_table_is_read_again_and_again() {
        let mut table = Table::open().unwrap();
        let proc = || [PathBuf::from("/")];
        let first = media(&mut table, &proc()).unwrap();
        assert!(first.contains(&PathBuf::from("/proc")), "{first:?}");
        assert_eq!(media(&mut table, &proc()).unwrap(), first);
    }
}
