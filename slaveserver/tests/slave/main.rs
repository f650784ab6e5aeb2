//! The slave server as nxagent starts it: a connection as its standard input
//! and output, one process each.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod rig;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use qvd_share::mount::{Options, mount};
use qvd_slave::Key;
use qvd_slaveclient::{Error, Offer};

use crate::rig::{KEY, Rig, eventually};

const RECORDED: &[u8] = include_bytes!("../../../protocol/recordings/slave-share.request.http");

fn key() -> Key {
    Key::new(KEY).unwrap()
}

#[test]
fn a_share_comes_and_goes() {
    let rig = Rig::new("");
    let docs = rig.folder("docs");
    fs::write(docs.join("f"), b"of the client").unwrap();
    let sharing = rig.share(&docs, None, false).unwrap();
    assert_eq!(sharing.ticket, "docs");
    let there = rig.shares().join("docs");
    eventually("mounted", || there.join("f").exists());
    assert_eq!(fs::read(there.join("f")).unwrap(), b"of the client");
    fs::write(there.join("g"), b"of the VM").unwrap();
    assert_eq!(fs::read(docs.join("g")).unwrap(), b"of the VM");
    let mode = fs::metadata(rig.shares()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let bookmarks = rig.home().join(".config/gtk-3.0/bookmarks");
    assert!(
        fs::read_to_string(bookmarks)
            .unwrap()
            .contains("/Redirected")
    );
    drop(sharing);
    eventually("removed", || !there.exists());
    rig.eventually_idle();
}

#[test]
fn a_name_is_given_once() {
    let rig = Rig::new("");
    let (one, two) = (rig.folder("one/docs"), rig.folder("two/docs"));
    fs::write(one.join("f"), b"1").unwrap();
    fs::write(two.join("f"), b"2").unwrap();
    let first = rig.share(&one, None, false).unwrap();
    eventually("mounted", || rig.shares().join("docs/f").exists());
    assert!(matches!(rig.share(&two, None, false), Err(Error::Conflict)));
    let second = rig.share(&two, Some("papers"), true).unwrap();
    assert_eq!(second.ticket, "papers");
    let papers = rig.shares().join("papers");
    eventually("mounted", || papers.join("f").exists());
    assert_eq!(fs::read(papers.join("f")).unwrap(), b"2");
    assert!(fs::write(papers.join("g"), b"x").is_err());
    drop((first, second));
    eventually("removed", || {
        fs::read_dir(rig.shares()).unwrap().count() == 0
    });
}

#[test]
fn what_the_connection_before_has_mounted_is_waited_for() {
    let rig = Rig::new("");
    let docs = rig.folder("docs");
    fs::write(docs.join("f"), b"x").unwrap();
    let first = rig.share(&docs, None, false).unwrap();
    let there = rig.shares().join("docs");
    eventually("mounted", || there.join("f").exists());
    // The session was resumed: the key's file is another one.
    rig.resume();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| rig.share(&docs, None, false));
        drop(first);
        let second = second.join().unwrap().unwrap();
        assert_eq!(second.ticket, "docs");
        eventually("mounted", || there.join("f").exists());
    });
    eventually("removed", || !there.exists());
    rig.eventually_idle();
}

#[test]
fn what_the_user_has_there_is_left_alone() {
    let rig = Rig::new("");
    let docs = rig.folder("docs");
    fs::create_dir_all(rig.shares().join("docs")).unwrap();
    fs::write(rig.shares().join("docs/own"), b"x").unwrap();
    assert!(matches!(
        rig.share(&docs, None, false),
        Err(Error::Conflict)
    ));
    assert!(rig.shares().join("docs/own").exists());
    // An empty directory is what a crash left.
    fs::remove_file(rig.shares().join("docs/own")).unwrap();
    assert!(rig.share(&docs, None, false).is_ok());
}

