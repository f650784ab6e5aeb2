//! What programs count on, on our mount of our share.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::io::Errno;

use crate::rig::{Mounter, Rig, Sharer, name, names, noise};

fn rig() -> Rig {
    Rig::new(Sharer::Ours, Mounter::Ours)
}

fn errno<T>(outcome: std::io::Result<T>) -> Option<Errno> {
    outcome.err().and_then(|error| Errno::from_io_error(&error))
}

#[test]
fn errors_have_their_numbers() {
    let rig = rig();
    fs::write(rig.at("file"), b"x").unwrap();
    fs::create_dir_all(rig.at("full/inner")).unwrap();
    let long = name(&[b'x'; 256]);
    let cases: [(Option<Errno>, Errno, &str); 13] = [
        (errno(fs::read(rig.at("none"))), Errno::NOENT, "open"),
        (errno(fs::create_dir(rig.at("full"))), Errno::EXIST, "mkdir"),
        (
            errno(fs::create_dir(rig.at("file"))),
            Errno::EXIST,
            "mkdir on a file",
        ),
        (
            errno(fs::remove_dir(rig.at("full"))),
            Errno::NOTEMPTY,
            "rmdir",
        ),
        (
            errno(fs::remove_dir(rig.at("file"))),
            Errno::NOTDIR,
            "rmdir of a file",
        ),
        (
            errno(fs::remove_file(rig.at("full"))),
            Errno::ISDIR,
            "unlink of a folder",
        ),
        (
            errno(fs::read(rig.at("file/x"))),
            Errno::NOTDIR,
            "through a file",
        ),
        (
            errno(File::create(rig.at("full"))),
            Errno::ISDIR,
            "writing a folder",
        ),
        (
            errno(File::create_new(rig.at("file"))),
            Errno::EXIST,
            "exclusive",
        ),
        (
            errno(File::create(rig.at(&long))),
            Errno::NAMETOOLONG,
            "long name",
        ),
        (
            errno(fs::rename(rig.at("full"), rig.at("file"))),
            Errno::NOTDIR,
            "folder over file",
        ),
        (
            errno(fs::rename(rig.at("file"), rig.at("full"))),
            Errno::ISDIR,
            "file over folder",
        ),
        (
            errno(fs::rename(rig.at("full"), rig.at("full/inner/x"))),
            Errno::INVAL,
            "into itself",
        ),
    ];
    for (got, expected, what) in cases {
        assert_eq!(got, Some(expected), "{what}");
    }
    let pipe = rustix::fs::mknodat(
        rustix::fs::CWD,
        rig.at("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    );
    assert_eq!(pipe, Err(Errno::PERM));
}

#[test]
fn rename_keeps_what_it_shall_not_replace() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let rig = rig();
    fs::write(rig.at("a"), b"a").unwrap();
    fs::write(rig.at("b"), b"b").unwrap();
    let keep = renameat_with(CWD, rig.at("a"), CWD, rig.at("b"), RenameFlags::NOREPLACE);
    assert_eq!(keep, Err(Errno::EXIST));
    renameat_with(CWD, rig.at("a"), CWD, rig.at("c"), RenameFlags::NOREPLACE).unwrap();
    assert_eq!(names(&rig.shared()), [b"b".to_vec(), b"c".to_vec()]);
}

#[test]
fn a_removed_file_that_is_open_can_still_be_used() {
    let rig = rig();
    let mut file = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(rig.at("gone"))
        .unwrap();
    file.write_all(b"still here").unwrap();
    fs::remove_file(rig.at("gone")).unwrap();
    assert!(!rig.at("gone").exists());
    let mut text = [0; 10];
    file.read_exact_at(&mut text, 0).unwrap();
    assert_eq!(&text, b"still here");
    file.set_len(5).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 5);
    // A new file of that name is another one.
    fs::write(rig.at("gone"), b"new").unwrap();
    assert_eq!(fs::read(rig.at("gone")).unwrap(), b"new");
    assert_eq!(file.metadata().unwrap().len(), 5);
}

