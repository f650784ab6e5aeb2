//! Ways out of a shared folder, each tried, and links out of a mount.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use qvd_sftp::{Attributes, OpenFlags, Request, Response, Status, Times};
use tempfile::TempDir;

use crate::raw::Raw;
use crate::rig::{Mounter, Rig, Sharer};

const SECRET: &[u8] = b"not shared";

/// A folder `outside` with a secret, beside the shared one.
fn scene() -> (TempDir, Raw) {
    let directory = tempfile::tempdir().unwrap();
    let (shared, outside) = (
        directory.path().join("shared"),
        directory.path().join("outside"),
    );
    fs::create_dir_all(shared.join("d")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), SECRET).unwrap();
    fs::write(shared.join("own"), b"shared").unwrap();
    symlink("../outside/secret", shared.join("relative")).unwrap();
    symlink(outside.join("secret"), shared.join("absolute")).unwrap();
    symlink("../outside", shared.join("folder")).unwrap();
    symlink("/", shared.join("root")).unwrap();
    symlink("/proc/self/root", shared.join("magic")).unwrap();
    let raw = Raw::of(&shared);
    (directory, raw)
}

fn ways_out(directory: &Path) -> Vec<Vec<u8>> {
    let secret = directory.join("outside/secret");
    let secret = secret.to_str().unwrap();
    [
        "../outside/secret",
        "d/../../outside/secret",
        "./d/./../../outside/secret",
        "/../outside/secret",
        "relative",
        "absolute",
        "folder/secret",
        "d/../folder/secret",
        secret,
        &format!("root{secret}"),
        &format!("magic{secret}"),
        &format!("/proc/self/root{secret}"),
        &format!("/proc/self/cwd/../../..{secret}"),
    ]
    .iter()
    .map(|path| path.as_bytes().to_vec())
    .collect()
}

#[test]
fn nothing_outside_is_read_or_written() {
    let (directory, mut raw) = scene();
    let write = OpenFlags::WRITE;
    for path in ways_out(directory.path()) {
        let shown = String::from_utf8_lossy(&path).into_owned();
        assert_ne!(raw.read(&path).as_deref(), Some(SECRET), "{shown}");
        for flags in [
            write,
            write.with(OpenFlags::TRUNCATE),
            write.with(OpenFlags::APPEND),
        ] {
            assert!(raw.open(&path, flags).is_none(), "{shown}");
        }
        let attributes = Attributes {
            size: Some(0),
            mode: Some(0o777),
            times: Some(Times::default()),
            ..Attributes::NONE
        };
        let path = path.as_slice();
        assert_ne!(
            raw.status(&Request::Setstat { path, attributes }),
            Status::Ok,
            "{shown}"
        );
        assert_ne!(raw.status(&Request::Stat { path }), Status::Ok, "{shown}");
        assert_ne!(
            raw.status(&Request::Opendir { path }),
            Status::Ok,
            "{shown}"
        );
        assert_ne!(
            raw.status(&Request::Statvfs { path }),
            Status::Ok,
            "{shown}"
        );
    }
    let secret = directory.path().join("outside/secret");
    assert_eq!(fs::read(&secret).unwrap(), SECRET);
    assert_ne!(fs::metadata(&secret).unwrap().mode() & 0o777, 0o777);
    // The folder itself still works.
    assert_eq!(raw.read(b"own").as_deref(), Some(&b"shared"[..]));
    assert_eq!(raw.read(b"d/../own").as_deref(), Some(&b"shared"[..]));
}

