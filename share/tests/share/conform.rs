//! What POSIX says of each call, case by case, on our mount of our share.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{
    Access, AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, open,
};
use rustix::io::Errno;

use crate::rig::{Mounter, Rig, Sharer, name, names, noise};

/// A mount with a file, a folder with something in it, an empty folder, and
/// links of each kind.
fn rig() -> Rig {
    let rig = Rig::new(Sharer::Ours, Mounter::Ours);
    fs::write(rig.at("file"), b"0123456789").unwrap();
    fs::create_dir(rig.at("full")).unwrap();
    fs::write(rig.at("full/inner"), b"inner").unwrap();
    fs::create_dir(rig.at("empty")).unwrap();
    symlink("file", rig.at("link")).unwrap();
    symlink("nowhere", rig.at("dangling")).unwrap();
    symlink("loop", rig.at("loop")).unwrap();
    rig
}

fn mode() -> Mode {
    Mode::from_raw_mode(0o644)
}

#[test]
fn open_refuses_as_it_shall() {
    let rig = rig();
    let long = PathBuf::from(name(&b"x/".repeat(2100)));
    let cases: [(&str, OFlags, Errno); 14] = [
        ("none", OFlags::RDONLY, Errno::NOENT),
        ("none/x", OFlags::RDWR | OFlags::CREATE, Errno::NOENT),
        ("file/x", OFlags::RDWR | OFlags::CREATE, Errno::NOTDIR),
        ("full", OFlags::WRONLY, Errno::ISDIR),
        ("full", OFlags::RDWR | OFlags::CREATE, Errno::ISDIR),
        ("file", OFlags::RDONLY | OFlags::DIRECTORY, Errno::NOTDIR),
        ("link", OFlags::RDONLY | OFlags::NOFOLLOW, Errno::LOOP),
        ("loop", OFlags::RDONLY, Errno::LOOP),
        ("dangling", OFlags::RDONLY, Errno::NOENT),
        (
            "file",
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
            Errno::EXIST,
        ),
        (
            "full",
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
            Errno::EXIST,
        ),
        (
            "link",
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
            Errno::EXIST,
        ),
        (
            "dangling",
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
            Errno::EXIST,
        ),
        ("empty/..", OFlags::WRONLY, Errno::ISDIR),
    ];
    for (path, flags, expected) in cases {
        let opened = open(rig.at(path), flags, mode()).map(|_| ());
        assert_eq!(opened, Err(expected), "{path} {flags:?}");
    }
    let opened = open(rig.mount().join(long), OFlags::RDONLY, mode()).map(|_| ());
    assert_eq!(opened, Err(Errno::NAMETOOLONG));
    // What is made through a link that leads nowhere is made there.
    open(rig.at("dangling"), OFlags::WRONLY | OFlags::CREATE, mode()).unwrap();
    assert!(rig.shared().join("nowhere").is_file());
}

#[test]
fn descriptors_do_what_they_were_opened_for() {
    let rig = rig();
    let reads = File::open(rig.at("file")).unwrap();
    let writes = File::options().write(true).open(rig.at("file")).unwrap();
    let errno = |outcome: std::io::Result<usize>| Errno::from_io_error(&outcome.unwrap_err());
    assert_eq!(errno(reads.write_at(b"x", 0)), Some(Errno::BADF));
    assert_eq!(errno(writes.read_at(&mut [0], 0)), Some(Errno::BADF));
    assert_eq!(rustix::fs::ftruncate(&reads, 0), Err(Errno::INVAL));
    assert_eq!(reads.read_at(&mut [0; 10], 10).unwrap(), 0);
    assert_eq!(reads.read_at(&mut [0; 10], 1 << 40).unwrap(), 0);
    assert_eq!(writes.write_at(b"", 1 << 40).unwrap(), 0);
    assert_eq!(writes.metadata().unwrap().len(), 10);
    // Truncating by opening is seen by those who have it open.
    File::create(rig.at("file")).unwrap();
    assert_eq!(reads.metadata().unwrap().len(), 0);
    assert_eq!(reads.read_at(&mut [0; 10], 0).unwrap(), 0);
}

