//! The user's `client.conf`, written by the window: comments, order and keys
//! that the window does not know stay.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use qvd_client::cli::Environment;
use qvd_client::window::Arguments;
use qvd_config::Document;
use qvd_config::limits::MAX_FILE;

/// Longest name of a saved connection, in characters.
const MAX_NAME: usize = 60;

/// What the configuration is called that no saved connection is.
const ENDING: &str = "conf";

/// Writes keys into a file, which is made where there is none, and removes
/// those of `gone`. It is replaced whole, or not at all.
///
/// # Errors
/// When it cannot be read or written, or holds a fault: it then stays as it is.
pub(crate) fn write(
    file: &Path,
    keys: &[(impl AsRef<str>, String)],
    gone: &[String],
) -> io::Result<()> {
    // A link stays one: what it leads to is replaced.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let name = file.display().to_string();
    let wrong = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let (mut document, mode) = match fs::metadata(file) {
        Ok(meta) if meta.len() > u64::try_from(MAX_FILE).unwrap_or(u64::MAX) => {
            return Err(wrong(&"it is too large"));
        }
        Ok(meta) => {
            let bytes = fs::read(file)?;
            let read = Document::parse(&name, &bytes);
            let read = read.map_err(|errors| match errors.first() {
                Some(first) => wrong(first),
                None => wrong(&"it is faulty"),
            })?;
            (read, meta.permissions().mode() & 0o777)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Document::empty(&name), 0o600),
        Err(error) => return Err(error),
    };
    let before = document.render();
    for key in gone {
        document.unset(key);
    }
    for (key, value) in keys {
        let key = key.as_ref();
        // What is not there needs no line to say nothing.
        if !value.is_empty() || document.contains(key) {
            document.set(key, value).map_err(|error| wrong(&error))?;
        }
    }
    if document.render() == before {
        return Ok(());
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(document.render().as_bytes())?;
    new.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    fs::File::open(folder)?.sync_all()
}

/// Where a saved connection is, a `client.conf` of its own; `None` when that
/// is no name for one.
pub(crate) fn profile(home: &Path, name: &str) -> Option<PathBuf> {
    let good = |c: char| c.is_alphanumeric() || " -_".contains(c);
    let fits = !name.trim().is_empty()
        && name.trim() == name
        && name.chars().count() <= MAX_NAME
        && name.chars().all(good);
    fits.then(|| folder(home).join(format!("{name}.{ENDING}")))
}

/// The names of the saved connections, in order.
pub(crate) fn profiles(home: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder(home)) else {
        return Vec::new();
    };
    let names = entries.flatten().filter_map(|entry| {
        let path = entry.path();
        let name = path.file_stem()?.to_str()?.to_owned();
        let is_one = path.extension().is_some_and(|ending| ending == ENDING);
        (is_one && profile(home, &name).is_some()).then_some(name)
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// The file that the window reads and writes: the saved connection's, the one
/// that was named, or the user's default one.
pub(crate) fn in_use(
    arguments: &Arguments,
    environment: &Environment,
    profile: Option<&str>,
) -> Option<PathBuf> {
    let home = environment.home.as_ref();
    let saved = profile.and_then(|name| self::profile(home?, name));
    let named = arguments.config.clone().or(environment.config.clone());
    saved
        .or(named)
        .or_else(|| Some(home?.join(".qvd/client.conf")))
}

fn folder(home: &Path) -> PathBuf {
    home.join(".qvd/connections")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_unknown_keys_stay() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("client.conf");
        let before = "# mine\nclient.link = lan\nother.key=1\n\n! end\n";
        fs::write(&file, before).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let keys = [
            ("client.link", "modem".to_owned()),
            ("client.fullscreen", "1".to_owned()),
            ("client.user.name", String::new()),
        ];
        write(&file, &keys, &[]).unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "# mine\nclient.link = modem\nother.key=1\n\n! end\nclient.fullscreen = 1\n"
        );
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let left = fs::read_dir(home.path()).unwrap().count();
        assert_eq!(left, 1, "nothing lies beside it");
    }

    #[test]
    fn a_new_file_is_the_users_own_and_a_faulty_one_stays() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".qvd/client.conf");
        write(&file, &[("client.host.name", "broker".into())], &[]).unwrap();
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&file, "lonely\n").unwrap();
        let error = write(&file, &[("client.host.name", "b".into())], &[]).unwrap_err();
        assert!(error.to_string().contains("client.conf:1"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "lonely\n");
    }

    #[test]
    fn a_link_to_a_file_stays_a_link() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().join("real.conf");
        fs::write(&real, "a.b = 1\n").unwrap();
        let link = home.path().join("client.conf");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write(&link, &[("client.link", "wan".into())], &[]).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(
            fs::read_to_string(&real)
                .unwrap()
                .contains("client.link = wan")
        );
    }

    #[test]
    fn saved_connections_are_files_with_good_names() {
        let home = tempfile::tempdir().unwrap();
        for name in ["Büro 2", "home"] {
            let file = profile(home.path(), name).unwrap();
            write(&file, &[("client.host.name", "broker".into())], &[]).unwrap();
        }
        assert_eq!(profiles(home.path()), ["Büro 2", "home"]);
        for name in ["", " ", "../x", "a/b", ".x", &"a".repeat(61)] {
            assert_eq!(profile(home.path(), name), None, "{name}");
        }
    }
}
