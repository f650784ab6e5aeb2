//! Rules on source files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::workspace::{self, Metadata, Package};

/// Crate roots which cannot forbid unsafe code, with the reason. They deny it,
/// and one small module of theirs allows it.
const UNSAFE_ROOTS: &[(&str, &str)] = &[
    (
        "vma/src/lib.rs",
        "its module sys: nobody else offers the parent-death signal of a child safely",
    ),
    (
        "share/src/lib.rs",
        "its module sys: nobody else gives freed memory back to the system",
    ),
    (
        "nx-proxy/src/lib.rs",
        "its module nxproxy::sys: the parent-death signal of nxproxy, as in the agent",
    ),
    (
        "window/src/lib.rs",
        "nothing but what the toolkit's compiler made of the pages, with its tables of functions",
    ),
];

/// Lines from which a file is said to be long.
const LONG_FILE: usize = 500;

/// What the crates in `protocol/` may not name outside of their tests: they
/// take bytes and times, and give bytes, events and deadlines.
const FORBIDDEN_IN_PROTOCOL: &[&str] = &[
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::io::stdin",
    "std::io::stdout",
    "SystemTime::now",
    "Instant::now",
];

/// Tells each broken rule; long files are only mentioned.
pub(super) fn check(metadata: &Metadata) -> Result<Vec<String>> {
    let root = workspace::root();
    let mut wrong = Vec::new();
    for package in metadata.members() {
        wrong.extend(roots(package)?);
        let pure = package.directory().starts_with(root.join("protocol"));
        for path in rust_files(&package.directory().join("src"))? {
            let text = read(&path)?;
            let name = path
                .strip_prefix(&root)
                .unwrap_or(&path)
                .display()
                .to_string();
            if pure && !is_test_file(&path) {
                wrong.extend(
                    impure(&text)
                        .map(|word| format!("{name}: a protocol crate has no use for {word}")),
                );
            }
            let lines = text.lines().count();
            if lines > LONG_FILE {
                println!("warning: {name} has {lines} lines: is it one concern?");
            }
        }
    }
    Ok(wrong)
}

/// The crate roots which do not forbid unsafe code though they should.
fn roots(package: &Package) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for target in package.targets.iter().filter(|target| target.is_shipped()) {
        let name = target
            .src_path
            .strip_prefix(workspace::root())
            .unwrap_or(&target.src_path);
        let name = name.display().to_string();
        let text = read(&target.src_path)?;
        let forbids = text
            .lines()
            .any(|line| line.trim() == "#![forbid(unsafe_code)]");
        let excused = UNSAFE_ROOTS.iter().any(|(path, _)| *path == name);
        match (forbids, excused) {
            (false, false) => wrong.push(format!("{name} lacks #![forbid(unsafe_code)]")),
            (true, true) => wrong.push(format!("{name} needs no excuse in check/sources.rs")),
            _ => {}
        }
    }
    Ok(wrong)
}

/// The forbidden words in what comes before a file's tests, comments left out.
fn impure(text: &str) -> impl Iterator<Item = &'static str> {
    let code: String = text
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    FORBIDDEN_IN_PROTOCOL
        .iter()
        .copied()
        .filter(move |word| code.contains(word))
}

fn is_test_file(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests")
        || path
            .parent()
            .is_some_and(|folder| folder.ends_with("tests"))
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry.with_context(|| folder.display().to_string())?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_clocks_are_found_in_code_only() {
        let found = |text| impure(text).collect::<Vec<_>>();
        assert_eq!(found("let now = Instant::now();"), ["Instant::now"]);
        assert_eq!(found("use std::net::TcpStream;"), ["TcpStream"]);
        assert!(found("// TcpStream is not used\nfn f() {}").is_empty());
        assert!(found("fn f() {}\n#[cfg(test)]\nmod t { use std::fs; }").is_empty());
    }
}