#[test]
fn those_who_append_do_not_overwrite_each_other() {
    let rig = rig();
    let append = || File::options().append(true).open(rig.at("file")).unwrap();
    let (mut one, mut two) = (append(), append());
    let mut expected = b"0123456789".to_vec();
    for n in 0..200_u8 {
        let line = vec![n; usize::from(n) * 7 + 1];
        if n % 2 == 0 { &mut one } else { &mut two }
            .write_all(&line)
            .unwrap();
        expected.extend(line);
    }
    // The place of a descriptor that appends is where it wrote last.
    assert_eq!(
        two.stream_position().unwrap(),
        u64::try_from(expected.len()).unwrap()
    );
    drop((one, two));
    assert!(fs::read(rig.shared().join("file")).unwrap() == expected);
}

#[test]
fn truncation_cuts_and_fills() {
    let rig = rig();
    let path = rig.at("file");
    let file = File::options().read(true).write(true).open(&path).unwrap();
    for (size, expected) in [
        (4, &b"0123"[..]),
        (8, b"0123\0\0\0\0"),
        (0, b""),
        (3, b"\0\0\0"),
    ] {
        file.set_len(size).unwrap();
        assert_eq!(fs::read(&path).unwrap(), expected);
        assert_eq!(fs::read(rig.shared().join("file")).unwrap(), expected);
        assert_eq!(fs::metadata(&path).unwrap().len(), size);
    }
    // A write past the end leaves a hole.
    file.write_all_at(b"x", 1_000_000).unwrap();
    let read = fs::read(&path).unwrap();
    assert_eq!(
        (read.len(), read[999_999], read[1_000_000]),
        (1_000_001, 0, b'x')
    );
    assert!(fs::metadata(rig.shared().join("file")).unwrap().blocks() < 100);
}

#[test]
fn renaming_replaces_what_it_may() {
    let rig = rig();
    let rename = |from: &str, to: &str| rustix::fs::rename(rig.at(from), rig.at(to));
    for (from, to, expected) in [
        ("none", "x", Errno::NOENT),
        ("file", "none/x", Errno::NOENT),
        ("file", "file/x", Errno::NOTDIR),
        ("file", "empty", Errno::ISDIR),
        ("empty", "file", Errno::NOTDIR),
        ("empty", "full", Errno::NOTEMPTY),
        ("full", "full/inner/x", Errno::NOTDIR),
        ("full", "full/x", Errno::INVAL),
    ] {
        assert_eq!(rename(from, to), Err(expected), "{from} {to}");
    }
    rename("file", "file").unwrap();
    assert_eq!(fs::read(rig.at("file")).unwrap(), b"0123456789");
    // Over an empty folder, with what is in it.
    rename("full", "empty").unwrap();
    assert_eq!(fs::read(rig.at("empty/inner")).unwrap(), b"inner");
    assert!(!rig.at("full").exists());
    // A link is renamed, not what it leads to.
    rename("link", "other").unwrap();
    assert!(fs::symlink_metadata(rig.at("other")).unwrap().is_symlink());
    rename("other", "file").unwrap();
    assert!(fs::symlink_metadata(rig.at("file")).unwrap().is_symlink());
}

#[test]
fn a_file_that_is_open_goes_along_with_its_name() {
    let rig = rig();
    let mut file = File::options()
        .read(true)
        .write(true)
        .open(rig.at("full/inner"))
        .unwrap();
    file.write_all(b"1").unwrap();
    fs::rename(rig.at("full/inner"), rig.at("moved")).unwrap();
    file.write_all(b"2").unwrap();
    fs::rename(rig.at("moved"), rig.at("full/again")).unwrap();
    fs::rename(rig.at("full"), rig.at("elsewhere")).unwrap();
    file.write_all(b"3").unwrap();
    file.set_len(4).unwrap();
    assert_eq!(fs::read(rig.at("elsewhere/again")).unwrap(), b"123e");
    // Replaced while it is open, it is still what it was.
    fs::write(rig.at("new"), b"new").unwrap();
    fs::rename(rig.at("new"), rig.at("elsewhere/again")).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "123e");
    assert_eq!(fs::read(rig.at("elsewhere/again")).unwrap(), b"new");
}

