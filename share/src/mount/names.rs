//! Names: looking them up, making, removing and changing them.

use std::time::Duration;

use fuser::{Errno, Generation, INodeNo, ReplyData, ReplyEmpty, ReplyEntry};
use qvd_sftp::{Attributes, Request, Response};

use super::convert::{self, REGULAR};
use super::core::{Core, Fault, Outcome, done};
use super::tree::{Known, LEASE};

/// Most bytes of a name.
const MAX_NAME: usize = 255;

const LINK: u32 = 0o120_000;

impl Core {
    /// The path of a name, where it can be one.
    pub(super) fn place(&self, parent: u64, name: &[u8]) -> Result<Vec<u8>, Errno> {
        if name.len() > MAX_NAME {
            return Err(Errno::ENAMETOOLONG);
        }
        self.tree.child_path(parent, name).ok_or(Errno::ENOENT)
    }

    /// Tells the kernel of a name.
    pub(super) fn entry(
        &mut self,
        parent: u64,
        name: &[u8],
        attributes: Attributes,
        time: Duration,
        reply: ReplyEntry,
    ) {
        let now = self.now;
        let ino = self.tree.found(parent, name, attributes, now);
        let attr = convert::attr(ino, &attributes, self.owner);
        let time = self.tree.lease(ino, time);
        self.later(move || reply.entry(&time, &attr, Generation(0)));
    }

    pub(super) fn lookup(&mut self, parent: u64, name: &[u8], reply: ReplyEntry) {
        if self.is_gone() {
            return self.later(move || reply.error(Errno::EIO));
        }
        let path = match self.place(parent, name) {
            Ok(path) => path,
            Err(errno) => return self.later(move || reply.error(errno)),
        };
        match self.tree.look(parent, name, self.now) {
            Known::There(attributes, time) => self.entry(parent, name, attributes, time, reply),
            Known::Absent => self.later(move || reply.error(Errno::ENOENT)),
            Known::Unknown => {
                if let Some(ino) = self.tree.number(parent, name) {
                    self.send_writes(ino);
                }
                let name = name.to_vec();
                self.ask(&Request::Lstat { path: &path }, move |core, outcome| {
                    core.answer_entry(parent, &name, outcome, None, reply);
                });
                self.missed(parent);
            }
        }
    }

    /// Answers with what the peer says of a name; `made`: what it is known to
    /// be where the peer does not say.
    fn answer_entry(
        &mut self,
        parent: u64,
        name: &[u8],
        outcome: Outcome,
        made: Option<Attributes>,
        reply: ReplyEntry,
    ) {
        let said = outcome.and_then(|answer| attributes(&answer.response()));
        match (said, made) {
            (Ok(attributes), _) | (Err(_), Some(attributes)) => {
                let attributes = self.local(parent, name, attributes);
                self.entry(parent, name, attributes, LEASE, reply);
            }
            (Err(fault), None) => self.later(move || reply.error(fault.errno)),
        }
    }

    /// What the peer says of a file, put right by writes of ours that it has
    /// not seen.
    fn local(&self, parent: u64, name: &[u8], attributes: Attributes) -> Attributes {
        match self.tree.number(parent, name) {
            Some(ino) if self.is_dirty(ino) => self.tree.last_known(ino).unwrap_or(attributes),
            _ => attributes,
        }
    }

    pub(super) fn mkdir(&mut self, parent: u64, name: &[u8], mode: u32, reply: ReplyEntry) {
        let path = match self.place(parent, name) {
            Ok(path) => path,
            Err(errno) => return self.later(move || reply.error(errno)),
        };
        let mode = mode & convert::SHOWN;
        let request = Request::Mkdir {
            path: &path,
            attributes: Attributes::with_mode(mode),
        };
        let made = Attributes::with_mode(convert::FOLDER | mode);
        self.make(&request, &path, (parent, name), made, reply);
    }

    pub(super) fn symlink(&mut self, parent: u64, name: &[u8], target: &[u8], reply: ReplyEntry) {
        let path = match self.place(parent, name) {
            Ok(path) => path,
            Err(errno) => return self.later(move || reply.error(errno)),
        };
        let depth = path.iter().filter(|b| **b == b'/').count();
        if inside(depth, target).is_none() {
            return self.later(move || reply.error(Errno::EPERM));
        }
        let request = Request::Symlink {
            target,
            link: &path,
        };
        let made = Attributes {
            size: u64::try_from(target.len()).ok(),
            ..Attributes::with_mode(LINK | 0o777)
        };
        self.make(&request, &path, (parent, name), made, reply);
    }

