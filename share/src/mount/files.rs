//! Open files: opening, reading ahead, closing.

use fuser::{
    Errno, FileHandle, FopenFlags, INodeNo, OpenFlags as KernelFlags, ReplyData, ReplyEmpty,
    ReplyOpen, ReplyWrite,
};
use qvd_sftp::{
    Attributes, Failure, Fetch, OpenFlags, Piece, ReadAhead, Request, Response, Status, WriteBehind,
};

use super::attributes::touched;
use super::convert;
use super::core::{Core, Fault, Outcome};
use super::names;
use super::node::Node;

/// Most bytes the peer is asked to copy at once: it answers when it is done.
const MAX_COPY: u64 = 64 * 1024 * 1024;

/// Seconds a file must have been let be for its time to tell every change.
const SETTLED: u32 = 3;

/// An open file.
pub(super) struct File {
    pub(super) ino: u64,
    pub(super) handle: Vec<u8>,
    /// It is open, as far as the peer has said.
    sure: bool,
    pub(super) writes: bool,
    pub(super) behind: WriteBehind,
    /// Written to since the last flush.
    pub(super) dirty: bool,
    ahead: ReadAhead<ReplyData>,
    pub(super) flushing: Vec<ReplyEmpty>,
}

impl Core {
    pub(super) fn open(&mut self, ino: u64, flags: KernelFlags, reply: ReplyOpen) {
        let Some(path) = self.tree.path(ino) else {
            return self.later(move || reply.error(Errno::ENOENT));
        };
        let open = convert::open_flags(flags);
        if open.has(OpenFlags::WRITE) && self.read_only {
            return self.later(move || reply.error(Errno::EROFS));
        }
        self.send_writes(ino);
        let attributes = Attributes::NONE;
        let named = self.name_handle();
        let request = opening(named, &path, open, attributes);
        // What is read from now on is of the file as it is now.
        let look = Request::Lstat { path: &path };
        let fh = self.handle();
        self.ask_both(&request, &look, move |core, opened, looked| {
            let handle = match handle_in(opened) {
                Ok(handle) => handle,
                Err(fault) => {
                    core.not_opened(fh);
                    return core.later(move || reply.error(fault.errno));
                }
            };
            let looked = looked.and_then(|answer| names::attributes(&answer.response()));
            let now = core.now;
            if let Ok(attributes) = looked
                && !core.is_dirty(ino)
            {
                if core.changed(ino, &attributes) {
                    core.forget_read(ino);
                }
                core.tree.learn(ino, attributes, now);
            }
            if open.has(OpenFlags::TRUNCATE) {
                core.tree.change(ino, now, |known| {
                    known.size = Some(0);
                    known.times = Some(touched(known.times));
                });
            }
            let keep = core.keeps_pages(ino);
            if let Some(file) = core.files.get_mut(&fh) {
                file.sure = true;
            } else {
                core.opened(fh, ino, handle, open, true);
                if !open.has(OpenFlags::WRITE) && !keep {
                    core.prefetch(fh);
                }
            }
            let mut flags = FopenFlags::empty();
            if keep {
                flags |= FopenFlags::FOPEN_KEEP_CACHE;
            }
            core.later(move || reply.opened(FileHandle(fh), flags));
        });
        // Its name is known: it is begun to be read in the same round trip.
        if let Some(named) = named
            && !open.has(OpenFlags::WRITE)
            && !self.has_pages(ino)
        {
            self.opened(fh, ino, named.to_be_bytes().into(), open, false);
            self.prefetch(fh);
        }
    }

    /// What was taken for open is not.
    fn not_opened(&mut self, fh: u64) {
        if let Some(file) = self.files.remove(&fh)
            && let Some(node) = self.tree.node_mut(file.ino)
        {
            node.remove_handle(fh);
        }
    }

    /// Has the kernel ask again for attributes that turn out to be others than
    /// it was told, lease or not.
    fn changed(&mut self, ino: u64, attributes: &Attributes) -> bool {
        let seen = |known: &Attributes| (known.size, known.times.map(|times| times.modification));
        let known = self.tree.last_known(ino);
        let changed = known.is_some_and(|known| seen(&known) != seen(attributes));
        if changed && let Some(notifier) = self.notifier.clone() {
            // Attributes only: to have pages dropped could wait for ourselves.
            self.later(move || drop(notifier.inval_inode(INodeNo(ino), -1, 0)));
        }
        changed
    }

    pub(super) fn opened(
        &mut self,
        fh: u64,
        ino: u64,
        handle: Vec<u8>,
        flags: OpenFlags,
        sure: bool,
    ) {
        let file = File {
            ino,
            handle,
            sure,
            writes: flags.has(OpenFlags::WRITE),
            behind: WriteBehind::default(),
            dirty: false,
            ahead: ReadAhead::default(),
            flushing: Vec::new(),
        };
        self.files.insert(fh, file);
        if let Some(node) = self.tree.node_mut(ino) {
            node.add_handle(fh);
        }
    }

