//! The slave client on the command line.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    qvd_slaveclient::cli::main()
}
