//! The QVD agent in the disk image.
#![allow(dead_code)]
mod control;
mod machine;
mod parameters;
fn main() {}
