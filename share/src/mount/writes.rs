//! Writing behind: writes are sent and not awaited; `close` and `fsync` tell
//! what became of them.

use std::collections::HashSet;

use fuser::{Errno, ReplyEmpty, ReplyWrite};
use qvd_sftp::{Attributes, Request};

use super::attributes::touched;
use super::convert;
use super::core::{Core, Fault};
use super::files::as_failure;
use super::names;

impl Core {
    pub(super) fn write(&mut self, fh: u64, offset: u64, data: &[u8], reply: ReplyWrite) {
        if self.is_gone() {
            return self.later(move || reply.error(Errno::EIO));
        }
        let most = self.write_length;
        let Some(file) = self.files.get_mut(&fh) else {
            return self.later(move || reply.error(Errno::EBADF));
        };
        if let Some(failure) = file.behind.take_failure() {
            let errno = convert::errno(failure);
            return self.later(move || reply.error(errno));
        }
        let ino = file.ino;
        file.dirty = true;
        self.forget_read(ino);
        // What other descriptors hold back was written before.
        self.send_writes_but(ino, fh);
        let Some(file) = self.files.get_mut(&fh) else {
            return;
        };
        let mut behind = std::mem::take(&mut file.behind);
        let handle = file.handle.clone();
        behind.write(offset, data, most, |at, piece| {
            self.send_write(fh, &handle, at, piece);
        });
        if let Some(file) = self.files.get_mut(&fh) {
            file.behind = behind;
        }
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let end = offset.saturating_add(length.into());
        let now = self.now;
        self.tree.change(ino, now, |known| {
            known.size = Some(known.size.unwrap_or_default().max(end));
            known.times = Some(touched(known.times));
        });
        if let Some(node) = self.tree.node_mut(ino) {
            node.set_paged(None);
        }
        self.answer_write(reply, length);
    }

    fn send_write(&mut self, fh: u64, handle: &[u8], offset: u64, data: &[u8]) {
        let bytes = data.len();
        let request = Request::Write {
            handle,
            offset,
            data,
        };
        self.ask_done(&request, move |core, done| {
            core.written(bytes);
            core.answered(fh, done);
        });
    }

    /// A write, or a change of attributes, that was not awaited is done.
    pub(super) fn answered(&mut self, fh: u64, done: Result<(), Fault>) {
        if let Some(file) = self.files.get_mut(&fh) {
            file.behind.answered(done.map_err(as_failure));
            if file.behind.is_answered() {
                self.drain(fh);
            }
        }
    }

    /// Nothing is under way for a file: what was held back may go, and who
    /// waited for it is told.
    fn drain(&mut self, fh: u64) {
        self.send_file(fh);
        let Some(file) = self.files.get_mut(&fh) else {
            return;
        };
        if file.behind.is_clean() && !file.flushing.is_empty() {
            let failure = file.behind.take_failure();
            for reply in std::mem::take(&mut file.flushing) {
                self.later(move || match failure {
                    Some(failure) => reply.error(convert::errno(failure)),
                    None => reply.ok(),
                });
            }
        }
    }

    /// Sends what a file's writes hold back.
    pub(super) fn send_file(&mut self, fh: u64) {
        let Some(file) = self.files.get_mut(&fh) else {
            return;
        };
        let mut behind = std::mem::take(&mut file.behind);
        let handle = file.handle.clone();
        behind.flush(|at, piece| self.send_write(fh, &handle, at, piece));
        if let Some(file) = self.files.get_mut(&fh) {
            file.behind = behind;
        }
    }

    /// Sends what is held back of all writes of a file, so that what is asked
    /// next sees them.
    pub(super) fn send_writes(&mut self, ino: u64) {
        self.send_writes_but(ino, 0);
    }

    /// The same, but for one open file.
    fn send_writes_but(&mut self, ino: u64, but: u64) {
        let mut files = self.tree.handles(ino).to_vec();
        for other in self.tree.others(ino) {
            files.extend(self.tree.handles(*other));
        }
        for fh in files.into_iter().filter(|fh| *fh != but) {
            self.send_file(fh);
        }
    }

    /// Changes attributes of a file that is being written, without awaiting
    /// it.
    pub(super) fn set_unawaited(&mut self, fh: u64, attributes: Attributes) {
        let Some(file) = self.files.get_mut(&fh) else {
            return;
        };
        file.behind.also_sent();
        file.dirty = true;
        let handle = file.handle.clone();
        let request = Request::Fsetstat {
            handle: &handle,
            attributes,
        };
        self.ask_done(&request, move |core, done| core.answered(fh, done));
    }

    /// Whether writes of a file are not answered yet.
    pub(super) fn is_dirty(&self, ino: u64) -> bool {
        let unanswered = |fh: &u64| self.files.get(fh).is_some_and(|f| !f.behind.is_clean());
        self.tree.handles(ino).iter().any(unanswered)
    }

    /// All files with such writes.
    pub(super) fn dirty(&self) -> HashSet<u64> {
        let dirty = self.files.values().filter(|file| !file.behind.is_clean());
        dirty.map(|file| file.ino).collect()
    }

    /// Tells a program that closes, or asks for it, whether its writes have
    /// arrived. The file's own size and time come along.
    pub(super) fn flush(&mut self, fh: u64, sync: bool, reply: ReplyEmpty) {
        if self.is_gone() {
            return self.later(move || reply.error(Errno::EIO));
        }
        let has_fsync = self.extensions.fsync;
        // Of every descriptor: the size that comes along is of them all.
        if let Some(ino) = self.files.get(&fh).map(|file| file.ino) {
            self.send_writes(ino);
        }
        let Some(file) = self.files.get_mut(&fh) else {
            return self.later(move || reply.error(Errno::EBADF));
        };
        let wanted = file.dirty || (sync && file.writes);
        if !wanted {
            return self.later(move || reply.ok());
        }
        file.dirty = false;
        let (ino, handle) = (file.ino, file.handle.clone());
        let before = self.tree.changes(ino);
        let Some(file) = self.files.get_mut(&fh) else {
            return;
        };
        file.flushing.push(reply);
        file.behind.also_sent();
        if sync && has_fsync {
            file.behind.also_sent();
            let request = Request::Fsync { handle: &handle };
            self.ask_done(&request, move |core, done| core.answered(fh, done));
        }
        self.ask(&Request::Fstat { handle: &handle }, move |core, outcome| {
            let said = outcome.and_then(|answer| names::attributes(&answer.response()));
            let done = said.map(|attributes| {
                // Unless it was written to meanwhile.
                if core.tree.changes(ino) == before {
                    let now = core.now;
                    core.tree.learn(ino, attributes, now);
                }
            });
            core.answered(fh, done);
        });
    }
}
