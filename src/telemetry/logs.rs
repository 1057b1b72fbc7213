//! Logs: text on a terminal, JSON lines otherwise.

use std::{
    backtrace::Backtrace,
    io::{self, IsTerminal as _},
    panic,
};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::printable::PrintableWriter;

/// Starts logging to standard error, filtered by `RUST_LOG`. The default is our lines from `info` and
/// the libraries' warnings, except for those of the AWS SDK's search for credentials: they are long,
/// repeat with each attempt, and our own lines report the problem.
pub fn init() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,aws_config=error,purgefront=info"));
    let registry = tracing_subscriber::registry().with(filter);
    // The writer escapes control characters in all lines, including those of libraries. Colours would
    // be escaped, too, so there are none.
    let layer = fmt::layer()
        .with_ansi(false)
        .with_writer(|| PrintableWriter(io::stderr()));
    if io::stderr().is_terminal() {
        registry.with(layer).init();
    } else {
        // The list of spans includes the current one.
        let layer = layer.json().flatten_event(true).with_current_span(false);
        registry.with(layer).init();
    }
    // Log panics in the same format.
    panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        tracing::error!(%panic, %backtrace, "a bug in purgefront: panic");
    }));
}
