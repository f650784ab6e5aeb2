//! Listing folders: many packets at once, and what was seen is kept.

use std::time::{Duration, Instant};

use fuser::{
    Errno, FileHandle, FopenFlags, Generation, INodeNo, ReplyDirectory, ReplyDirectoryPlus,
    ReplyOpen,
};
use qvd_sftp::{Attributes, Request, Response, Status};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::convert;
use super::core::{Core, Fault, Outcome};
use super::files::handle_in;
use super::tree::Tree;

/// Packets asked for at first. A server of ours puts some 500 names into one,
/// OpenSSH's a hundred.
const FIRST: u32 = 16;
const FIRST_OF_MANY: u32 = 32;

/// Most packets asked for at once.
const MOST: u32 = 128;

/// Names looked up in vain in a folder before it is listed unasked.
const MISSES: u32 = 3;

/// Most names of a folder that is listed unasked.
const MOST_UNASKED: usize = 10_000;

/// An open folder.
pub(super) struct Folder {
    ino: u64,
    /// Nobody has it open: it is listed to be known.
    unasked: bool,
    /// When it was opened, unless its names were known.
    asked: Option<Instant>,
    handle: Vec<u8>,
    entries: Entries,
    whole: bool,
    /// It was read from its beginning.
    begun: bool,
    fault: Option<Errno>,
    under_way: u32,
    batch: u32,
    waiting: Vec<(u64, Listing)>,
}

/// Names and what is known of them: in two rows, since there may be very many.
#[derive(Default)]
pub(super) struct Entries {
    names: Vec<u8>,
    /// Where each name ends, with its attributes.
    ends: Vec<(usize, Attributes)>,
}

impl Entries {
    pub(super) fn push(&mut self, name: &[u8], attributes: Attributes) {
        self.names.extend_from_slice(name);
        self.ends.push((self.names.len(), attributes));
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, at: usize) -> Option<(&[u8], Attributes)> {
        let (end, attributes) = self.ends.get(at)?;
        let before = at.checked_sub(1).and_then(|at| self.ends.get(at));
        let begin = before.map_or(0, |(end, _)| *end);
        Some((self.names.get(begin..*end)?, *attributes))
    }

    fn from(&self, at: usize) -> impl ExactSizeIterator<Item = (&[u8], Attributes)> {
        let range = at.min(self.len())..self.len();
        range.map(|at| self.get(at).unwrap_or((&[], Attributes::NONE)))
    }
}

impl Folder {
    fn new(ino: u64, asked: Option<Instant>) -> Self {
        Self {
            ino,
            unasked: false,
            asked,
            handle: Vec::new(),
            entries: Entries::default(),
            whole: false,
            begun: false,
            fault: None,
            under_way: 0,
            batch: 0,
            waiting: Vec::new(),
        }
    }
}

/// A wish for the names from some place on.
pub(super) enum Listing {
    Names(ReplyDirectory),
    Plus(ReplyDirectoryPlus),
}

impl Listing {
    fn error(self, errno: Errno) {
        match self {
            Self::Names(reply) => reply.error(errno),
            Self::Plus(reply) => reply.error(errno),
        }
    }
}

impl Core {
    pub(super) fn opendir(&mut self, ino: u64, reply: ReplyOpen) {
        if self.is_gone() {
            return self.later(move || reply.error(Errno::EIO));
        }
        let now = self.now;
        if let Some(entries) = self.tree.names(ino, now) {
            let mut folder = Folder::new(ino, None);
            folder.entries = entries;
            folder.whole = true;
            let fh = self.handle();
            self.folders.insert(fh, folder);
            return self.later(move || reply.opened(FileHandle(fh), FopenFlags::empty()));
        }
        let Some(path) = self.tree.path(ino) else {
            return self.later(move || reply.error(Errno::ENOENT));
        };
        if ino == Tree::ROOT && self.is_out() && self.extensions.named_handles {
            // `df` opens what it looks at, and nothing more: only who reads on
            // is to wait.
            let fh = self.handle();
            self.ask_folder(fh, Folder::new(ino, Some(now)), &path, |_, _| {});
            return self.later(move || reply.opened(FileHandle(fh), FopenFlags::empty()));
        }
        self.open_folder(ino, &path, false, move |core, opened| match opened {
            Ok(fh) => core.later(move || reply.opened(FileHandle(fh), FopenFlags::empty())),
            Err(fault) => core.later(move || reply.error(fault.errno)),
        });
    }

    /// Opens a folder and asks for its names: in one round trip where the
    /// handle can be named.
    fn open_folder(
        &mut self,
        ino: u64,
        path: &[u8],
        unasked: bool,
        job: impl FnOnce(&mut Self, Result<u64, Fault>) + Send + 'static,
    ) {
        let fh = self.handle();
        let mut folder = Folder::new(ino, Some(self.now));
        folder.unasked = unasked;
        self.ask_folder(fh, folder, path, job);
    }

