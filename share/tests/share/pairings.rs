//! The same things done in every pairing.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::time::{Duration, UNIX_EPOCH};

use crate::rig::{PAIRINGS, Rig, name, names, noise};

fn each(test: impl Fn(&Rig, &str)) {
    for (sharer, mounter) in PAIRINGS {
        let rig = Rig::new(sharer, mounter);
        test(&rig, &format!("{sharer:?} shares, {mounter:?} mounts"));
    }
}

#[test]
fn files_are_the_same_at_both_ends() {
    each(|rig, pairing| {
        let data = noise(1, 9_000_001);
        fs::write(rig.at("up"), &data).unwrap();
        assert!(
            fs::read(rig.shared().join("up")).unwrap() == data,
            "{pairing}"
        );
        fs::write(rig.shared().join("down"), &data).unwrap();
        assert!(fs::read(rig.at("down")).unwrap() == data, "{pairing}");
        let mut file = File::open(rig.at("up")).unwrap();
        file.seek(SeekFrom::Start(5_000_000)).unwrap();
        let mut part = vec![0; 100_000];
        file.read_exact(&mut part).unwrap();
        assert!(part == data[5_000_000..5_100_000], "{pairing}");
    });
}

#[test]
fn names_are_bytes() {
    let long = [b'n'; 255];
    let all: [&[u8]; 5] = [
        b"caf\xe9",
        "日本語".as_bytes(),
        &long,
        b"a b\n\"'\\",
        b"-rf",
    ];
    each(|rig, pairing| {
        for one in all {
            fs::write(rig.at(name(one)), one).unwrap();
            assert_eq!(
                fs::read(rig.shared().join(name(one))).unwrap(),
                one,
                "{pairing}"
            );
        }
        let mut sorted: Vec<_> = all.iter().map(|one| one.to_vec()).collect();
        sorted.sort();
        assert_eq!(names(&rig.mount()), sorted, "{pairing}");
        for one in all {
            fs::remove_file(rig.at(name(one))).unwrap();
        }
        assert!(names(&rig.shared()).is_empty(), "{pairing}");
    });
}

#[test]
fn folders_are_made_renamed_and_removed() {
    each(|rig, pairing| {
        fs::create_dir_all(rig.at("a/b/c")).unwrap();
        fs::write(rig.at("a/b/c/file"), b"1").unwrap();
        fs::rename(rig.at("a/b"), rig.at("moved")).unwrap();
        assert_eq!(fs::read(rig.at("moved/c/file")).unwrap(), b"1", "{pairing}");
        fs::write(rig.at("other"), b"2").unwrap();
        fs::rename(rig.at("other"), rig.at("moved/c/file")).unwrap();
        assert_eq!(fs::read(rig.at("moved/c/file")).unwrap(), b"2", "{pairing}");
        assert!(fs::remove_dir(rig.at("moved")).is_err(), "{pairing}");
        fs::remove_dir_all(rig.at("moved")).unwrap();
        assert_eq!(names(&rig.shared()), [b"a".to_vec()], "{pairing}");
    });
}

#[test]
fn attributes_arrive() {
    each(|rig, pairing| {
        let (near, far) = (rig.at("f"), rig.shared().join("f"));
        fs::write(&near, b"0123456789").unwrap();
        fs::set_permissions(&near, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(
            fs::metadata(&far).unwrap().mode() & 0o7777,
            0o640,
            "{pairing}"
        );
        let time = UNIX_EPOCH + Duration::from_secs(1_000_000_007);
        File::options()
            .write(true)
            .open(&near)
            .unwrap()
            .set_modified(time)
            .unwrap();
        assert_eq!(
            fs::metadata(&far).unwrap().mtime(),
            1_000_000_007,
            "{pairing}"
        );
        assert_eq!(
            fs::metadata(&near).unwrap().mtime(),
            1_000_000_007,
            "{pairing}"
        );
        let file = OpenOptions::new().write(true).open(&near).unwrap();
        file.set_len(4).unwrap();
        file.sync_all().unwrap();
        assert_eq!(fs::read(&far).unwrap(), b"0123", "{pairing}");
        file.set_len(8).unwrap();
        drop(file);
        assert_eq!(fs::read(&near).unwrap(), b"0123\0\0\0\0", "{pairing}");
        let uid = fs::metadata(&near).unwrap().uid();
        assert_eq!(uid, fs::metadata(rig.outside()).unwrap().uid(), "{pairing}");
    });
}

#[test]
fn links_within_the_folder_work() {
    each(|rig, pairing| {
        fs::create_dir(rig.at("d")).unwrap();
        fs::write(rig.at("d/f"), b"linked").unwrap();
        symlink("d/f", rig.at("soft")).unwrap();
        assert_eq!(fs::read(rig.at("soft")).unwrap(), b"linked", "{pairing}");
        assert_eq!(
            fs::read_link(rig.at("soft")).unwrap().to_str(),
            Some("d/f"),
            "{pairing}"
        );
        symlink("../d/f", rig.at("d/up")).unwrap();
        // sshfs refuses every `..`, by default.
        if !pairing.contains("Sshfs") {
            assert_eq!(fs::read(rig.at("d/up")).unwrap(), b"linked", "{pairing}");
        }
        fs::hard_link(rig.at("d/f"), rig.at("hard")).unwrap();
        assert_eq!(
            fs::metadata(rig.shared().join("hard")).unwrap().nlink(),
            2,
            "{pairing}"
        );
    });
}

#[test]
fn holes_and_far_offsets() {
    each(|rig, pairing| {
        let far = 5 * 1024 * 1024 * 1024_u64;
        let file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(rig.at("sparse"))
            .unwrap();
        file.write_all_at(b"end", far).unwrap();
        file.sync_all().unwrap();
        let there = fs::metadata(rig.shared().join("sparse")).unwrap();
        assert_eq!(there.len(), far + 3, "{pairing}");
        assert!(there.blocks() < 1000, "{pairing}");
        let mut read = [1; 6];
        file.read_exact_at(&mut read, far - 3).unwrap();
        assert_eq!(&read, b"\0\0\0end", "{pairing}");
    });
}

#[test]
fn appending_goes_to_the_end() {
    each(|rig, pairing| {
        fs::write(rig.shared().join("log"), b"one\n").unwrap();
        let mut file = OpenOptions::new().append(true).open(rig.at("log")).unwrap();
        file.write_all(b"two\n").unwrap();
        file.write_all(b"three\n").unwrap();
        drop(file);
        let text = fs::read_to_string(rig.shared().join("log")).unwrap();
        assert_eq!(text, "one\ntwo\nthree\n", "{pairing}");
    });
}

#[test]
fn thousands_of_names_are_listed() {
    each(|rig, pairing| {
        fs::create_dir(rig.shared().join("many")).unwrap();
        for n in 0..5000 {
            File::create(rig.shared().join(format!("many/{n:05}"))).unwrap();
        }
        let listed = names(&rig.at("many"));
        assert_eq!(listed.len(), 5000, "{pairing}");
        assert_eq!(listed, names(&rig.shared().join("many")), "{pairing}");
    });
}

#[test]
fn space_is_told() {
    each(|rig, pairing| {
        let there = rustix::fs::statvfs(rig.shared()).unwrap();
        let here = rustix::fs::statvfs(rig.mount()).unwrap();
        let bytes = |stat: rustix::fs::StatVfs| stat.f_blocks * stat.f_frsize;
        assert_eq!(bytes(there), bytes(here), "{pairing}");
    });
}
