//! Draws NX sessions in nxproxy's place, and decodes recorded ones.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    nx_proxy::program::main()
}
