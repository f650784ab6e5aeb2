//! The one thing for which nobody offers a safe call.

#![allow(unsafe_code)]

/// Gives memory that is free back to the system: what a listing or a large
/// file needed would stay with this process for as long as the share does.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and no pointer, may be called at any time by
    // any thread, and touches no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