#[test]
fn nothing_outside_is_listed_made_removed_moved_or_linked() {
    let (directory, mut raw) = scene();
    let attributes = Attributes::with_mode(0o777);
    for folder in [
        "../outside",
        "folder",
        "root/tmp",
        "magic/tmp",
        "d/../../outside",
    ] {
        let inner = format!("{folder}/made");
        let (folder, inner) = (folder.as_bytes(), inner.as_bytes());
        let secret = [folder, b"/secret"].concat();
        let requests = [
            Request::Opendir { path: folder },
            Request::Mkdir {
                path: inner,
                attributes,
            },
            Request::Remove { path: &secret },
            Request::Rmdir { path: folder },
            Request::Rename {
                from: b"own",
                to: inner,
            },
            Request::PosixRename {
                from: b"own",
                to: inner,
            },
            Request::PosixRename {
                from: &secret,
                to: b"taken",
            },
            Request::Hardlink {
                from: &secret,
                to: b"linked",
            },
            Request::Hardlink {
                from: b"own",
                to: inner,
            },
            Request::Symlink {
                target: b"own",
                link: inner,
            },
            Request::Readlink { path: inner },
        ];
        for request in requests {
            // A link may be removed as such; it is not what it leads to.
            assert_ne!(raw.status(&request), Status::Ok, "{request:?}");
        }
        assert!(
            raw.open(inner, OpenFlags::WRITE.with(OpenFlags::CREATE))
                .is_none()
        );
    }
    let outside = directory.path().join("outside");
    assert_eq!(crate::rig::names(&outside), [b"secret".to_vec()]);
    assert_eq!(fs::metadata(outside.join("secret")).unwrap().nlink(), 1);
}

#[test]
fn links_that_lead_out_are_not_made() {
    let (directory, mut raw) = scene();
    let absolute = directory.path().join("outside/secret");
    let absolute = absolute.to_str().unwrap().as_bytes();
    let long = [b"../".repeat(20).as_slice(), b"etc/passwd"].concat();
    let targets: [&[u8]; 5] = [absolute, b"..", b"../outside", &long, b"d/../../outside"];
    for target in targets {
        for link in [&b"new"[..], b"d/new"] {
            // One folder deep, one step up is inside.
            if link == b"d/new" && (target == b".." || target == b"../outside") {
                continue;
            }
            assert_ne!(
                raw.status(&Request::Symlink { target, link }),
                Status::Ok,
                "{target:?}"
            );
        }
    }
    let inside = Request::Symlink {
        target: b"../own",
        link: b"d/inside",
    };
    assert_eq!(raw.status(&inside), Status::Ok);
    assert_eq!(raw.read(b"d/inside").as_deref(), Some(&b"shared"[..]));
}

