//! The QVD agent in the disk image.
fn main() {}
