//! Whether what bears the number of a process was left behind by one that was
//! killed. Both have to be so: numbers are given again, and a process of
//! another container has another number there.

use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, test_kill_process};

/// Whether no process of this user has this number.
#[must_use]
pub fn is_gone(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| matches!(test_kill_process(pid), Err(Errno::SRCH | Errno::PERM)))
}

/// Whether nobody listens at this socket, or it is not there.
///
/// # Errors
/// When it cannot be found out.
pub fn is_deserted(socket: &Path) -> io::Result<bool> {
    let address = SocketAddrUnix::new(socket)?;
    // One who has much to do is not waited for.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let asks = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&asks, &address) {
        Ok(()) | Err(Errno::AGAIN) => Ok(false),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_gone_once_it_has_ended() {
        let mut child = Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        assert!(!is_gone(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_gone(child.id()));
        assert!(!is_gone(std::process::id()));
        assert!(!is_gone(0) && !is_gone(u32::MAX));
    }

    #[test]
    fn a_socket_is_deserted_without_a_listener() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        assert!(is_deserted(&socket).unwrap());
        let listener = UnixListener::bind(&socket).unwrap();
        assert!(!is_deserted(&socket).unwrap());
        drop(listener);
        assert!(is_deserted(&socket).unwrap());
    }
}