#[test]
fn the_key_is_needed_for_everything() {
    let rig = Rig::new("");
    let docs = rig.folder("docs");
    let wrong = Key::new("wrong").unwrap();
    let offer = Offer {
        path: docs.clone(),
        name: None,
        read_only: false,
    };
    let refused = qvd_slaveclient::share(rig.connect(), &wrong, &offer).unwrap_err();
    assert!(matches!(refused, Error::Key(_)), "{refused}");
    let refused = qvd_slaveclient::fetch(rig.connect(), &wrong, Path::new("/etc")).unwrap_err();
    assert!(matches!(refused, Error::Key(_)), "{refused}");
    for (request, status) in [
        (
            "GET /shares//etc HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: qvd:sftp/1.0\r\n\r\n",
            "401",
        ),
        (
            "PUT /shares//a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: qvd:sftp/1.0\r\n\r\n",
            "401",
        ),
        (
            "PUT /shares//a HTTP/1.1\r\nAuthorization: Basic SLAVEKEY0123456789\r\n\r\n",
            "400",
        ),
        (
            "BREW /pot HTTP/1.1\r\nAuthorization: Basic SLAVEKEY0123456789\r\n\r\n",
            "404",
        ),
        ("GET / HTTP/1.0\r\n\r\n", "505"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let mut stream = rig.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}{answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    assert!(!rig.shares().exists());
}

#[test]
fn a_killed_server_leaves_no_mount_and_no_directory() {
    let rig = Rig::new("");
    let docs = rig.folder("docs");
    fs::write(docs.join("f"), b"x").unwrap();
    let _sharing = rig.share(&docs, None, false).unwrap();
    let there = rig.shares().join("docs");
    eventually("mounted", || there.join("f").exists());
    // The kernel remembers this for a while, also of a dead mount.
    fs::symlink_metadata(&there).unwrap();
    rig.kill_servers();
    eventually("removed", || fs::symlink_metadata(&there).is_err());
    // The name is free again.
    let again = rig.share(&docs, None, false).unwrap();
    eventually("mounted", || there.join("f").exists());
    drop(again);
}

#[test]
fn the_vms_folders_are_served() {
    let rig = Rig::new("");
    let own = rig.home().join("own");
    fs::create_dir(&own).unwrap();
    fs::write(own.join("f"), b"of the VM").unwrap();
    let point = rig.folder("point");
    for path in [own.as_path(), Path::new("own")] {
        let fetched = qvd_slaveclient::fetch(rig.connect(), &key(), path).unwrap();
        let options = Options::default();
        let mounted = mount(fetched.channel, &fetched.early, &point, &options).unwrap();
        assert_eq!(fs::read(point.join("f")).unwrap(), b"of the VM");
        fs::write(point.join("g"), b"of the client").unwrap();
        assert_eq!(fs::read(own.join("g")).unwrap(), b"of the client");
        drop(mounted);
    }
    let none = qvd_slaveclient::fetch(rig.connect(), &key(), Path::new("none")).unwrap_err();
    assert!(matches!(none, Error::NotFound(_)), "{none}");
    rig.eventually_idle();
}

#[test]
fn a_file_is_opened_in_the_session() {
    let rig = Rig::new("command.open_file = ~OPENER~\n");
    let docs = rig.folder("docs");
    fs::create_dir(docs.join("sub dir")).unwrap();
    fs::write(docs.join("sub dir/f"), b"x").unwrap();
    let sharing = rig.share(&docs, None, false).unwrap();
    let file = Path::new("sub dir/f");
    qvd_slaveclient::open(rig.connect(), &key(), sharing.ticket.as_bytes(), file).unwrap();
    let expected = rig.shares().join("docs/sub dir/f");
    eventually("opened", || {
        fs::read_to_string(rig.home().join("opened"))
            .is_ok_and(|text| text.trim() == expected.to_str().unwrap())
    });
    for (ticket, file) in [
        ("docs", "none"),
        ("other", "sub dir/f"),
        ("../x", "f"),
        ("..", "x"),
    ] {
        let error =
            qvd_slaveclient::open(rig.connect(), &key(), ticket.as_bytes(), Path::new(file));
        assert!(matches!(error, Err(Error::NotFound(_))), "{ticket} {file}");
    }
}

#[test]
fn sshfs_mounts_where_it_is_asked_to() {
    let rig = Rig::new("vma.share.engine = sshfs\n");
    let docs = rig.folder("docs");
    fs::write(docs.join("f"), b"of the client").unwrap();
    let sharing = rig.share(&docs, None, false).unwrap();
    let there = rig.shares().join("docs");
    eventually("mounted", || there.join("f").exists());
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let point = there.canonicalize().unwrap();
    let line = table
        .lines()
        .find(|line| line.contains(point.to_str().unwrap()))
        .unwrap();
    assert!(line.contains("fuse.sshfs"), "{line}");
    drop(sharing);
    eventually("removed", || !there.exists());
}

#[test]
fn the_references_client_shares_by_openssh() {
    let rig = Rig::new("");
    let docs = rig.folder("docs");
    fs::write(docs.join("f"), b"of the reference").unwrap();
    let mut stream = rig.connect();
    stream.write_all(RECORDED).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let expected = "HTTP/1.1 101 Switching Protocols\r\nX-QVD-Share-Ticket: docs\r\n\r\n";
    assert_eq!(String::from_utf8(head).unwrap(), expected);
    let mut server = rig.sftp_server(&stream, &docs);
    drop(stream);
    let there = rig.shares().join("docs");
    eventually("mounted", || there.join("f").exists());
    assert_eq!(fs::read(there.join("f")).unwrap(), b"of the reference");
    server.kill().unwrap();
    server.wait().unwrap();
    eventually("removed", || !there.exists());
}
