//! `qvd-hooks.log`: what hooks print.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use super::file::{self, MISSING};
use super::text::printable;
use super::time::Moment;

/// Longest line of a hook that is kept, in bytes.
const MAX_LINE: usize = 4096;

/// The file that hooks' lines are appended to. It is opened with the first
/// line, and again when it was moved away or removed. Lines that the disk does
/// not take are lost, and how many is said once it takes lines again.
#[derive(Debug)]
pub struct HookLog {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    file: Option<File>,
    missing_since: Option<Instant>,
    lost: u64,
}

impl HookLog {
    /// The log at this path. Nothing is opened yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            inner: Mutex::default(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line of a hook: when, which hook, which session, what. Control
    /// characters in it are written as `\x..`, and what is too long is cut.
    pub fn line(&self, hook: &str, session: Option<&str>, text: &[u8]) {
        let cut = text.get(..MAX_LINE).unwrap_or(text);
        let line = format!(
            "{} hook={} session={}: {}\n",
            Moment::now().rfc3339(),
            printable(hook.as_bytes()),
            session.unwrap_or("-"),
            printable(cut.trim_ascii_end()),
        );
        // A thread that died with the lock has left nothing half done that
        // would matter here.
        let mut inner = self
            .inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        inner.append(&self.path, &line);
    }
}

impl Inner {
    fn append(&mut self, path: &Path, line: &str) {
        self.follow(path);
        let lost = self.lost;
        let written = self.file.as_mut().is_some_and(|file| {
            let told = lost == 0 || {
                let now = Moment::now().rfc3339();
                writeln!(file, "{now} {lost} lines were lost").is_ok()
            };
            told && file.write_all(line.as_bytes()).is_ok()
        });
        self.lost = if written { 0 } else { lost.saturating_add(1) };
    }

    /// Opens the file at the path if the one that is open is not there.
    fn follow(&mut self, path: &Path) {
        let at = self
            .file
            .as_ref()
            .map_or(Some(false), |f| file::is_at(f, path));
        let reopen = match at {
            Some(same) => {
                self.missing_since = None;
                !same
            }
            None => {
                self.missing_since
                    .get_or_insert_with(Instant::now)
                    .elapsed()
                    >= MISSING
            }
        };
        if reopen && let Ok(opened) = file::open(path) {
            self.file = Some(opened);
            self.missing_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_says_when_which_hook_which_session_and_what() {
        let dir = tempfile::tempdir().unwrap();
        let log = HookLog::new(dir.path().join("below/qvd-hooks.log"));
        log.line("connect", Some("ab12"), b"hello \x1b[2J\xff w\xc3\xb6rld\n");
        log.line("expire", None, &[b'x'; 2 * MAX_LINE]);
        let lines = lines(log.path());
        assert!(
            lines[0].ends_with("Z hook=connect session=ab12: hello \\x1b[2J\u{fffd} w\u{f6}rld"),
            "{}",
            lines[0]
        );
        assert!(lines[1].contains(" hook=expire session=-: xxx"));
        assert!(lines[1].len() < MAX_LINE + 100);
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the time itself is what is waited for"
    )]
    #[test]
    fn a_file_that_was_replaced_or_moved_away_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = HookLog::new(dir.path().join("qvd-hooks.log"));
        let old = dir.path().join("qvd-hooks.log.1");
        log.line("a", None, b"first");
        std::fs::rename(log.path(), &old).unwrap();
        // Somebody is about to make the next one.
        log.line("a", None, b"second");
        assert_eq!(lines(&old).len(), 2);
        std::fs::write(log.path(), "").unwrap();
        log.line("a", None, b"third");
        assert_eq!((lines(&old).len(), lines(log.path()).len()), (2, 1));
        // Nobody does.
        std::fs::remove_file(log.path()).unwrap();
        let deadline = Instant::now() + 20 * MISSING;
        while !log.path().exists() && Instant::now() < deadline {
            log.line("a", None, b"fourth");
            std::thread::sleep(MISSING / 10);
        }
        assert!(lines(log.path())[0].ends_with("fourth"));
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("qvd-hooks.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let log = HookLog::new(&path);
        log.line("a", None, b"first");
        log.line("a", None, b"second");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        log.line("a", None, b"third");
        let lines = lines(&path);
        assert!(lines[0].ends_with(" 2 lines were lost"), "{lines:?}");
        assert!(lines[1].ends_with("third"));
    }
}
