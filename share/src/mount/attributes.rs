//! Attributes of files, and of the file system.

use fuser::{AccessFlags, Errno, ReplyAttr, ReplyEmpty, ReplyStatfs};
use qvd_sftp::{Attributes, Request, Times};

use super::convert;
use super::core::{Core, Fault, Outcome};
use super::names;
use super::tree::{LEASE, Tree};

/// What is to be changed of a file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Change {
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) size: Option<u64>,
    pub(super) access: Option<u32>,
    pub(super) modification: Option<u32>,
}

impl Core {
    pub(super) fn getattr(&mut self, ino: u64, reply: ReplyAttr) {
        if self.is_gone() {
            return self.later(move || reply.error(Errno::EIO));
        }
        // What was written here and not answered yet is known best here.
        let known = if self.is_dirty(ino) {
            self.tree.last_known(ino).map(|known| (known, LEASE))
        } else {
            self.tree.fresh(ino, self.now)
        };
        if let Some((attributes, time)) = known {
            let time = self.tree.lease(ino, time);
            let attr = convert::attr(ino, &attributes, self.owner);
            return self.later(move || reply.attr(&time, &attr));
        }
        // What was written by another name is part of the answer.
        self.send_writes(ino);
        let said = |outcome: Outcome| names::attributes(&outcome?.response());
        let job = move |core: &mut Self, said: Result<Attributes, Fault>| match said {
            Ok(attributes) => core.answer_attr(ino, attributes, reply),
            Err(fault) => core.later(move || reply.error(fault.errno)),
        };
        if ino == Tree::ROOT
            && let Some(last) = self.tree.last_known(ino)
        {
            let request = Request::Lstat { path: b"." };
            self.ask_briefly(&request, move |core, outcome| {
                job(core, outcome.map_or(Ok(last), said));
            });
        } else if let Some(handle) = self.handle_of(ino) {
            let request = Request::Fstat { handle: &handle };
            self.ask(&request, move |core, outcome| job(core, said(outcome)));
        } else if let Some(path) = self.tree.path(ino) {
            let request = Request::Lstat { path: &path };
            self.ask(&request, move |core, outcome| job(core, said(outcome)));
        } else {
            job(self, Err(Errno::ENOENT.into()));
        }
    }

    fn answer_attr(&mut self, ino: u64, attributes: Attributes, reply: ReplyAttr) {
        let now = self.now;
        // Written to while the peer was asked: what is known here is newer.
        let attributes = if self.is_dirty(ino) {
            self.tree.last_known(ino).unwrap_or(attributes)
        } else {
            self.tree.learn(ino, attributes, now);
            attributes
        };
        let attr = convert::attr(ino, &attributes, self.owner);
        let time = self.tree.lease(ino, LEASE);
        self.later(move || reply.attr(&time, &attr));
    }

    pub(super) fn setattr(&mut self, ino: u64, change: Change, reply: ReplyAttr) {
        if self.is_gone() {
            return self.later(move || reply.error(Errno::EIO));
        }
        let Some(known) = self.tree.last_known(ino) else {
            // Times and owners go in pairs: the other half has to be known.
            return self.learn_first(ino, change, reply);
        };
        let wanted = self.wanted(&known, change);
        if wanted == Attributes::NONE {
            return self.getattr(ino, reply);
        }
        self.send_writes(ino);
        if wanted.size.is_some() {
            self.forget_read(ino);
        }
        let after = applied(known, wanted);
        // A file that is being written: its failures are told by `close`.
        if change.size.is_none()
            && let Some(fh) = self.writer_of(ino)
        {
            let now = self.now;
            self.set_unawaited(fh, wanted);
            self.tree.change(ino, now, |attributes| *attributes = after);
            let attr = convert::attr(ino, &after, self.owner);
            let time = self.tree.lease(ino, LEASE);
            return self.later(move || reply.attr(&time, &attr));
        }
        let job = move |core: &mut Self, done: Result<(), Fault>| match done {
            Ok(()) => {
                let now = core.now;
                core.tree.change(ino, now, |attributes| {
                    *attributes = applied(*attributes, wanted);
                    if let (Some(_), None) = (wanted.size, wanted.times) {
                        attributes.times = Some(touched(attributes.times));
                    }
                });
                if wanted.size.is_some() {
                    core.forget_read(ino);
                }
                core.getattr(ino, reply);
            }
            Err(fault) => {
                let errno = names::guessed(fault, Errno::EPERM);
                core.later(move || reply.error(errno));
            }
        };
        let attributes = wanted;
        if let Some(fh) = self.writer_of(ino)
            && let Some(file) = self.files.get(&fh)
        {
            let handle = file.handle.clone();
            let request = Request::Fsetstat {
                handle: &handle,
                attributes,
            };
            self.ask_done(&request, job);
        } else if let Some(path) = self.tree.path(ino) {
            let request = Request::Setstat {
                path: &path,
                attributes,
            };
            let of_link = known.file_type() == 0o120_000 && self.extensions.lsetstat;
            let link_request = Request::Lsetstat {
                path: &path,
                attributes,
            };
            self.ask_done(if of_link { &link_request } else { &request }, job);
        } else {
            job(self, Err(Errno::ENOENT.into()));
        }
    }