    /// Opens a folder as `fh`.
    fn ask_folder(
        &mut self,
        fh: u64,
        mut folder: Folder,
        path: &[u8],
        job: impl FnOnce(&mut Self, Result<u64, Fault>) + Send + 'static,
    ) {
        folder.batch = if self.extensions.errno {
            FIRST
        } else {
            FIRST_OF_MANY
        };
        let Some(handle) = self.name_handle() else {
            return self.ask(&Request::Opendir { path }, move |core, outcome| {
                let opened = handle_in(outcome).map(|handle| {
                    folder.handle = handle;
                    core.folders.insert(fh, folder);
                    core.ask_names(fh);
                    fh
                });
                job(core, opened);
            });
        };
        folder.handle = handle.to_be_bytes().into();
        self.folders.insert(fh, folder);
        self.ask(
            &Request::OpendirAs { handle, path },
            move |core, outcome| {
                let opened = handle_in(outcome).map(|_| fh);
                if opened.is_err() {
                    core.folders.remove(&fh);
                }
                job(core, opened);
            },
        );
        self.ask_names(fh);
    }

    /// A name was looked up in vain: after some of these the folder is listed,
    /// which answers those that follow.
    pub(super) fn missed(&mut self, parent: u64) {
        if self.tree.missed(parent, self.now) != MISSES
            || self.folders.values().any(|folder| folder.ino == parent)
        {
            return;
        }
        self.list_unasked(parent);
    }

    /// Lists a folder to know it.
    pub(super) fn list_unasked(&mut self, parent: u64) {
        let Some(path) = self.tree.path(parent) else {
            return;
        };
        // It was nobody's wish: nobody is told that it failed.
        self.open_folder(parent, &path, true, |_, _| {});
    }

    fn ask_names(&mut self, fh: u64) {
        let Some(folder) = self.folders.get_mut(&fh) else {
            return;
        };
        let count = folder.batch;
        folder.under_way = count;
        folder.batch = count.saturating_mul(8).min(MOST);
        let handle = folder.handle.clone();
        for _ in 0..count {
            let request = Request::Readdir { handle: &handle };
            self.ask(&request, move |core, outcome| core.names(fh, outcome));
        }
    }

    fn names(&mut self, fh: u64, outcome: Outcome) {
        let Some(folder) = self.folders.get_mut(&fh) else {
            return;
        };
        folder.under_way = folder.under_way.saturating_sub(1);
        match outcome {
            Ok(answer) => {
                if let Response::Names(names) = answer.response() {
                    for entry in names.filter(|entry| is_name(entry.name)) {
                        folder.entries.push(entry.name, entry.attributes);
                    }
                } else {
                    folder.fault = Some(Errno::EIO);
                }
            }
            Err(fault) if fault.failure.map(|f| f.status) == Some(Status::EndOfFile) => {
                folder.whole = true;
            }
            Err(fault) => folder.fault = Some(fault.errno),
        }
        // Whoever lists it gets what is there while the rest comes.
        for (offset, reply) in std::mem::take(&mut folder.waiting) {
            self.readdir(fh, offset, reply);
        }
        let Some(folder) = self.folders.get_mut(&fh) else {
            return;
        };
        if folder.under_way > 0 {
            return;
        }
        if folder.unasked && folder.entries.len() > MOST_UNASKED {
            return self.releasedir(fh);
        }
        if !folder.whole && folder.fault.is_none() {
            return self.ask_names(fh);
        }
        self.listed(fh);
    }

    /// Everything is there, or will not be.
    fn listed(&mut self, fh: u64) {
        let Some(folder) = self.folders.get_mut(&fh) else {
            return;
        };
        let waiting = std::mem::take(&mut folder.waiting);
        let unasked = folder.unasked;
        if folder.whole && folder.fault.is_none() {
            let (ino, now) = (folder.ino, self.now);
            let asked = folder.asked.unwrap_or(now);
            let dirty = self.dirty();
            if let Some(folder) = self.folders.get(&fh) {
                let keeps = |ino| dirty.contains(&ino);
                let entries = folder.entries.from(0);
                self.tree.listed(ino, entries, asked, now, keeps);
            }
        }
        for (offset, reply) in waiting {
            self.readdir(fh, offset, reply);
        }
        if unasked {
            self.releasedir(fh);
        }
    }

    pub(super) fn readdir(&mut self, fh: u64, offset: u64, mut reply: Listing) {
        let Some(folder) = self.folders.get_mut(&fh) else {
            return self.later(move || reply.error(Errno::EBADF));
        };
        // Rewound, it is read as it is now.
        if offset == 0 && std::mem::replace(&mut folder.begun, true) && folder.whole {
            return self.list_anew(fh, reply);
        }
        let count = u64::try_from(folder.entries.len()).unwrap_or(u64::MAX);
        let is_there = count.saturating_add(2) > offset && count > 0;
        if !is_there {
            if let Some(errno) = folder.fault {
                return self.later(move || reply.error(errno));
            }
            if !folder.whole || folder.under_way > 0 {
                folder.waiting.push((offset, reply));
                return;
            }
        }
        let (ino, asked) = (folder.ino, folder.asked);
        let entries = std::mem::take(&mut folder.entries);
        self.fill((ino, asked), &entries, offset, &mut reply);
        if let Some(folder) = self.folders.get_mut(&fh) {
            folder.entries = entries;
        }
        self.later(move || match reply {
            Listing::Names(reply) => reply.ok(),
            Listing::Plus(reply) => reply.ok(),
        });
    }

