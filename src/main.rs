//! The program: what was typed goes to the command line, its exit code to the shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    purgefront::cli::run()
}
