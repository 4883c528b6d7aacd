//! The log of this process: to standard error, one line an event.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Starts the log. `ESTIVA_LOG` chooses what is logged (`info` by default), in the syntax of `tracing`'s env filter.
pub fn start() {
    let filter = EnvFilter::try_from_env("ESTIVA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal())
        .with_target(false)
        .init();
}
