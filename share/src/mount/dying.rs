//! Who waits in an outage, and is killed: he is let go.
//!
//! A process that waits for an answer of ours cannot die before it has one, and
//! in an outage that can be minutes. The kernel would tell of its signal
//! (`FUSE_INTERRUPT`), but fuser answers that with "not implemented" and does
//! not hand it on; and nobody else is told of another process's signals. So,
//! while there is an outage and only then, those who wait are looked at every
//! now and then, and whoever is to die is answered past fuser. Its own answer,
//! later, is one that the kernel does not know any more.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use fuser::Request;
use rustix::io::Errno;

/// Most threads that are remembered; beyond, those that are gone are forgotten,
/// and then all.
const MAX_WAITERS: usize = 1024;

/// `SIGKILL` in the masks of `/proc`; every signal that ends a process is turned
/// into that one.
const KILLED: u64 = 1 << 8;

/// `PF_EXITING` in the flags of `/proc`.
const EXITING: u64 = 4;

/// What each thread has asked last, by its number.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    asked: Mutex<HashMap<u32, u64>>,
}

impl Waiters {
    /// A thread asks something, and will wait.
    pub(super) fn asks(&self, request: &Request) {
        let (thread, number) = (request.pid(), request.unique().0);
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= MAX_WAITERS && !asked.contains_key(&thread) {
            asked.retain(|thread, _| fs::exists(format!("/proc/{thread}")).unwrap_or_default());
            if asked.len() >= MAX_WAITERS {
                asked.clear();
            }
        }
        asked.insert(thread, number);
    }

    /// Answers those who are to die.
    pub(super) fn let_go(&self, device: &Device) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|thread, number| {
            let dies = is_dying(*thread);
            if dies {
                device.refuse(*number);
            }
            !dies
        });
    }
}

/// Whether a thread is to end and has but to be let go.
fn is_dying(thread: u32) -> bool {
    let read = |file: &str| fs::read_to_string(format!("/proc/{thread}/{file}"));
    let Ok(status) = read("status") else {
        return false;
    };
    let pending = |line: &str| {
        let mask = line
            .strip_prefix("SigPnd:")
            .or(line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    if status
        .lines()
        .filter_map(pending)
        .any(|mask| mask & KILLED != 0)
    {
        return true;
    }
    // It closes its files, of which somebody wants to know what became.
    let stat = read("stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
    let flags = fields.and_then(|fields| fields.split_ascii_whitespace().nth(6)?.parse().ok());
    flags.is_some_and(|flags: u64| flags & EXITING != 0)
}

/// The device by which the kernel asks, beside fuser.
#[derive(Debug)]
pub(super) struct Device(OwnedFd);

impl Device {
    /// That of a mounted file system.
    pub(super) fn of(session: &impl AsFd) -> io::Result<Self> {
        session.as_fd().try_clone_to_owned().map(Self)
    }

    /// Whether the kernel asks nothing any more.
    pub(super) fn is_over(&self) -> bool {
        !super::place::is_alive(&self.0)
    }

    /// Answers that it was interrupted (`fuse_out_header`).
    fn refuse(&self, number: u64) {
        let mut answer = Vec::with_capacity(16);
        answer.extend_from_slice(&16_u32.to_ne_bytes());
        answer.extend_from_slice(&(-Errno::INTR.raw_os_error()).to_ne_bytes());
        answer.extend_from_slice(&number.to_ne_bytes());
        match rustix::io::write(&self.0, &answer) {
            Ok(_) => tracing::info!("whoever waited and was killed is let go"),
            // It was answered before.
            Err(Errno::NOENT) => {}
            Err(error) => tracing::debug!(%error, "whoever waits and was killed is not let go"),
        }
    }
}
