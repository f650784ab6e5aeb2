//! The folder with the shares among the bookmarks of file managers. The
//! mounts themselves they show by themselves: they lie in the user's home.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Most bytes of a file of bookmarks that is touched.
const MAX_FILE: u64 = 1024 * 1024;

/// Adds a bookmark of `folder`, unless there is one.
pub(crate) fn add(home: &Path, folder: &Path) -> io::Result<()> {
    let directory = home.join(".config/gtk-3.0");
    let file = directory.join("bookmarks");
    let url = url(folder);
    let present = match fs::metadata(&file) {
        Ok(there) if there.len() > MAX_FILE => return Ok(()),
        Ok(_) => fs::read(&file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let is_ours = |line: &[u8]| line.split(|b| *b == b' ').next() == Some(url.as_bytes());
    if present.split(|b| *b == b'\n').any(is_ours) {
        return Ok(());
    }
    fs::create_dir_all(&directory)?;
    let next = directory.join(format!(".bookmarks.{}", std::process::id()));
    let mut out = fs::File::create_new(&next)?;
    out.write_all(&present)?;
    if !present.is_empty() && !present.ends_with(b"\n") {
        out.write_all(b"\n")?;
    }
    out.write_all(format!("{url}\n").as_bytes())?;
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
        assert!(lines[1].ends_with("/Redirected%20%C3%A4"), "{text}");
    }
}
