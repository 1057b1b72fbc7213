//! Logs: text on a terminal, JSON lines otherwise.

use std::{
    backtrace::Backtrace,
    io::{self, IsTerminal as _},
    panic,
};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::printable::PrintableWriter;

/// Starts logging to standard error. `RUST_LOG` chooses what, as usual; by default all of
/// ours from `info`, and warnings of others, but for those of the SDK's search for credentials,
/// which come at length with each try and of which ours say what matters.
pub fn init() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,aws_config=error,purgefront=info"));
    let registry = tracing_subscriber::registry().with(filter);
    // Whoever logs what, a library too: no line of it can hold what a terminal obeys. Colours
    // are the price, for they are such text.
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
    // A panic is a line among the others, too.
    panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        tracing::error!(%panic, %backtrace, "a fault of purgefront's own");
    }));
}
