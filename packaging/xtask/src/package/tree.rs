//! A folder with the files of a package where they are installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::run;

/// The files of a package, below a folder that stands for the root.
#[derive(Debug)]
pub(super) struct Tree(PathBuf);

impl Tree {
    /// An empty one. What was there is removed.
    pub(super) fn new(path: PathBuf) -> Result<Self> {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| path.display().to_string());
            }
            _ => {}
        }
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// Copies a file.
    pub(super) fn copy(&self, from: &Path, to: impl AsRef<Path>, mode: u32) -> Result<()> {
        let bytes = fs::read(from).with_context(|| from.display().to_string())?;
        self.put(to, &bytes, mode)
    }

    /// Writes a file.
    pub(super) fn put(&self, to: impl AsRef<Path>, bytes: &[u8], mode: u32) -> Result<()> {
        let to = self.at(to);
        let doing = || to.display().to_string();
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).with_context(doing)?;
        }
        fs::write(&to, bytes).with_context(doing)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(mode)).with_context(doing)
    }

    /// Copies a file, or a folder with what is in it. Programs stay programs.
    pub(super) fn graft(&self, from: &Path, to: &Path) -> Result<()> {
        let meta = fs::metadata(from).with_context(|| from.display().to_string())?;
        if meta.is_file() {
            let is_program = meta.permissions().mode() & 0o111 != 0;
            return self.copy(from, to, if is_program { 0o755 } else { 0o644 });
        }
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            self.graft(&entry.path(), &to.join(entry.file_name()))?;
        }
        Ok(())
    }

    /// Packs a file with gzip, without a time.
    pub(super) fn compress(&self, name: impl AsRef<Path>) -> Result<()> {
        let mut gzip = Command::new("gzip");
        run::shown(gzip.args(["-n", "-9", "-f"]).arg(self.at(name)))
    }

    /// The files, in order, without the root.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        gather(&self.0, &mut files)?;
        let names = files.iter().map(|file| file.strip_prefix(&self.0));
        let mut names: Vec<PathBuf> = names
            .map(|name| name.map(Path::to_owned))
            .collect::<Result<_, _>>()?;
        names.sort();
        Ok(names)
    }

    /// The folders from this one down, if it is there.
    pub(super) fn folders(&self, from: &Path) -> Result<Vec<PathBuf>> {
        let mut folders = Vec::new();
        let mut todo = vec![from.to_owned()];
        while let Some(folder) = todo.pop() {
            let path = self.at(&folder);
            if !path.is_dir() {
                continue;
            }
            for entry in fs::read_dir(&path).with_context(|| path.display().to_string())? {
                todo.push(folder.join(entry?.file_name()));
            }
            folders.push(folder);
        }
        folders.sort();
        Ok(folders)
    }

    /// What the files take, in KiB.
    pub(super) fn kib(&self) -> Result<u64> {
        let files = self.files()?;
        let sizes = files
            .iter()
            .map(|file| fs::metadata(self.at(file)).map(|meta| meta.len().div_ceil(1024)));
        sizes.sum::<std::io::Result<u64>>().map_err(Into::into)
    }

    /// Gives every file this time, in seconds since 1970: the same sources give
    /// the same package.
    pub(super) fn date(&self, time: u64) -> Result<()> {
        let mut touch = Command::new("find");
        touch
            .arg(&self.0)
            .args(["-exec", "touch", "--no-dereference"]);
        run::shown(touch.arg(format!("--date=@{time}")).args(["{}", "+"]))
    }

    /// Removes it.
    pub(super) fn remove(self) -> Result<()> {
        Ok(fs::remove_dir_all(&self.0)?)
    }
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            gather(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
