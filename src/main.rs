//! The program: what was typed goes to the command line, its exit code to the shell.

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    purgefront::cli::run()
}