#[test]
fn hard_links_are_one_file() {
    let rig = rig();
    for (from, to, expected) in [
        ("none", "x", Errno::NOENT),
        ("file", "link", Errno::EXIST),
        ("file", "full", Errno::EXIST),
        ("file", "none/x", Errno::NOENT),
        ("full", "x", Errno::PERM),
    ] {
        let linked = rustix::fs::link(rig.at(from), rig.at(to));
        assert_eq!(linked, Err(expected), "{from} {to}");
    }
    fs::hard_link(rig.at("file"), rig.at("same")).unwrap();
    fs::write(rig.at("same"), b"written by the other name").unwrap();
    assert_eq!(fs::metadata(rig.at("file")).unwrap().len(), 25);
    assert_eq!(
        fs::read(rig.at("file")).unwrap(),
        b"written by the other name"
    );
    let (one, two) = (
        File::options().write(true).open(rig.at("file")).unwrap(),
        File::open(rig.at("same")).unwrap(),
    );
    // The kernel knows by size and second that its pages of one name are old.
    for n in 0..50_u8 {
        let data = vec![n; 25 + usize::from(n)];
        one.write_all_at(&data, 0).unwrap();
        assert_eq!(
            two.metadata().unwrap().len(),
            u64::try_from(data.len()).unwrap()
        );
        let mut read = vec![0; data.len()];
        two.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(read, data);
    }
    // Renaming one over the other leaves both.
    assert_eq!(names(&rig.mount()).len(), 7 + 1 - 1);
    fs::rename(rig.at("file"), rig.at("same")).unwrap();
    assert!(rig.shared().join("file").exists());
    assert!(rig.at("file").exists() && rig.at("same").exists());
    fs::remove_file(rig.at("file")).unwrap();
    assert_eq!(fs::read(rig.at("same")).unwrap().len(), 25 + 49);
}

#[test]
fn folders_are_made_and_removed_as_they_shall() {
    let rig = rig();
    for (path, expected) in [
        ("full", Errno::EXIST),
        ("file", Errno::EXIST),
        ("link", Errno::EXIST),
        ("dangling", Errno::EXIST),
        ("none/x", Errno::NOENT),
        ("file/x", Errno::NOTDIR),
        (".", Errno::EXIST),
    ] {
        let made = rustix::fs::mkdir(rig.at(path), Mode::from_raw_mode(0o755));
        assert_eq!(made, Err(expected), "mkdir {path}");
    }
    for (path, expected) in [
        ("none", Errno::NOENT),
        ("file", Errno::NOTDIR),
        ("link", Errno::NOTDIR),
        ("full", Errno::NOTEMPTY),
        ("empty/.", Errno::INVAL),
        ("full/..", Errno::NOTEMPTY),
    ] {
        assert_eq!(
            rustix::fs::rmdir(rig.at(path)),
            Err(expected),
            "rmdir {path}"
        );
    }
    for (path, expected) in [
        ("none", Errno::NOENT),
        ("full", Errno::ISDIR),
        ("file/x", Errno::NOTDIR),
    ] {
        assert_eq!(
            rustix::fs::unlink(rig.at(path)),
            Err(expected),
            "unlink {path}"
        );
    }
    // In a folder that is gone nothing can be made.
    let gone = File::open(rig.at("empty")).unwrap();
    fs::remove_dir(rig.at("empty")).unwrap();
    let made = rustix::fs::openat(&gone, "x", OFlags::WRONLY | OFlags::CREATE, mode());
    assert_eq!(made.map(|_| ()), Err(Errno::NOENT));
}