    pub(super) fn link(&mut self, ino: u64, parent: u64, name: &[u8], reply: ReplyEntry) {
        let paths = self
            .place(parent, name)
            .and_then(|to| Ok((self.tree.path(ino).ok_or(Errno::ENOENT)?, to)));
        let (from, to) = match paths {
            Ok(paths) => paths,
            Err(errno) => return self.later(move || reply.error(errno)),
        };
        if !self.extensions.hardlink {
            return self.later(move || reply.error(Errno::EPERM));
        }
        self.send_writes(ino);
        let known = self.tree.last_known(ino);
        let made = known.unwrap_or(Attributes::with_mode(REGULAR | 0o644));
        let request = Request::Hardlink {
            from: &from,
            to: &to,
        };
        let one = Some(ino);
        self.make_link(&request, &to, (parent, name), made, one, reply);
    }

    /// Makes a name, and looks at it in the same round trip.
    fn make(
        &mut self,
        request: &Request<'_>,
        path: &[u8],
        (parent, name): (u64, &[u8]),
        made: Attributes,
        reply: ReplyEntry,
    ) {
        self.make_link(request, path, (parent, name), made, None, reply);
    }

    /// The same; `linked`: the file to which it is to be a hard link.
    fn make_link(
        &mut self,
        request: &Request<'_>,
        path: &[u8],
        (parent, name): (u64, &[u8]),
        made: Attributes,
        linked: Option<u64>,
        reply: ReplyEntry,
    ) {
        let name = name.to_vec();
        let look = Request::Lstat { path };
        self.ask_both(request, &look, move |core, made_it, looked| {
            if let Err(fault) = made_it.and_then(|answer| done(&answer)) {
                let errno = guessed(fault, Errno::EEXIST);
                return core.later(move || reply.error(errno));
            }
            let said = looked.and_then(|answer| attributes(&answer.response()));
            let attributes = said.unwrap_or(made);
            let now = core.now;
            core.tree.added(parent, &name, attributes, now);
            core.entry(parent, &name, attributes, LEASE, reply);
            if let Some(one) = linked
                && let Some(other) = core.tree.number(parent, &name)
            {
                core.linked(one, other);
            }
            if attributes.file_type() == convert::FOLDER
                && let Some(ino) = core.tree.number(parent, &name)
            {
                let now = core.now;
                core.tree.made(ino, now);
            }
        });
    }

    /// A name was made a hard link to a file.
    fn linked(&mut self, one: u64, other: u64) {
        self.tree.linked(one, other);
        for ino in [one, other] {
            if let Some(notifier) = self.notifier.clone() {
                // What the kernel knows of it holds no longer by itself.
                self.later(move || drop(notifier.inval_inode(INodeNo(ino), -1, 0)));
            }
        }
    }

    pub(super) fn remove(&mut self, parent: u64, name: &[u8], folder: bool, reply: ReplyEmpty) {
        let path = match self.place(parent, name) {
            Ok(path) => path,
            Err(errno) => return self.later(move || reply.error(errno)),
        };
        let name = name.to_vec();
        let job = move |core: &mut Self, done: Result<(), Fault>| match done {
            Ok(()) => {
                core.tree.removed(parent, &name);
                core.later(move || reply.ok());
            }
            Err(fault) => {
                let guess = if folder { Errno::ENOTEMPTY } else { Errno::EIO };
                let errno = guessed(fault, guess);
                core.later(move || reply.error(errno));
            }
        };
        if folder {
            self.ask_done(&Request::Rmdir { path: &path }, job);
        } else {
            self.ask_done(&Request::Remove { path: &path }, job);
        }
    }

