//! What is done on a mount, and how long it takes.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::NAMES;
use super::rig::Rig;

/// Bytes of one call.
const CALL: usize = 1024 * 1024;

/// Puts a folder of names into what is shared.
pub(super) fn prepare(shared: &Path) -> Result<()> {
    let names = shared.join("names");
    fs::create_dir_all(&names)?;
    for n in 0..NAMES {
        File::create(names.join(format!("{n:05}")))?;
    }
    Ok(())
}

/// Writes and closes a large file: megabytes a second.
pub(super) fn write(rig: &Rig, _: &Path, bytes: usize) -> Result<f64> {
    write_file(&rig.mount.join("large"), bytes)
}

/// Writes a file in whole calls, and closes it: megabytes a second.
pub(in crate::bench) fn write_file(path: &Path, bytes: usize) -> Result<f64> {
    let data = vec![7; CALL];
    let begun = Instant::now();
    let mut file = File::create(path)?;
    for _ in 0..bytes / CALL {
        file.write_all(&data)?;
    }
    drop(file);
    Ok((bytes / CALL * CALL) as f64 / 1e6 / begun.elapsed().as_secs_f64())
}

/// Reads a large file which the sharing end has in memory: megabytes a second.
pub(super) fn read(rig: &Rig, shared: &Path, bytes: usize) -> Result<f64> {
    let whole = bytes / CALL * CALL;
    fs::write(shared.join("large"), vec![7; whole])?;
    read_file(&rig.mount.join("large"), whole)
}

/// Reads a file of so many bytes: megabytes a second.
pub(in crate::bench) fn read_file(path: &Path, whole: usize) -> Result<f64> {
    let mut buffer = vec![0; CALL];
    let begun = Instant::now();
    let mut file = File::open(path)?;
    let mut count = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            some => count += some,
        }
    }
    let time = begun.elapsed().as_secs_f64();
    ensure!(count == whole, "{count} bytes were read of {whole}");
    Ok(count as f64 / 1e6 / time)
}

/// Creates files of a line each in a new folder: seconds.
pub(super) fn create(rig: &Rig, _: &Path, count: usize) -> Result<f64> {
    let folder = rig.mount.join("new");
    fs::create_dir(&folder)?;
    let begun = Instant::now();
    for n in 0..count {
        fs::write(folder.join(format!("{n}")), b"one line\n")?;
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Looks at files nobody has looked at: seconds.
pub(super) fn stat(rig: &Rig, _: &Path, count: usize) -> Result<f64> {
    look(&rig.mount.join("names"), count)
}

/// Looks at files of a folder that was just listed: seconds.
pub(super) fn stat_listed(rig: &Rig, _: &Path, count: usize) -> Result<f64> {
    let folder = rig.mount.join("names");
    ensure!(
        fs::read_dir(&folder)?.count() == NAMES,
        "the listing lacks names"
    );
    look(&folder, count)
}

fn look(folder: &Path, count: usize) -> Result<f64> {
    let begun = Instant::now();
    for n in 0..count {
        fs::symlink_metadata(folder.join(format!("{n:05}")))?;
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Lists a folder and removes files of it: seconds for the removing.
pub(super) fn delete(rig: &Rig, _: &Path, count: usize) -> Result<f64> {
    let folder = rig.mount.join("names");
    ensure!(
        fs::read_dir(&folder)?.count() == NAMES,
        "the listing lacks names"
    );
    let begun = Instant::now();
    for n in 0..count {
        fs::remove_file(folder.join(format!("{n:05}")))?;
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// Lists 5,000 names, with their attributes if wanted: seconds.
pub(super) fn list(rig: &Rig, _: &Path, long: bool) -> Result<f64> {
    let begun = Instant::now();
    let mut count = 0;
    for entry in fs::read_dir(rig.mount.join("names"))? {
        let entry = entry?;
        if long {
            entry.metadata()?;
        }
        count += 1;
    }
    let time = begun.elapsed().as_secs_f64();
    ensure!(count == NAMES, "{count} names of {NAMES} were listed");
    Ok(time)
}

/// Unpacks an archive of small files: seconds.
pub(super) fn tar(rig: &Rig, shared: &Path, count: usize) -> Result<f64> {
    let beside = shared.with_extension("tar");
    let source = shared.with_extension("source");
    fs::create_dir_all(source.join("unpacked"))?;
    for n in 0..count {
        fs::write(source.join(format!("unpacked/{n}")), b"one line\n")?;
    }
    run(Command::new("tar")
        .arg("cf")
        .arg(&beside)
        .arg("-C")
        .arg(&source)
        .arg("unpacked"))?;
    let begun = Instant::now();
    run(Command::new("tar")
        .arg("xf")
        .arg(&beside)
        .arg("-C")
        .arg(&rig.mount))?;
    let time = begun.elapsed().as_secs_f64();
    fs::remove_dir_all(&source)?;
    fs::remove_file(&beside)?;
    Ok(time)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