#[test]
fn times_are_set_now_later_and_not_at_all() {
    let rig = rig();
    let path = rig.at("file");
    let at = |seconds| Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let special = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let set = |path: &Path, access, modification, flags| {
        let times = Timestamps {
            last_access: access,
            last_modification: modification,
        };
        rustix::fs::utimensat(CWD, path, &times, flags).unwrap();
        let here = fs::symlink_metadata(path).unwrap();
        (here.atime(), here.mtime())
    };
    let none = AtFlags::empty();
    assert_eq!(
        set(&path, at(1_000_000_001), at(2_000_000_002), none),
        (1_000_000_001, 2_000_000_002)
    );
    let omit = special(UTIME_OMIT);
    assert_eq!(
        set(&path, omit, at(1_500_000_003), none),
        (1_000_000_001, 1_500_000_003)
    );
    assert_eq!(set(&path, at(4), omit, none), (4, 1_500_000_003));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let (access, modification) = set(&path, omit, special(UTIME_NOW), none);
    assert_eq!(access, 4);
    assert!((now..now + 60).contains(&modification));
    // Of a link itself, and of a folder.
    let link = rig.at("link");
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    assert_eq!(set(&link, at(5), at(6), nofollow), (5, 6));
    assert_eq!(fs::metadata(&link).unwrap().mtime(), modification);
    assert_eq!(set(&rig.at("full"), at(7), at(8), none), (7, 8));
    // A write moves the time on, by the second.
    set(&path, at(9), at(10), none);
    let mut file = File::options().append(true).open(&path).unwrap();
    file.write_all(b"x").unwrap();
    drop(file);
    let there = fs::metadata(rig.shared().join("file")).unwrap().mtime();
    assert!(there >= now);
    assert_eq!(fs::metadata(&path).unwrap().mtime(), there);
}

#[test]
fn permissions_are_kept_and_asked_for() {
    let rig = rig();
    let change = |path: &str, bits| rustix::fs::chmod(rig.at(path), Mode::from_raw_mode(bits));
    let bits = |path: &str| fs::metadata(rig.shared().join(path)).unwrap().mode() & 0o7777;
    for mode in [0o000, 0o444, 0o700, 0o751, 0o666] {
        change("file", mode).unwrap();
        assert_eq!(bits("file"), mode);
        let here = fs::metadata(rig.at("file")).unwrap().mode() & 0o7777;
        assert_eq!(here, mode);
    }
    change("empty", 0o1777).unwrap();
    assert_eq!(bits("empty"), 0o1777);
    assert_eq!(change("none", 0o600), Err(Errno::NOENT));
    assert_eq!(change("dangling", 0o600), Err(Errno::NOENT));
    // Through a link what it leads to is changed.
    change("link", 0o640).unwrap();
    assert_eq!(bits("file"), 0o640);
    let may = |path: &str, access| rustix::fs::access(rig.at(path), access);
    assert_eq!(may("file", Access::READ_OK | Access::WRITE_OK), Ok(()));
    assert_eq!(may("file", Access::EXEC_OK), Err(Errno::ACCESS));
    assert_eq!(may("full", Access::EXEC_OK), Ok(()));
    assert_eq!(may("none", Access::EXISTS), Err(Errno::NOENT));
    // By an open file that has no name any more.
    let file = File::open(rig.at("file")).unwrap();
    fs::remove_file(rig.at("file")).unwrap();
    assert!(file.metadata().is_ok());
}

#[test]
fn links_hold_what_they_were_given() {
    let rig = rig();
    let long = "x".repeat(255) + &"/x".repeat(1800);
    for target in ["a", "./a//b", "caf\u{e9}", &long] {
        symlink(target, rig.at("new")).unwrap();
        assert_eq!(fs::read_link(rig.at("new")).unwrap(), Path::new(target));
        let size = fs::symlink_metadata(rig.at("new")).unwrap().len();
        assert_eq!(size, u64::try_from(target.len()).unwrap());
        fs::remove_file(rig.at("new")).unwrap();
    }
    let made = |target: &str, link: &str| rustix::fs::symlink(target, rig.at(link));
    assert_eq!(made("x", "file"), Err(Errno::EXIST));
    assert_eq!(made("x", "none/x"), Err(Errno::NOENT));
    assert_eq!(
        rustix::fs::readlink(rig.at("file"), Vec::new()).map(|_| ()),
        Err(Errno::INVAL)
    );
}

