//! The `capsule` program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    rendezvous_capsule::main()
}
