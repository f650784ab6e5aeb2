//! The one place with `unsafe`: what a child does between fork and exec,
//! descriptors that were inherited, and those that the runtime watches.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::io::unix::AsyncFd;

/// Makes the child a process group of its own that is killed when the thread
/// that starts it dies, whatever kills that.
pub fn bind_to_parent(command: &mut Command) -> &mut Command {
    let parent = rustix::process::getpid();
    let in_child = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the line above.
        if rustix::process::getppid() != Some(parent) {
            return Err(io::Error::from_raw_os_error(
                rustix::io::Errno::SRCH.raw_os_error(),
            ));
        }
        Ok(())
    };
    command.process_group(0);
    // SAFETY: the closure makes two system calls and an `io::Error` that holds
    // a number; it takes no lock and does not allocate, so it may run in the
    // child of a process with several threads. Needed because the standard
    // library has no safe way to set the parent-death signal.
    unsafe { command.pre_exec(in_child) }
}

/// Keeps whatever this process was started with, beside the standard streams,
/// from the programs it starts. They run for others than who started us.
///
/// # Errors
/// When the open descriptors cannot be listed.
pub fn keep_inherited() -> io::Result<()> {
    let numbers: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for number in numbers {
        // SAFETY: the number is not negative, and is borrowed for this one
        // system call, which neither closes nor reads: for a number that is
        // open no more, as that of the listing itself, it fails. Needed because
        // nobody in this process owns an inherited descriptor.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
    }
    Ok(())
}

/// Has the runtime watch a descriptor.
///
/// # Errors
/// When the descriptor is of a kind that cannot be watched.
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open until it is dropped and always gives the
    // same descriptor, and it moves into the `AsyncFd`, of which this crate
    // takes no `&mut`. Needed because tokio, unlike us, allows for owners
    // whose descriptor changes.
    Ok(unsafe { AsyncFd::register(fd) }?)
}
