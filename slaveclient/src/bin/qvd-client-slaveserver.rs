//! The client's end of the slave channel: serves one request of the VM's on
//! standard input and output.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    qvd_slaveclient::service::main()
}
