//! Folders of clients that were killed. The next client takes them away, by the
//! numbers of the processes in their names.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use qvd_slaveclient::{is_deserted, is_gone};
use rustix::fs::{AtFlags, Mode, OFlags, fstat, open, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;

/// The sockets in a folder.
pub(super) const SOCKETS: [&str; 2] = ["slave", "road"];

/// How the names of all folders begin.
const PREFIX: &str = "qvd-carrier-";

/// What follows in a name after that, the number and a dash.
const RANDOM: usize = 6;

/// How the name of a folder of this process begins.
pub(super) fn prefix() -> String {
    format!("{PREFIX}{}-", std::process::id())
}

/// Takes away what is left in `parent`.
pub(super) fn tidy(parent: &Path) {
    let entries = std::fs::read_dir(parent).into_iter().flatten();
    for entry in entries.flatten() {
        let Some(pid) = owner(&entry.file_name()) else {
            continue;
        };
        let folder = entry.path();
        if is_gone(pid)
            && let Err(error) = remove(&folder)
        {
            tracing::debug!(%error, folder = %folder.display(), "is left");
        }
    }
}

/// The number of the process whose folder this is.
fn owner(name: &OsStr) -> Option<u32> {
    let (pid, random) = name.to_str()?.strip_prefix(PREFIX)?.split_once('-')?;
    let is_random = random.len() == RANDOM && random.bytes().all(|b| b.is_ascii_alphanumeric());
    let pid = pid
        .parse()
        .ok()
        .filter(|number: &u32| number.to_string() == pid);
    pid.filter(|_| is_random)
}

/// Removes a folder of this user's at whose sockets nobody listens. What is
/// looked at is what is removed, whatever its name leads to meanwhile.
fn remove(folder: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = open(folder, flags, Mode::empty())?;
    if fstat(&dir)?.st_uid != geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    for socket in SOCKETS {
        if !is_deserted(&folder.join(socket))? {
            return Err(io::ErrorKind::AddrInUse.into());
        }
    }
    for socket in SOCKETS {
        match unlinkat(&dir, socket, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    std::fs::remove_dir(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_a_killed_client_left_goes_and_nothing_else() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let (dead, own) = (child.id(), std::process::id());
        let place = tempfile::tempdir().unwrap();
        let at = |name: String| place.path().join(name);
        let folder = |name: String| {
            let folder = at(name);
            std::fs::create_dir(&folder).unwrap();
            let sockets = SOCKETS.map(|name| UnixListener::bind(folder.join(name)).unwrap());
            (folder, sockets)
        };
        let (left, _) = folder(format!("qvd-carrier-{dead}-abCD12"));
        let empty = at(format!("qvd-carrier-{dead}-000000"));
        std::fs::create_dir(&empty).unwrap();
        // Of who lives, of who listens, of another form, with something else in it.
        let (lives, _) = folder(format!("qvd-carrier-{own}-abcdef"));
        let (listens, _sockets) = folder(format!("qvd-carrier-{dead}-abcdef"));
        let others: Vec<_> = ["+{}-abcdef", "0{}-abcdef", "{}-abcdefg", "{}-abc-ef", "{}"]
            .iter()
            .map(|form| {
                folder(format!(
                    "qvd-carrier-{}",
                    form.replace("{}", &dead.to_string())
                ))
                .0
            })
            .collect();
        let (full, _) = folder(format!("qvd-carrier-{dead}-ffffff"));
        std::fs::write(full.join("more"), "").unwrap();
        let (elsewhere, _) = folder("elsewhere".into());
        let link = at(format!("qvd-carrier-{dead}-llllll"));
        symlink(&elsewhere, &link).unwrap();
        tidy(place.path());
        assert!(!left.exists() && !empty.exists());
        for stays in [&lives, &listens, &elsewhere].into_iter().chain(&others) {
            assert!(stays.join("slave").exists(), "{}", stays.display());
        }
        assert!(full.join("more").exists() && link.is_symlink());
    }
}
