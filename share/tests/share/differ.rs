//! The same random operations on a mounted folder and on a plain one beside
//! it: whatever they give, errors and all, is the same, and so are the two
//! folders in the end.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink,
};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rustix::io::Errno;

use crate::rig::{Mounter, Rig, Sharer, names, noise};

/// Names the operations choose from: files and folders get in each other's way.
const NAMES: [&str; 8] = ["a", "b", "c", "d", "d/e", "d/f", "d/g/h", "caf\u{e9}"];

/// Most bytes of a file.
const MOST: u64 = 70_000;

/// Random numbers, the same for a seed.
struct Random(std::vec::IntoIter<u8>);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        let mut bytes = [0; 8];
        for byte in &mut bytes {
            *byte = self.0.next().unwrap();
        }
        u64::from_le_bytes(bytes) % most
    }

    fn name(&mut self) -> &'static str {
        NAMES[usize::try_from(self.below(8)).unwrap()]
    }
}

/// What an operation gave.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Given {
    Done,
    Bytes(Vec<u8>),
    Attributes(u32, Option<u64>, Option<i64>),
    Names(Vec<Vec<u8>>),
    Refused(Errno),
}

fn given<T>(outcome: io::Result<T>, of: impl FnOnce(T) -> Given) -> Given {
    match outcome {
        Ok(value) => of(value),
        Err(error) => Given::Refused(Errno::from_io_error(&error).unwrap_or(Errno::PROTO)),
    }
}

fn done<T>(outcome: io::Result<T>) -> Given {
    given(outcome, |_| Given::Done)
}