    pub(super) fn rename(
        &mut self,
        from: (u64, &[u8]),
        to: (u64, &[u8]),
        replace: bool,
        reply: ReplyEmpty,
    ) {
        let paths = self
            .place(from.0, from.1)
            .and_then(|old| Ok((old, self.place(to.0, to.1)?)));
        let (old, new) = match paths {
            Ok(paths) => paths,
            Err(errno) => return self.later(move || reply.error(errno)),
        };
        let request = if replace && self.extensions.posix_rename {
            Request::PosixRename {
                from: &old,
                to: &new,
            }
        } else {
            Request::Rename {
                from: &old,
                to: &new,
            }
        };
        if let Some(ino) = self.tree.number(from.0, from.1) {
            self.send_writes(ino);
        }
        let (from, to) = ((from.0, from.1.to_vec()), (to.0, to.1.to_vec()));
        self.ask_done(&request, move |core, done| match done {
            Ok(()) => {
                let tree = &mut core.tree;
                let numbers = (tree.number(from.0, &from.1), tree.number(to.0, &to.1));
                match numbers {
                    // Of two names of one file both stay; the kernel has moved
                    // one nevertheless.
                    (Some(one), Some(other)) if tree.others(one).contains(&other) => {
                        tree.exchanged(one, other);
                    }
                    _ => tree.renamed((from.0, &from.1), (to.0, &to.1)),
                }
                core.later(move || reply.ok());
            }
            Err(fault) => {
                let guess = if replace { Errno::EIO } else { Errno::EEXIST };
                let errno = guessed(fault, guess);
                core.later(move || reply.error(errno));
            }
        });
    }

    /// A link's target, where it leads to something in the mount.
    pub(super) fn readlink(&mut self, ino: u64, reply: ReplyData) {
        let Some(path) = self.tree.path(ino) else {
            return self.later(move || reply.error(Errno::ENOENT));
        };
        self.ask(&Request::Readlink { path: &path }, move |core, outcome| {
            let depth = core.tree.depth(ino);
            let target = outcome.and_then(|answer| match answer.response() {
                Response::Names(mut names) => names
                    .next()
                    .and_then(|target| inside(depth, target.name))
                    .ok_or(Errno::EPERM.into()),
                _ => Err(Errno::EIO.into()),
            });
            core.later(move || match target {
                Ok(target) => reply.data(&target),
                Err(fault) => reply.error(fault.errno),
            });
        });
    }
}

/// The attributes of an answer that has some.
pub(super) fn attributes(response: &Response<'_>) -> Result<Attributes, Fault> {
    match response {
        Response::Attributes(attributes) => Ok(*attributes),
        _ => Err(Errno::EIO.into()),
    }
}

/// The error number of a change; a peer that says but "failure" most likely
/// means `guess`.
pub(super) fn guessed(fault: Fault, guess: Errno) -> Errno {
    match fault.failure {
        Some(failure) if failure.errno.is_none() && failure.status == qvd_sftp::Status::Failure => {
            guess
        }
        _ => fault.errno,
    }
}

/// The target of a link `depth` folders deep, if it stays in the mount: not
/// absolute, no more `..` than there are folders above. A `..` after a name
/// is taken together with that name: the name may be a link itself, and `..`
/// would climb from wherever that leads.
pub(super) fn inside(depth: usize, target: &[u8]) -> Option<Vec<u8>> {
    if target.starts_with(b"/") || target.is_empty() || target.contains(&0) {
        return None;
    }
    let parts = || target.split(|b| *b == b'/');
    let climbs = parts().take_while(|part| *part == b"..").count();
    if climbs > depth {
        return None;
    }
    if !parts().skip(climbs).any(|part| part == b"..") {
        return Some(target.to_vec());
    }
    let mut taken: Vec<&[u8]> = Vec::new();
    for part in parts().filter(|part| !part.is_empty() && *part != b".") {
        let climbs = part == b".." && taken.last().is_some_and(|last| *last != b"..");
        if climbs {
            taken.pop();
        } else {
            taken.push(part);
        }
    }
    let climbs = taken.iter().take_while(|part| **part == b"..").count();
    if climbs > depth {
        return None;
    }
    if taken.is_empty() {
        taken.push(b".");
    }
    Some(taken.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;
    use super::*;

    #[test]
    fn targets_stay_inside() {
        type Case = (usize, &'static [u8], Option<&'static [u8]>);
        let cases: [Case; 10] = [
            (0, b"a/b", Some(b"a/b")),
            (0, b"../a", None),
            (1, b"../a", Some(b"../a")),
            (1, b"../../a", None),
            (2, b"../../a", Some(b"../../a")),
            (0, b"/etc/passwd", None),
            (1, b"b/../../..", None),
            (1, b"b/../c", Some(b"c")),
            (0, b"b/..", Some(b".")),
            (0, b"", None),
        ];
        for (depth, target, expected) in cases {
            assert_eq!(
                inside(depth, target).as_deref(),
                expected,
                "{depth} {target:?}"
            );
        }
    }

    #[test]
    fn the_root_is_no_child_of_itself() {
        let tree = Tree::new();
        assert_eq!(tree.path(Tree::ROOT).as_deref(), Some(&b"."[..]));
        assert_eq!(tree.depth(Tree::ROOT), 0);
    }
}
