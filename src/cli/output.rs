//! What commands print, escaped, and whether it arrived.

use std::{
    fmt::Display,
    io::{self, Write as _},
    sync::OnceLock,
};

use super::FAILED;
use crate::{
    config::ConfigErrors,
    printable::{printable, printable_lines},
};

/// Why standard output could not be written, if it could not. The rest of the output is left out.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Prints one line to stdout.
pub(super) fn say(line: impl Display) {
    print(format_args!("{}\n", printable(line)));
}

/// Prints text of several lines. Its newlines and tabs are kept, so untrusted parts must already
/// be [`printable`].
pub(super) fn say_lines(text: impl Display) {
    print(format_args!("{}\n", printable_lines(text)));
}

/// Prints text that brings its own last newline.
pub(super) fn print(text: impl Display) {
    if is_lost() {
        return;
    }
    if let Err(error) = write!(io::stdout(), "{text}") {
        let _ = LOST.set(error);
    }
}

/// Whether standard output could not be written, so that producing more is pointless.
pub(super) fn is_lost() -> bool {
    LOST.get().is_some()
}

/// The exit code of a command that would end with `code`: a failure if its output did not arrive.
pub(super) fn delivered(code: u8) -> u8 {
    if let Err(error) = io::stdout().flush() {
        let _ = LOST.set(error);
    }
    match LOST.get() {
        None => code,
        Some(error) => {
            complain(format_args!("the output could not be written: {error}"));
            code.max(FAILED)
        }
    }
}

/// Prints one line to stderr.
pub(super) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{}", printable(line));
}

/// Prints all faults of the configuration to stderr.
pub(super) fn complain_of(faults: &ConfigErrors) {
    let _ = writeln!(io::stderr(), "{}", printable_lines(faults));
}