/// One operation, with all it needs: it is done twice.
#[derive(Debug, Clone)]
enum Operation {
    Open(usize, &'static str, u32),
    Close(usize),
    Write(usize, u64, usize, u64),
    Append(usize, usize, u64),
    Read(usize, u64, usize),
    Truncate(usize, u64),
    Sync(usize),
    Size(usize),
    TruncatePath(&'static str, u64),
    ReadWhole(&'static str),
    Stat(&'static str),
    Remove(&'static str),
    MakeFolder(&'static str, u32),
    RemoveFolder(&'static str),
    Rename(&'static str, &'static str),
    Symlink(&'static str, &'static str),
    ReadLink(&'static str),
    Mode(&'static str, u32),
    Time(&'static str, u64),
    List(&'static str),
}

impl Operation {
    fn random(random: &mut Random) -> Self {
        let slot = usize::try_from(random.below(3)).unwrap();
        let (name, other) = (random.name(), random.name());
        let at = random.below(MOST);
        let length = usize::try_from(random.below(20_000) + 1).unwrap();
        let seed = random.below(1 << 40);
        let mode = [0o700, 0o755, 0o500, 0o640][usize::try_from(seed % 4).unwrap()];
        match random.below(100) {
            0..16 => Self::Open(slot, name, u32::try_from(seed % 64).unwrap()),
            16..20 => Self::Close(slot),
            20..32 => Self::Write(slot, at, length, seed),
            32..36 => Self::Append(slot, length / 4, seed),
            36..48 => Self::Read(slot, at, length),
            48..51 => Self::Truncate(slot, at),
            51..53 => Self::Sync(slot),
            53..57 => Self::Size(slot),
            57..59 => Self::TruncatePath(name, at),
            59..66 => Self::ReadWhole(name),
            66..73 => Self::Stat(name),
            73..78 => Self::Remove(name),
            78..83 => Self::MakeFolder(name, mode),
            83..85 => Self::RemoveFolder(name),
            85..91 => Self::Rename(name, other),
            91..92 => Self::Symlink(other, name),
            92..93 => Self::ReadLink(name),
            93..95 => Self::Mode(name, mode),
            95..97 => Self::Time(name, 1_000_000_000 + seed % 1_000_000),
            _ => Self::List(name),
        }
    }
}

impl Operation {
    fn removes(&self) -> bool {
        matches!(
            self,
            Self::Remove(_) | Self::RemoveFolder(_) | Self::Rename(..)
        )
    }
}

/// A folder and the files that are open in it.
struct Side<'a> {
    folder: &'a Path,
    open: [Option<File>; 3],
}

impl Side<'_> {
    fn carry_out(&mut self, operation: &Operation) -> Given {
        let at = |name: &str| self.folder.join(name);
        match operation.clone() {
            Operation::Open(slot, name, flags) => {
                let mut options = OpenOptions::new();
                options.read(flags & 1 != 0 || flags & 2 == 0);
                options.write(flags & 2 != 0);
                let mut more = 0;
                for (bit, flag) in [(4, libc_flag::CREAT), (8, libc_flag::TRUNC)] {
                    if flags & bit != 0 && flags & 2 != 0 {
                        more |= flag;
                    }
                }
                if flags & 16 != 0 && flags & 6 == 6 {
                    more |= libc_flag::EXCL;
                }
                let opened = options.custom_flags(more).mode(0o644).open(at(name));
                self.open[slot] = None;
                given(opened, |file| {
                    self.open[slot] = Some(file);
                    Given::Done
                })
            }
            Operation::Close(slot) => {
                self.open[slot] = None;
                Given::Done
            }
            Operation::Write(slot, offset, length, seed) => self.with(slot, |file| {
                done(file.write_all_at(&noise(seed, length), offset))
            }),
            Operation::Append(slot, length, seed) => self.with(slot, |mut file| {
                let data = noise(seed, length);
                done(
                    file.seek(SeekFrom::End(0))
                        .and_then(|_| file.write_all(&data)),
                )
            }),
            Operation::Read(slot, offset, length) => {
                self.with(slot, |file| given(read(file, offset, length), Given::Bytes))
            }
            Operation::Truncate(slot, size) => self.with(slot, |file| done(file.set_len(size))),
            Operation::Sync(slot) => self.with(slot, |file| done(file.sync_all())),
            Operation::Size(slot) => self.with(slot, |file| given(file.metadata(), shown)),
            Operation::TruncatePath(name, size) => {
                let path = CString::new(at(name).as_os_str().as_bytes()).unwrap();
                let file =
                    rustix::fs::open(path, rustix::fs::OFlags::WRONLY, rustix::fs::Mode::empty());
                done(
                    file.and_then(|fd| rustix::fs::ftruncate(fd, size))
                        .map_err(Into::into),
                )
            }
            Operation::ReadWhole(name) => given(fs::read(at(name)), Given::Bytes),
            Operation::Stat(name) => given(fs::symlink_metadata(at(name)), shown),
            Operation::Remove(name) => done(fs::remove_file(at(name))),
            Operation::MakeFolder(name, mode) => {
                use std::os::unix::fs::DirBuilderExt as _;
                done(fs::DirBuilder::new().mode(mode).create(at(name)))
            }
            Operation::RemoveFolder(name) => done(fs::remove_dir(at(name))),
            Operation::Rename(from, to) => done(fs::rename(at(from), at(to))),
            Operation::Symlink(target, name) => done(symlink(target, at(name))),
            Operation::ReadLink(name) => given(fs::read_link(at(name)), |target| {
                Given::Bytes(target.as_os_str().as_bytes().to_vec())
            }),
            Operation::Mode(name, mode) => {
                let mode = fs::Permissions::from_mode(mode);
                done(fs::set_permissions(at(name), mode))
            }
            Operation::Time(name, seconds) => done(
                File::open(at(name))
                    .and_then(|file| file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds))),
            ),
            Operation::List(name) => given(list(&at(name)), Given::Names),
        }
    }

    fn with(&self, slot: usize, act: impl FnOnce(&File) -> Given) -> Given {
        self.open[slot].as_ref().map_or(Given::Done, act)
    }
}

mod libc_flag {
    pub const CREAT: i32 = 0o100;
    pub const EXCL: i32 = 0o200;
    pub const TRUNC: i32 = 0o1000;
}

fn read(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut data = vec![0; length];
    let mut got = 0;
    while got < length {
        match file.read_at(&mut data[got..], offset + u64::try_from(got).unwrap())? {
            0 => break,
            count => got += count,
        }
    }
    data.truncate(got);
    Ok(data)
}

/// Kind, permissions and size; the time of modification where it was set.
#[allow(clippy::needless_pass_by_value, reason = "it is handed on as it comes")]
fn shown(of: fs::Metadata) -> Given {
    let size = of.is_file().then_some(of.len());
    let time = Some(of.mtime()).filter(|time| of.is_file() && *time < 1_100_000_000);
    let mode = if of.is_symlink() {
        0o120_000
    } else {
        of.mode()
    };
    Given::Attributes(mode, size, time)
}

fn list(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    let entries = fs::read_dir(folder)?;
    let mut names: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.file_name().as_bytes().to_vec()))
        .collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}

/// How many rows of random operations: a hundred times as many in the long
/// form of the tests.
fn seeds(count: u64) -> u64 {
    if crate::rig::is_soak() {
        count * 100
    } else {
        count
    }
}

/// Does so many random operations.
fn differ(sharer: Sharer, mounter: Mounter, seed: u64, count: usize) {
    let rig = Rig::new(sharer, mounter);
    let plain = tempfile::tempdir().unwrap();
    let mount = rig.mount();
    let mut random = Random(noise(seed, count * 8 * 8).into_iter());
    let mut sides = [&mount, plain.path()].map(|folder| Side {
        folder,
        open: [None, None, None],
    });
    // Others than our own have but one number for most failures.
    let exact = sharer == Sharer::Ours && mounter == Mounter::Ours;
    let mut carried_out = 0;
    let mut before = std::collections::VecDeque::new();
    for step in 0..count {
        let operation = Operation::random(&mut random);
        if mounter == Mounter::Sshfs && operation.removes() {
            // sshfs hides what is removed while it is open, and shows that.
            for side in &mut sides {
                side.open = [None, None, None];
            }
        }
        let [here, there] = [0, 1].map(|n| sides[n].carry_out(&operation));
        carried_out += usize::from(!matches!(there, Given::Refused(_)));
        before.push_back(format!("{operation:?}: {}", short(&there)));
        if before.len() > 12 {
            before.pop_front();
        }
        let same = match (&here, &there) {
            (Given::Refused(_), Given::Refused(_)) if !exact => true,
            // sshfs knows an open folder by its path alone.
            (Given::Refused(Errno::STALE), _) if mounter == Mounter::Sshfs => true,
            (here, there) => here == there,
        };
        assert!(
            same,
            "seed {seed}, step {step}, {sharer:?} shares, {mounter:?} mounts: {}, after\n{}",
            short(&here),
            before.iter().cloned().collect::<Vec<_>>().join("\n")
        );
    }
    drop(sides);
    // Most were carried out, or the comparison says little.
    assert!(carried_out * 3 > count, "{carried_out} of {count}");
    // sshfs keeps what is removed while it is open, and closes late.
    crate::rig::eventually("closed", || !has_hidden(&rig.shared()));
    compare(&rig.shared(), plain.path());
}

fn short(given: &Given) -> String {
    match given {
        Given::Bytes(bytes) => format!("{} bytes", bytes.len()),
        other => format!("{other:?}"),
    }
}

fn has_hidden(folder: &Path) -> bool {
    names(folder).iter().any(|name| {
        let path = folder.join(crate::rig::name(name));
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir());
        name.starts_with(b".fuse_hidden") || (is_folder && has_hidden(&path))
    })
}

fn compare(one: &Path, other: &Path) {
    assert_eq!(names(one), names(other), "{}", one.display());
    for name in names(one) {
        let name = crate::rig::name(&name);
        let (one, other) = (one.join(&name), other.join(&name));
        let kinds = [&one, &other].map(|path| fs::symlink_metadata(path).unwrap());
        assert_eq!(kinds[0].mode(), kinds[1].mode(), "{}", one.display());
        if kinds[0].is_dir() {
            compare(&one, &other);
        } else if kinds[0].is_file() {
            assert!(
                fs::read(&one).unwrap() == fs::read(&other).unwrap(),
                "{}",
                one.display()
            );
        }
    }
}

#[test]
fn our_mount_of_our_share_is_like_a_plain_folder() {
    for seed in 1..=seeds(6) {
        differ(Sharer::Ours, Mounter::Ours, seed, 1500);
    }
}

#[test]
fn our_mount_of_the_reference_is_like_a_plain_folder() {
    for seed in 1..=seeds(3) {
        differ(Sharer::OpenSsh, Mounter::Ours, seed, 1500);
    }
}

#[test]
fn the_references_mount_of_our_share_is_like_a_plain_folder() {
    for seed in 1..=seeds(3) {
        differ(Sharer::Ours, Mounter::Sshfs, seed, 1500);
    }
}