#[test]
fn what_is_written_is_seen_at_once_by_every_reader() {
    let rig = rig();
    let writer = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .open(rig.at("f"))
        .unwrap();
    let reader = File::open(rig.at("f")).unwrap();
    for n in 0..200_u64 {
        let line = noise(n, 777);
        writer.write_all_at(&line, n * 777).unwrap();
        let mut read = vec![0; 777];
        reader.read_exact_at(&mut read, n * 777).unwrap();
        assert!(read == line, "{n}");
        assert_eq!(fs::metadata(rig.at("f")).unwrap().len(), (n + 1) * 777);
    }
}

#[test]
fn modes_follow_the_umask_and_lend_no_rights() {
    let rig = rig();
    let file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o4755)
        .open(rig.at("f"))
        .unwrap();
    drop(file);
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&rig.shared().join("f")) & 0o6000, 0);
    fs::set_permissions(rig.at("f"), fs::Permissions::from_mode(0o6711)).unwrap();
    assert_eq!(mode(&rig.shared().join("f")), 0o711);
    // Set at the sharing end, it is not shown.
    fs::set_permissions(rig.shared().join("f"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::rename(rig.shared().join("f"), rig.shared().join("g")).unwrap();
    assert_eq!(mode(&rig.at("g")), 0o755);
    let flags = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let point = rig.mount().canonicalize().unwrap();
    let line = flags
        .lines()
        .find(|line| line.contains(point.to_str().unwrap()))
        .unwrap();
    assert!(line.contains("nosuid") && line.contains("nodev"), "{line}");
}

#[test]
fn a_hundred_thousand_names() {
    let rig = Rig::with(
        Sharer::Ours,
        Mounter::Ours,
        std::time::Duration::from_secs(30),
        |shared| {
            for n in 0..100_000 {
                File::create(shared.join(format!("{n:06}"))).unwrap();
            }
        },
    );
    let listed = names(&rig.mount());
    assert_eq!(listed.len(), 100_000);
    assert_eq!(listed.first().unwrap(), b"000000");
    assert_eq!(listed.last().unwrap(), b"099999");
    assert!(rig.at("050000").exists() && !rig.at("100000").exists());
}

#[test]
fn what_others_change_is_seen_when_the_lease_is_over() {
    let rig = rig();
    fs::write(rig.shared().join("f"), b"old").unwrap();
    assert_eq!(fs::read(rig.at("f")).unwrap(), b"old");
    assert_eq!(names(&rig.mount()).len(), 1);
    fs::write(rig.shared().join("f"), b"longer than before").unwrap();
    fs::write(rig.shared().join("g"), b"new").unwrap();
    // Opening looks anew, lease or not.
    let mut text = String::new();
    File::open(rig.at("f"))
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "longer than before");
    crate::rig::eventually("seen", || {
        names(&rig.mount()).len() == 2 && rig.at("g").exists()
    });
}

#[test]
fn a_copy_is_done_by_the_sharing_end() {
    let rig = rig();
    let data = noise(7, 3_000_000);
    fs::write(rig.at("a"), &data).unwrap();
    assert_eq!(fs::copy(rig.at("a"), rig.at("b")).unwrap(), 3_000_000);
    assert!(fs::read(rig.shared().join("b")).unwrap() == data);
    assert!(fs::read(rig.at("b")).unwrap() == data);
}

#[test]
fn a_share_that_is_read_only_is_so_at_its_end() {
    let rig = Rig::with(
        Sharer::ReadOnly,
        Mounter::Ours,
        std::time::Duration::from_secs(30),
        |shared| {
            fs::create_dir(shared.join("d")).unwrap();
            fs::write(shared.join("f"), b"keep").unwrap();
        },
    );
    assert_eq!(fs::read(rig.at("f")).unwrap(), b"keep");
    let refused = |outcome: std::io::Result<()>| {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    };
    refused(fs::write(rig.at("f"), b"x"));
    refused(fs::write(rig.at("new"), b"x"));
    refused(fs::create_dir(rig.at("new")));
    refused(fs::remove_file(rig.at("f")));
    refused(fs::remove_dir(rig.at("d")));
    refused(fs::rename(rig.at("f"), rig.at("g")));
    refused(fs::hard_link(rig.at("f"), rig.at("g")));
    refused(std::os::unix::fs::symlink("f", rig.at("g")));
    refused(fs::set_permissions(
        rig.at("f"),
        fs::Permissions::from_mode(0o600),
    ));
    assert_eq!(fs::read(rig.shared().join("f")).unwrap(), b"keep");
}