    /// Whether the kernel has pages of a file that are, as far as is known, of
    /// the file as it is.
    fn has_pages(&self, ino: u64) -> bool {
        let known = self.tree.last_known(ino);
        let state = known.map(|known| (known.size, known.times.map(|t| t.modification)));
        self.tree.node(ino).and_then(Node::paged) == state && state.is_some()
    }

    /// Whether the kernel's pages of a file are of the file as it is. What was
    /// changed a moment ago may be changed again within the same second.
    fn keeps_pages(&mut self, ino: u64) -> bool {
        let Some(known) = self.tree.last_known(ino) else {
            return false;
        };
        let time = known.times.map(|times| times.modification);
        let now = convert::seconds(fuser::TimeOrNow::Now);
        let settled = time.is_some_and(|time| time.saturating_add(SETTLED) < now);
        let state = (known.size, time);
        let Some(node) = self.tree.node_mut(ino) else {
            return false;
        };
        let same = node.paged() == Some(state);
        node.set_paged(settled.then_some(state));
        same
    }

    fn prefetch(&mut self, fh: u64) {
        let length = self.read_length;
        let size = |core: &Self, ino| core.tree.last_known(ino).and_then(|known| known.size);
        if let Some(ino) = self.files.get(&fh).map(|file| file.ino)
            && let Some(size) = size(self, ino)
            && let Some(file) = self.files.get_mut(&fh)
        {
            file.ahead.prefetch(length, size);
            self.fetch(fh);
        }
    }

    pub(super) fn read(&mut self, fh: u64, offset: u64, length: u32, reply: ReplyData) {
        if self.is_gone() {
            return self.later(move || reply.error(Errno::EIO));
        }
        let (chunk, window) = (self.read_length, self.read_window());
        let Some(ino) = self.files.get(&fh).map(|file| file.ino) else {
            return self.later(move || reply.error(Errno::EBADF));
        };
        // Not sent yet, it could not be read.
        self.send_writes(ino);
        let dirty = self.is_dirty(ino);
        let size = self.tree.last_known(ino).and_then(|known| known.size);
        let Some(file) = self.files.get_mut(&fh) else {
            return;
        };
        if dirty {
            file.ahead.forget();
        }
        let size = size.unwrap_or(u64::MAX);
        file.ahead.read(offset, length, chunk, window, size, reply);
        self.fetch(fh);
    }

    /// Sends the reads of a file that are to be sent, and answers those that
    /// can be answered.
    fn fetch(&mut self, fh: u64) {
        while let Some(file) = self.files.get_mut(&fh) {
            let Some(fetch) = file.ahead.poll_fetch() else {
                break;
            };
            let handle = file.handle.clone();
            let request = Request::Read {
                handle: &handle,
                offset: fetch.offset,
                length: fetch.length,
            };
            self.ask(&request, move |core, outcome| {
                core.fetched(fh, fetch, outcome);
            });
        }
        while let Some(ready) = self
            .files
            .get_mut(&fh)
            .and_then(|file| file.ahead.poll_ready())
        {
            let reply = ready.waiter;
            match ready.outcome {
                Ok(pieces) => self.later(move || answer_read(reply, &pieces)),
                Err(failure) => {
                    let errno = convert::errno(failure);
                    self.later(move || reply.error(errno));
                }
            }
        }
    }

    fn fetched(&mut self, fh: u64, fetch: Fetch, outcome: Outcome) {
        let Some(ino) = self.files.get(&fh).map(|file| file.ino) else {
            return;
        };
        let size = self.tree.last_known(ino).and_then(|known| known.size);
        if let Some(file) = self.files.get_mut(&fh) {
            let outcome = outcome.map_err(as_failure);
            file.ahead.filled(fetch, outcome, size.unwrap_or(u64::MAX));
            self.fetch(fh);
        }
    }

    /// What was read ahead of a file is of it no more.
    pub(super) fn forget_read(&mut self, ino: u64) {
        let mut files = self.tree.handles(ino).to_vec();
        for other in self.tree.others(ino) {
            files.extend(self.tree.handles(*other));
        }
        for fh in files {
            if let Some(file) = self.files.get_mut(&fh) {
                file.ahead.forget();
            }
        }
    }

    /// An open file for writing, by which its attributes can be changed.
    pub(super) fn writer_of(&self, ino: u64) -> Option<u64> {
        let handles = self.tree.handles(ino);
        handles
            .iter()
            .copied()
            .find(|fh| self.files.get(fh).is_some_and(|file| file.writes))
    }

