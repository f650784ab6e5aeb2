//! Making files: awaited where something can stand in the way, unawaited where
//! nothing does.

use std::time::Duration;

use fuser::{Errno, FileHandle, FopenFlags, Generation, OpenFlags as KernelFlags, ReplyCreate};
use qvd_sftp::{Attributes, OpenFlags, Request};

use super::attributes::touched;
use super::convert;
use super::core::Core;
use super::files::{handle_in, opening};
use super::names;
use super::tree::{Known, LEASE};

impl Core {
    pub(super) fn create(
        &mut self,
        parent: u64,
        name: &[u8],
        mode: u32,
        flags: KernelFlags,
        reply: ReplyCreate,
    ) {
        let path = match self.place(parent, name) {
            Ok(path) => path,
            Err(errno) => return self.later(move || reply.error(errno)),
        };
        let open = convert::open_flags(flags).with(OpenFlags::CREATE);
        let mode = mode & convert::SHOWN;
        let name = name.to_vec();
        let named = self.name_handle();
        let request = opening(named, &path, open, Attributes::with_mode(mode));
        let made = Attributes {
            size: Some(0),
            owner: self.owner,
            mode: Some(convert::REGULAR | mode),
            times: Some(touched(None)),
        };
        // In a folder that was made here nothing stands in the way of a new
        // name; what does nevertheless is told by `close`. A lock file is for
        // one alone, and is awaited.
        if let Some(named) = named
            && !self.is_gone()
            && !open.has(OpenFlags::EXCLUSIVE)
            && self.tree.is_own(parent, self.now)
            && matches!(self.tree.look(parent, &name, self.now), Known::Absent)
        {
            return self.create_unawaited(parent, &name, &request, (named, open), made, reply);
        }
        let look = Request::Lstat { path: &path };
        self.ask_both(&request, &look, move |core, opened, looked| {
            let handle = match handle_in(opened) {
                Ok(handle) => handle,
                Err(fault) => {
                    let guess = if open.has(OpenFlags::EXCLUSIVE) {
                        Errno::EEXIST
                    } else {
                        Errno::EIO
                    };
                    let errno = names::guessed(fault, guess);
                    return core.later(move || reply.error(errno));
                }
            };
            let looked = looked.and_then(|answer| names::attributes(&answer.response()));
            let attributes = looked.unwrap_or(made);
            let now = core.now;
            core.tree.added(parent, &name, attributes, now);
            let ino = core.tree.found(parent, &name, attributes, now);
            let fh = core.handle();
            core.opened(fh, ino, handle, open, true);
            let attr = convert::attr(ino, &attributes, core.owner);
            core.later(move || {
                let flags = FopenFlags::empty();
                reply.created(&LEASE, &attr, Generation(0), FileHandle(fh), flags);
            });
        });
    }

    /// Makes a file without awaiting it.
    fn create_unawaited(
        &mut self,
        parent: u64,
        name: &[u8],
        request: &Request<'_>,
        (named, open): (u64, OpenFlags),
        made: Attributes,
        reply: ReplyCreate,
    ) {
        let now = self.now;
        self.tree.added(parent, name, made, now);
        let ino = self.tree.found(parent, name, made, now);
        let fh = self.handle();
        self.opened(fh, ino, named.to_be_bytes().into(), open, true);
        if let Some(file) = self.files.get_mut(&fh) {
            file.dirty = true;
            file.behind.also_sent();
        }
        self.ask(request, move |core, outcome| {
            let made = handle_in(outcome).map(|_| ());
            if made.is_err() {
                core.tree.unmade(ino);
            }
            core.answered(fh, made);
        });
        let attr = convert::attr(ino, &made, self.owner);
        self.later(move || {
            // The kernel asks again: what it is told then is known here.
            let flags = FopenFlags::empty();
            let time = Duration::ZERO;
            reply.created(&time, &attr, Generation(0), FileHandle(fh), flags);
        });
    }
}
