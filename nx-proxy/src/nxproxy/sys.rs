//! The three calls whose contract the compiler cannot check.
#![expect(unsafe_code, reason = "each call below says why it is sound")]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Makes the child die with the thread that starts it, however this process
/// ends. The caller's thread has to outlive the child.
pub(crate) fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    let hook = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the signal was asked for.
        if getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::ErrorKind::NotConnected.into())
        }
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed.
    // The hook makes two plain system calls (prctl, getppid) and allocates
    // nothing: `io::ErrorKind` converts without a box.
    unsafe { command.pre_exec(hook) };
}

/// Has the child begin with its standard descriptors alone, whatever whoever
/// started this process has left open. Kernels before 5.11 leave it so.
pub(crate) fn close_others(command: &mut Command) {
    let hook = || {
        // Closed at once, the pipe on which the child tells that it could not
        // start would be closed, too.
        // SAFETY: a plain system call with three numbers; it allocates nothing
        // and marks descriptors of the child's own table only.
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOSE_ON_EXEC) };
        Ok(())
    };
    // SAFETY: as for `die_with_parent`: the hook makes one system call.
    unsafe { command.pre_exec(hook) };
}

/// CLOSE_RANGE_CLOEXEC of linux/close_range.h.
const CLOSE_ON_EXEC: libc::c_int = 4;

/// Watches a pidfd, which is readable from the process's exit on, or what else
/// something comes from.
pub(crate) fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    watch_for(descriptor, Interest::READABLE)
}

/// Has the runtime watch a descriptor.
pub(crate) fn watch_for(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor has to stay open, and the same, while it is
    // watched. An `OwnedFd` is open until it is dropped, and the `AsyncFd`
    // owns it and gives out shared references only.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, interest) };
    watched.map_err(Into::into)
}