#[test]
fn a_link_swapped_in_a_race_leads_nowhere() {
    let (directory, mut raw) = scene();
    let shared = directory.path().join("shared");
    fs::create_dir(shared.join("swap")).unwrap();
    fs::write(shared.join("swap/secret"), b"shared").unwrap();
    symlink("../outside", shared.join("trap")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = {
        let (stop, shared) = (Arc::clone(&stop), shared.clone());
        thread::spawn(move || {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            while !stop.load(Ordering::Relaxed) {
                let (a, b) = (shared.join("swap"), shared.join("trap"));
                renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
            }
        })
    };
    let mut shared_read = 0;
    for _ in 0..5000 {
        match raw.read(b"swap/secret") {
            Some(data) => {
                assert_eq!(data, b"shared");
                shared_read += 1;
            }
            None => assert!(
                raw.open(b"swap/secret", OpenFlags::WRITE)
                    .is_none_or(|handle| {
                        let data = b"shared";
                        let offset = 0;
                        let handle = handle.as_slice();
                        raw.status(&Request::Write {
                            handle,
                            offset,
                            data,
                        }) == Status::Ok
                    })
            ),
        }
        let made = Request::Mkdir {
            path: b"swap/made",
            attributes: Attributes::NONE,
        };
        raw.status(&made);
        raw.status(&Request::Rmdir { path: b"swap/made" });
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(shared_read > 0);
    let outside = directory.path().join("outside");
    assert_eq!(crate::rig::names(&outside), [b"secret".to_vec()]);
    assert_eq!(fs::read(outside.join("secret")).unwrap(), SECRET);
}

#[test]
fn a_folder_moved_out_takes_its_handle_nowhere_else() {
    let (directory, mut raw) = scene();
    let handle = match raw.ask(&Request::Opendir { path: b"d" }).response() {
        Response::Handle(handle) => handle.to_vec(),
        other => panic!("{other:?}"),
    };
    fs::rename(
        directory.path().join("shared/d"),
        directory.path().join("d"),
    )
    .unwrap();
    // It lists what it was opened on, and no path leads there any more.
    assert_eq!(
        raw.status(&Request::Readdir { handle: &handle }),
        Status::Ok
    );
    assert_ne!(raw.status(&Request::Stat { path: b"d" }), Status::Ok);
    assert_ne!(
        raw.status(&Request::Stat {
            path: b"d/../outside/secret"
        }),
        Status::Ok
    );
}

#[test]
fn only_regular_files_are_opened() {
    let (directory, mut raw) = scene();
    let pipe = directory.path().join("shared/pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
    assert!(raw.open(b"pipe", OpenFlags::READ).is_none());
    assert!(raw.open(b"pipe", OpenFlags::WRITE).is_none());
    assert!(raw.open(b"d", OpenFlags::READ).is_none());
}

#[test]
fn wrong_handles_and_requests_are_answered() {
    let (_directory, mut raw) = scene();
    for handle in [&b""[..], b"x", &[0xff; 8], &[7; 256]] {
        let requests = [
            Request::Read {
                handle,
                offset: 0,
                length: 10,
            },
            Request::Write {
                handle,
                offset: 0,
                data: b"x",
            },
            Request::Close { handle },
            Request::Fstat { handle },
            Request::Readdir { handle },
            Request::Fsync { handle },
        ];
        for request in requests {
            assert_ne!(raw.status(&request), Status::Ok, "{request:?}");
        }
    }
    let handle = raw.open(b"own", OpenFlags::READ).unwrap();
    let far = Request::Read {
        handle: &handle,
        offset: u64::MAX,
        length: u32::MAX,
    };
    assert_ne!(raw.status(&far), Status::Ok);
    assert_eq!(raw.read(b"own").as_deref(), Some(&b"shared"[..]));
}

#[test]
fn the_mount_refuses_links_that_lead_out_of_it() {
    for sharer in [Sharer::Ours, Sharer::OpenSsh] {
        let rig = Rig::with(
            sharer,
            Mounter::Ours,
            std::time::Duration::from_secs(30),
            |shared| {
                fs::create_dir(shared.join("d")).unwrap();
                fs::write(shared.join("own"), b"shared").unwrap();
                symlink("/etc/passwd", shared.join("absolute")).unwrap();
                symlink("../../../../../../etc/passwd", shared.join("climbing")).unwrap();
                symlink("../..", shared.join("d/up")).unwrap();
                symlink("d/../../x", shared.join("hidden")).unwrap();
                symlink("../own", shared.join("d/fine")).unwrap();
            },
        );
        for link in ["absolute", "climbing", "d/up", "hidden"] {
            assert!(fs::read(rig.at(link)).is_err(), "{link}");
            assert!(fs::read_link(rig.at(link)).is_err(), "{link}");
            assert!(
                fs::symlink_metadata(rig.at(link)).unwrap().is_symlink(),
                "{link}"
            );
        }
        assert_eq!(fs::read(rig.at("d/fine")).unwrap(), b"shared");
        assert!(symlink("/etc/passwd", rig.at("new")).is_err());
        assert!(symlink("../../etc/passwd", rig.at("d/new")).is_err());
        assert!(!rig.shared().join("new").exists());
    }
}

/// Files of another kind than the ones that are shared, made at a sharing end
/// that lets them through.
#[test]
fn the_mount_lends_no_device_and_no_rights() {
    use std::os::unix::fs::PermissionsExt as _;
    for sharer in [Sharer::Ours, Sharer::OpenSsh] {
        let rig = Rig::with(
            sharer,
            Mounter::Ours,
            std::time::Duration::from_secs(30),
            |shared| {
                let (kind, mode) = (
                    rustix::fs::FileType::CharacterDevice,
                    rustix::fs::Mode::from_raw_mode(0o666),
                );
                // The null device, which anybody else may open.
                let null = rustix::fs::makedev(1, 3);
                let cwd = rustix::fs::CWD;
                let made = rustix::fs::mknodat(cwd, shared.join("null"), kind, mode, null);
                // Who may make none can lend none; there is a file in its place.
                if made.is_err() {
                    fs::write(shared.join("null"), b"").unwrap();
                    fs::set_permissions(shared.join("null"), fs::Permissions::from_mode(0o000))
                        .unwrap();
                }
                fs::copy("/usr/bin/id", shared.join("id")).unwrap();
                let mode = fs::Permissions::from_mode(0o6755);
                fs::set_permissions(shared.join("id"), mode).unwrap();
            },
        );
        let there = fs::symlink_metadata(rig.shared().join("null")).unwrap();
        let null = fs::symlink_metadata(rig.at("null")).unwrap();
        assert_eq!(null.file_type(), there.file_type());
        assert!(fs::read(rig.at("null")).is_err(), "{sharer:?}");
        assert!(fs::write(rig.at("null"), b"x").is_err(), "{sharer:?}");
        let mode = fs::metadata(rig.at("id")).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o755, "{sharer:?}");
        // It cannot be given what it does not show.
        fs::set_permissions(rig.at("id"), fs::Permissions::from_mode(0o6711)).unwrap();
        let there = fs::metadata(rig.shared().join("id")).unwrap().mode();
        assert_eq!(there & 0o7777, 0o711, "{sharer:?}");
    }
}

#[test]
fn a_handle_stays_with_its_file_and_opens_no_way() {
    let (directory, mut raw) = scene();
    let shared = directory.path().join("shared");
    let write = OpenFlags::READ.with(OpenFlags::WRITE);
    let handle = raw.open(b"own", write).unwrap();
    // Moved out, with a link to the secret in its place.
    fs::rename(shared.join("own"), directory.path().join("own")).unwrap();
    symlink("../outside/secret", shared.join("own")).unwrap();
    let handle = handle.as_slice();
    let attributes = Attributes {
        size: Some(3),
        mode: Some(0o600),
        ..Attributes::NONE
    };
    let changes = [
        Request::Fsetstat { handle, attributes },
        Request::Write {
            handle,
            offset: 0,
            data: b"new",
        },
    ];
    for change in changes {
        assert_eq!(raw.status(&change), Status::Ok);
    }
    assert_eq!(fs::read(directory.path().join("own")).unwrap(), b"new");
    assert_eq!(
        fs::read(directory.path().join("outside/secret")).unwrap(),
        SECRET
    );
    assert!(raw.open(b"own", write).is_none());
    // A handle that the client names is no way to that of another.
    let (path, flags) = (&b"d"[..], OpenFlags::READ);
    for named in [0, 1, u64::MAX >> 1] {
        let attributes = Attributes::NONE;
        let handle = named;
        let request = Request::OpenAs {
            handle,
            path,
            flags,
            attributes,
        };
        assert_ne!(raw.status(&request), Status::Ok, "{named}");
        assert_ne!(
            raw.status(&Request::OpendirAs { handle, path }),
            Status::Ok,
            "{named}"
        );
    }
}

#[test]
fn a_hard_link_is_made_of_nothing_outside() {
    let (directory, mut raw) = scene();
    let secret = directory.path().join("outside/secret");
    for from in ways_out(directory.path()) {
        let request = Request::Hardlink {
            from: &from,
            to: b"taken",
        };
        raw.status(&request);
        // A link to a symbolic link is one, and leads nowhere either.
        assert_ne!(raw.read(b"taken").as_deref(), Some(SECRET), "{from:?}");
        raw.status(&Request::Remove { path: b"taken" });
    }
    assert_eq!(fs::metadata(secret).unwrap().nlink(), 1);
}