    /// The peer's handle of a file that is open.
    pub(super) fn handle_of(&self, ino: u64) -> Option<Vec<u8>> {
        let handles = self.tree.handles(ino);
        let mut files = handles.iter().filter_map(|fh| self.files.get(fh));
        files.find(|file| file.sure).map(|file| file.handle.clone())
    }

    /// The last descriptor of a file is closed: nobody waits for this.
    pub(super) fn release(&mut self, fh: u64) {
        self.send_file(fh);
        let Some(mut file) = self.files.remove(&fh) else {
            return;
        };
        for reply in file.ahead.abort() {
            self.later(move || reply.error(Errno::EIO));
        }
        for reply in file.flushing {
            self.later(move || reply.ok());
        }
        if let Some(node) = self.tree.node_mut(file.ino) {
            node.remove_handle(fh);
        }
        self.tree.forget(file.ino, 0);
        let request = Request::Close {
            handle: &file.handle,
        };
        self.ask_done(&request, |_, _| {});
    }

    /// Has the peer copy from one of its files to another.
    pub(super) fn copy(
        &mut self,
        from: (u64, u64),
        to: (u64, u64),
        length: u64,
        reply: ReplyWrite,
    ) {
        let handles = (self.files.get(&from.0), self.files.get(&to.0));
        let (Some(source), Some(target)) = handles else {
            return self.later(move || reply.error(Errno::EBADF));
        };
        if !self.extensions.copy_data {
            return self.later(move || reply.error(Errno::EOPNOTSUPP));
        }
        let (source_ino, target_ino) = (source.ino, target.ino);
        let (source, target) = (source.handle.clone(), target.handle.clone());
        self.send_writes(source_ino);
        self.send_writes(target_ino);
        // The peer does not say how much it copied: its size tells.
        self.ask(
            &Request::Fstat {
                handle: &source.clone(),
            },
            move |core, outcome| {
                let said = outcome.and_then(|answer| names::attributes(&answer.response()));
                let size = match said {
                    Ok(attributes) => attributes.size.unwrap_or_default(),
                    Err(fault) => return core.later(move || reply.error(fault.errno)),
                };
                let length = length.min(MAX_COPY).min(size.saturating_sub(from.1));
                if length == 0 {
                    return core.later(move || reply.written(0));
                }
                let request = Request::CopyData {
                    from: &source,
                    from_offset: from.1,
                    length,
                    to: &target,
                    to_offset: to.1,
                };
                core.ask_done(&request, move |core, done| {
                    let now = core.now;
                    match done {
                        Ok(()) => {
                            let end = to.1.saturating_add(length);
                            core.tree.change(target_ino, now, |known| {
                                known.size = Some(known.size.unwrap_or_default().max(end));
                                known.times = Some(touched(known.times));
                            });
                            core.forget_read(target_ino);
                            let length = u32::try_from(length).unwrap_or(u32::MAX);
                            core.later(move || reply.written(length));
                        }
                        Err(fault) => core.later(move || reply.error(fault.errno)),
                    }
                });
            },
        );
    }

    /// The channel is gone: whoever reads or flushes is told.
    pub(super) fn fail_files(&mut self) {
        let mut files: Vec<_> = self.files.values_mut().collect();
        let reads: Vec<_> = files
            .iter_mut()
            .flat_map(|file| file.ahead.abort())
            .collect();
        let flushes: Vec<_> = files
            .iter_mut()
            .flat_map(|file| std::mem::take(&mut file.flushing))
            .collect();
        for reply in reads {
            self.later(move || reply.error(Errno::EIO));
        }
        for reply in flushes {
            self.later(move || reply.error(Errno::EIO));
        }
    }
}

/// The request to open a file, under a handle named here where there is one.
pub(super) fn opening(
    named: Option<u64>,
    path: &[u8],
    flags: OpenFlags,
    attributes: Attributes,
) -> Request<'_> {
    match named {
        Some(handle) => Request::OpenAs {
            handle,
            path,
            flags,
            attributes,
        },
        None => Request::Open {
            path,
            flags,
            attributes,
        },
    }
}

pub(super) fn handle_in(outcome: Outcome) -> Result<Vec<u8>, Fault> {
    outcome.and_then(|answer| match answer.response() {
        Response::Handle(handle) => Ok(handle.to_vec()),
        _ => Err(Errno::EIO.into()),
    })
}

fn answer_read(reply: ReplyData, pieces: &[Piece]) {
    match pieces {
        [] => reply.data(&[]),
        [one] => reply.data(one.bytes()),
        many => {
            let joined: Vec<&[u8]> = many.iter().map(Piece::bytes).collect();
            reply.data(&joined.concat());
        }
    }
}

/// A fault as an answer of the peer, for what keeps those.
pub(super) fn as_failure(fault: Fault) -> Failure {
    fault.failure.unwrap_or(Failure {
        status: Status::Failure,
        errno: u32::try_from(i32::from(fault.errno)).ok(),
    })
}