    fn learn_first(&mut self, ino: u64, change: Change, reply: ReplyAttr) {
        let Some(path) = self.tree.path(ino) else {
            return self.later(move || reply.error(Errno::ENOENT));
        };
        self.ask(&Request::Lstat { path: &path }, move |core, outcome| {
            let said = outcome.and_then(|answer| names::attributes(&answer.response()));
            match said {
                Ok(attributes) => {
                    let now = core.now;
                    core.tree.learn(ino, attributes, now);
                    core.setattr(ino, change, reply);
                }
                Err(fault) => core.later(move || reply.error(fault.errno)),
            }
        });
    }

    /// The peer's terms for a change; nothing where nothing changes.
    fn wanted(&self, known: &Attributes, change: Change) -> Attributes {
        let mut wanted = Attributes::NONE;
        wanted.size = change.size;
        wanted.mode = change.mode.map(|mode| mode & convert::SHOWN);
        if change.uid.is_some() || change.gid.is_some() {
            let present = known.owner.or(self.owner).unwrap_or_default();
            let owner = convert::peer_owner((change.uid, change.gid), present, self.owner);
            wanted.owner = Some(owner).filter(|owner| *owner != present);
        }
        if change.access.is_some() || change.modification.is_some() {
            let present = known.times.unwrap_or_default();
            wanted.times = Some(Times {
                access: change.access.unwrap_or(present.access),
                modification: change.modification.unwrap_or(present.modification),
            });
        }
        wanted
    }

    pub(super) fn access(&mut self, ino: u64, mask: AccessFlags, reply: ReplyEmpty) {
        if self.is_gone() {
            return self.later(move || reply.error(Errno::EIO));
        }
        if mask.contains(AccessFlags::W_OK) && self.read_only {
            return self.later(move || reply.error(Errno::EROFS));
        }
        let known = self.tree.last_known(ino).unwrap_or(Attributes::NONE);
        let mode = known.mode.unwrap_or(0o777);
        // The sharing user's rights are what counts there; others' files are
        // left to the peer to refuse.
        let own = known.owner.is_none() || known.owner.map(|o| o.0) == self.owner.map(|o| o.0);
        let lacks = |flag: AccessFlags, bit: u32| mask.contains(flag) && mode & bit == 0;
        let root = self.owner.is_some_and(|owner| owner.0 == 0);
        let refused = (mask.contains(AccessFlags::X_OK) && mode & 0o111 == 0)
            || (own
                && !root
                && (lacks(AccessFlags::R_OK, 0o400) || lacks(AccessFlags::W_OK, 0o200)));
        self.later(move || {
            if refused {
                reply.error(Errno::EACCES);
            } else {
                reply.ok();
            }
        });
    }

    pub(super) fn statfs(&mut self, reply: ReplyStatfs) {
        if !self.extensions.statvfs {
            let gone = self.is_gone();
            return self.later(move || {
                if gone {
                    reply.error(Errno::EIO);
                } else {
                    reply.statfs(0, 0, 0, 0, 0, 4096, 255, 4096);
                }
            });
        }
        let job = move |core: &mut Self, outcome: Option<Outcome>| {
            let said = outcome.map(|outcome| {
                let answer = outcome?;
                let known = answer.response().file_system();
                known.ok_or(Fault::from(Errno::EIO))
            });
            if let Some(Ok(known)) = said {
                core.file_system = Some(known);
            }
            let last = core.file_system.ok_or(Fault::from(Errno::EIO));
            let said = said.unwrap_or(last);
            core.later(move || match said {
                Ok(known) => {
                    let short = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
                    reply.statfs(
                        known.blocks,
                        known.free,
                        known.available,
                        known.files,
                        known.files_free,
                        short(known.block_size),
                        short(known.name_max),
                        short(known.fragment_size),
                    );
                }
                Err(fault) => reply.error(fault.errno),
            });
        };
        let request = Request::Statvfs { path: b"." };
        if self.file_system.is_some() {
            self.ask_briefly(&request, job);
        } else {
            self.ask(&request, move |core, outcome| job(core, Some(outcome)));
        }
    }
}

/// Attributes as they are after a change.
pub(super) fn applied(mut known: Attributes, change: Attributes) -> Attributes {
    if let Some(size) = change.size {
        known.size = Some(size);
    }
    if let Some(mode) = change.mode {
        known.mode = Some(known.file_type() | mode);
    }
    known.owner = change.owner.or(known.owner);
    known.times = change.times.or(known.times);
    known
}

/// Times of what was written now.
pub(super) fn touched(times: Option<Times>) -> Times {
    Times {
        access: times.unwrap_or_default().access,
        modification: convert::seconds(fuser::TimeOrNow::Now),
    }
}
