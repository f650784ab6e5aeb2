//! The folder with the shares among the bookmarks of file managers. The
//! mounts themselves they show by themselves: they lie in the user's home.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Most bytes of a file of bookmarks that is touched.
const MAX_FILE: u64 = 1024 * 1024;

/// Adds a bookmark of `folder`, unless there is one.
pub(crate) fn add(home: &Path, folder: &Path) -> io::Result<()> {
    let Some(mut present) = read(home)? else {
        return Ok(());
    };
    let url = url(folder);
    let is_there = |line: &[u8]| line.split(|b| *b == b' ').next() == Some(url.as_bytes());
    if present.split(|b| *b == b'\n').any(is_there) {
        return Ok(());
    }
    if !present.is_empty() && !present.ends_with(b"\n") {
        present.push(b'\n');
    }
    present.extend(line(folder));
    present.push(b'\n');
    replace(home, &present)
}

/// Removes the bookmark that [`add`] made; one of the user's own stays.
pub(crate) fn remove(home: &Path, folder: &Path) -> io::Result<()> {
    let Some(present) = read(home)? else {
        return Ok(());
    };
    let ours = line(folder);
    let mut left = Vec::with_capacity(present.len());
    for line in present.split_inclusive(|b| *b == b'\n') {
        if line.strip_suffix(b"\n").unwrap_or(line) != ours {
            left.extend_from_slice(line);
        }
    }
    if left.len() == present.len() {
        return Ok(());
    }
    replace(home, &left)
}

/// The bookmark with a name after it, as the user sees it anyway: his own have
/// none, unless he gave them one.
fn line(folder: &Path) -> Vec<u8> {
    let name = folder.file_name().unwrap_or_default().as_bytes();
    let mut line = url(folder).into_bytes();
    line.push(b' ');
    line.extend(name.iter().filter(|b| !b.is_ascii_control()));
    line
}

fn file(home: &Path) -> PathBuf {
    home.join(".config/gtk-3.0/bookmarks")
}

/// `None` where the file is not touched.
fn read(home: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = file(home);
    match fs::metadata(&file) {
        Ok(there) if there.len() > MAX_FILE => Ok(None),
        Ok(_) => fs::read(&file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(Vec::new())),
        Err(error) => Err(error),
    }
}

fn replace(home: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = file(home);
    let directory = file.parent().unwrap_or(home);
    fs::create_dir_all(directory)?;
    let next = directory.join(format!(".bookmarks.{}", std::process::id()));
    fs::File::create_new(&next)?.write_all(bytes)?;
    fs::rename(&next, &file).inspect_err(|_| drop(fs::remove_file(&next)))
}

fn url(path: &Path) -> String {
    let mut url = String::from("file://");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(byte) {
            url.push(char::from(*byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookmark_is_added_once_and_others_stay() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("Redirected ä");
        let file = home.path().join(".config/gtk-3.0/bookmarks");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "file:///srv Server").unwrap();
        for _ in 0..2 {
            add(home.path(), &folder).unwrap();
        }
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(lines[0], "file:///srv Server");
        assert!(
            lines[1].ends_with("/Redirected%20%C3%A4 Redirected ä"),
            "{text}"
        );
        remove(home.path(), &folder).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "file:///srv Server\n");
    }

    #[test]
    fn a_bookmark_of_the_users_own_stays() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("Redirected");
        let file = home.path().join(".config/gtk-3.0/bookmarks");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let own = format!("file://{}\n", folder.display());
        fs::write(&file, &own).unwrap();
        add(home.path(), &folder).unwrap();
        remove(home.path(), &folder).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), own);
    }
}
