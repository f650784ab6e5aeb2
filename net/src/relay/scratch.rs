//! Buffers that one thread's tunnels share.
//!
//! A buffer is borrowed within one poll and never across one, so the number
//! of tunnels does not multiply them.

use std::cell::RefCell;

/// Bytes read from a socket at once.
pub(super) const READ_SIZE: usize = 256 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends the thread's buffer of [`READ_SIZE`] bytes.
pub(super) fn with<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|buffer| {
        if buffer.len() < READ_SIZE {
            buffer.resize(READ_SIZE, 0);
        }
        use_it(buffer)
    })
}

#[cfg(feature = "tls")]
thread_local! {
    static PLAINTEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends a second, empty buffer, in which decrypted bytes are gathered.
#[cfg(feature = "tls")]
pub(super) fn with_plaintext<T>(use_it: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    PLAINTEXT.with_borrow_mut(|buffer| {
        buffer.clear();
        use_it(buffer)
    })
}
