//! What a properties file may be at most. A file beyond a limit is refused
//! with a message that names the limit; nothing is cut silently.

/// Bytes of one file.
pub const MAX_FILE: usize = 1024 * 1024;

/// Bytes of one logical line: the key, the value and every continued line.
pub const MAX_LINE: usize = 16 * 1024;

/// Different keys over all files together.
pub const MAX_KEYS: usize = 4096;

/// How many `${…}` may lie inside each other.
pub const MAX_DEPTH: usize = 16;

/// How many `${…}` one value may need in all. The depth alone would let a few
/// lines ask for billions of steps.
pub const MAX_REFERENCES: usize = 1000;

/// Bytes of one value after every `${…}` was replaced.
pub const MAX_VALUE: usize = 64 * 1024;

/// Faults reported of one file. A file with more is not a properties file.
pub const MAX_ERRORS: usize = 100;