#[test]
fn a_folder_that_changes_while_it_is_read_shows_the_rest_once() {
    let rig = rig();
    fs::create_dir(rig.at("many")).unwrap();
    for n in 0..2000 {
        fs::write(rig.at(format!("many/{n:04}")), b"").unwrap();
    }
    let mut seen = Vec::new();
    for (count, entry) in fs::read_dir(rig.at("many")).unwrap().enumerate() {
        let entry = entry.unwrap();
        seen.push(entry.file_name().into_string().unwrap());
        let number: usize = seen.last().unwrap().parse().unwrap();
        // Every other one goes, before or after it is shown.
        if count % 3 == 0 && number % 2 == 1 {
            fs::remove_file(entry.path()).unwrap();
        }
        if count % 100 == 0 {
            fs::write(rig.at(format!("many/{}", 5000 + count)), b"").unwrap();
        }
    }
    let mut once = seen.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), seen.len(), "a name was shown twice");
    for n in (0..2000).step_by(2) {
        assert!(once.binary_search(&format!("{n:04}")).is_ok(), "{n}");
    }
    assert_eq!(names(&rig.at("many")), names(&rig.shared().join("many")));
}

#[test]
fn a_folder_that_is_rewound_is_read_anew() {
    let rig = rig();
    let mut folder = rustix::fs::Dir::read_from(File::open(rig.at("full")).unwrap()).unwrap();
    let mut list = || {
        folder.rewind();
        let mut names = Vec::new();
        while let Some(entry) = folder.read() {
            names.push(entry.unwrap().file_name().to_bytes().to_vec());
        }
        names.sort();
        names
    };
    assert_eq!(list().len(), 3);
    fs::write(rig.at("full/more"), b"").unwrap();
    fs::remove_file(rig.at("full/inner")).unwrap();
    assert_eq!(list(), [b".".to_vec(), b"..".to_vec(), b"more".to_vec()]);
}

#[test]
fn locks_are_held_by_one() {
    use rustix::fs::{FlockOperation, flock};
    let rig = rig();
    let (one, two) = (
        File::open(rig.at("file")).unwrap(),
        File::open(rig.at("file")).unwrap(),
    );
    flock(&one, FlockOperation::NonBlockingLockExclusive).unwrap();
    let second = flock(&two, FlockOperation::NonBlockingLockExclusive);
    assert_eq!(second, Err(Errno::AGAIN));
    drop(one);
    // Closing is not awaited by the kernel either.
    crate::rig::eventually("unlocked", || {
        flock(&two, FlockOperation::NonBlockingLockExclusive).is_ok()
    });
}

#[test]
fn what_there_is_not_is_said_to_be_not() {
    let rig = rig();
    let file = File::options()
        .read(true)
        .write(true)
        .open(rig.at("file"))
        .unwrap();
    let room = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 100);
    assert_eq!(room, Err(Errno::OPNOTSUPP));
    let set = rustix::fs::setxattr(
        rig.at("file"),
        "user.x",
        b"y",
        rustix::fs::XattrFlags::empty(),
    );
    assert_eq!(set, Err(Errno::OPNOTSUPP));
    let mut value = [0_u8; 10];
    let got = rustix::fs::getxattr(rig.at("file"), "user.x", &mut value);
    assert_eq!(got.map(|_| ()), Err(Errno::OPNOTSUPP));
}

#[test]
fn a_large_file_is_the_same_by_every_way() {
    let rig = rig();
    let data = noise(11, 3_000_000);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(rig.at("large"))
        .unwrap();
    // Backwards, so that nothing is read or written on.
    for (at, piece) in data.chunks(100_000).enumerate().rev() {
        let at = u64::try_from(at * 100_000).unwrap();
        file.write_all_at(piece, at).unwrap();
    }
    let mut piece = vec![0; 70_000];
    for at in (0..2_900_000).step_by(70_000).rev() {
        file.read_exact_at(&mut piece, u64::try_from(at).unwrap())
            .unwrap();
        assert!(piece == data[at..at + 70_000], "{at}");
    }
    drop(file);
    assert!(fs::read(rig.shared().join("large")).unwrap() == data);
    assert!(fs::read(rig.at("large")).unwrap() == data);
}
