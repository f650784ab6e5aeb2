//! The carrier beneath NX: prioritised streams on one connection, and a
//! session that survives its connections, without I/O. The wire is written
//! down in `PROTOCOL.md`.

#![forbid(unsafe_code)]