    fn list_anew(&mut self, fh: u64, reply: Listing) {
        let Some(old) = self.folders.remove(&fh) else {
            return;
        };
        self.close_folder(&old.handle);
        let mut folder = Folder::new(old.ino, Some(self.now));
        if let Some(entries) = self.tree.names(old.ino, self.now) {
            folder.asked = None;
            folder.entries = entries;
            folder.whole = true;
            self.folders.insert(fh, folder);
            return self.readdir(fh, 0, reply);
        }
        let Some(path) = self.tree.path(old.ino) else {
            // Of a folder that is gone there is nothing to be read.
            folder.whole = true;
            self.folders.insert(fh, folder);
            return self.readdir(fh, 0, reply);
        };
        self.ask_folder(fh, folder, &path, move |core, opened| match opened {
            Ok(fh) => core.readdir(fh, 0, reply),
            Err(fault) => core.later(move || reply.error(fault.errno)),
        });
    }

    fn fill(
        &mut self,
        (ino, asked): (u64, Option<Instant>),
        entries: &Entries,
        offset: u64,
        reply: &mut Listing,
    ) {
        let parent = self.tree.node(ino).map_or(Tree::ROOT, |node| node.parent);
        let dots = [(b".".as_slice(), ino), (b"..".as_slice(), parent)];
        let own = Attributes::with_mode(convert::FOLDER | 0o755);
        let mut next = offset;
        for (name, number) in dots.into_iter().skip(usize::try_from(offset).unwrap_or(2)) {
            next += 1;
            let name = OsStr::from_bytes(name);
            let full = match reply {
                Listing::Names(reply) => {
                    reply.add(INodeNo(number), next, fuser::FileType::Directory, name)
                }
                Listing::Plus(reply) => {
                    let attr = convert::attr(number, &own, self.owner);
                    reply.add(
                        INodeNo(number),
                        next,
                        name,
                        &Duration::ZERO,
                        &attr,
                        Generation(0),
                    )
                }
            };
            if full {
                return;
            }
        }
        let skip = usize::try_from(offset.saturating_sub(2)).unwrap_or(usize::MAX);
        let now = self.now;
        for (name, attributes) in entries.from(skip) {
            next += 1;
            let known = self.tree.number(ino, name);
            let shown = OsStr::from_bytes(name);
            let full = match reply {
                Listing::Names(reply) => {
                    // Any number that is not 0 does: `stat` tells the real one.
                    let number = known.unwrap_or(u64::MAX - 1);
                    reply.add(INodeNo(number), next, convert::kind(&attributes), shown)
                }
                Listing::Plus(reply) => {
                    // What is being written is known better here.
                    let dirty = known.is_some_and(|number| self.is_dirty(number));
                    let asked = asked.filter(|_| !dirty);
                    let known = self.tree.shown(ino, name, attributes, asked, now);
                    let (number, attributes) = known;
                    let fresh = self.tree.fresh(number, now);
                    let time = fresh.map_or(Duration::ZERO, |(_, left)| left);
                    let attr = convert::attr(number, &attributes, self.owner);
                    let full = reply.add(INodeNo(number), next, shown, &time, &attr, Generation(0));
                    if full {
                        self.tree.forget(number, 1);
                    }
                    full
                }
            };
            if full {
                return;
            }
        }
    }

    pub(super) fn releasedir(&mut self, fh: u64) {
        let Some(folder) = self.folders.remove(&fh) else {
            return;
        };
        for (_, reply) in folder.waiting {
            self.later(move || reply.error(Errno::EIO));
        }
        self.close_folder(&folder.handle);
    }

    /// Closes at the peer what was opened there. Nobody waits for it.
    fn close_folder(&mut self, handle: &[u8]) {
        if !handle.is_empty() {
            self.ask_done(&Request::Close { handle }, |_, _| {});
        }
    }

    pub(super) fn fail_folders(&mut self) {
        let mut folders: Vec<_> = self.folders.values_mut().collect();
        let waiting: Vec<_> = folders
            .iter_mut()
            .flat_map(|folder| {
                folder.fault = Some(Errno::EIO);
                std::mem::take(&mut folder.waiting)
            })
            .collect();
        for (_, reply) in waiting {
            self.later(move || reply.error(Errno::EIO));
        }
    }
}

/// Whether a peer's name is one: a component, and not a dot.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name != b"."
        && name != b".."
        && !name.iter().any(|b| matches!(b, b'/' | 0))
        && name.len() <= 255
}
