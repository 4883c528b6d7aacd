//! The log of this process: to standard error, one line an event.
//!
//! What is logged may be caused by strangers: a task that sends nonsense, a client without a key. So here, in one place,
//! whoever calls `info!` need not think of it:
//!
//! - a line has a bounded length and no control characters ([`LogLines`]);
//! - a place in the code that logs is heard only so often ([`limit`]);
//! - the log file of a detached installation has a bounded size ([`file`]).

mod file;
mod limit;

use std::io::{self, Write, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use self::file::LogFile;
use self::limit::Limit;
use crate::visible;

/// Longer lines are cut: an error with all its sources fits, what a stranger has made up need not.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// The log file, if standard error is one that this program made.
static FILE: Mutex<Option<LogFile>> = Mutex::new(None);

/// Starts the log. `ESTIVA_LOG` chooses what is logged (`info` by default), in the syntax of `tracing`'s env filter.
pub fn start() {
    let filter = EnvFilter::try_from_env("ESTIVA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    *FILE.lock().unwrap_or_else(PoisonError::into_inner) = LogFile::of_stderr();
    let lines = tracing_subscriber::fmt::layer().with_writer(|| LogLines).with_ansi(false).with_target(false);
    tracing_subscriber::registry().with(filter).with(lines.with_filter(Limit::new(Instant::now, note))).init();
    // A panic's message may quote what a stranger has sent.
    std::panic::set_hook(Box::new(|panic| {
        let trace = std::backtrace::Backtrace::capture();
        note(&panic.to_string());
        if trace.status() == std::backtrace::BacktraceStatus::Captured {
            trace.to_string().lines().for_each(note);
        }
    }));
}

/// A line of the log's own.
fn note(text: &str) {
    // There is nobody to tell that the log cannot be written.
    let _ = LogLines.write_all(format!("{}\n", text.replace('\n', " ")).as_bytes());
}

/// Writes each event, which comes as a whole, as one line.
struct LogLines;

impl Write for LogLines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = shown(&String::from_utf8_lossy(event));
        let mut file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
        if file.as_mut().is_none_or(|file| file.make_room(line.len() as u64)) {
            stderr().write_all(line.as_bytes())?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One line of bounded length, with its newline.
fn shown(event: &str) -> String {
    let text = event.strip_suffix('\n').unwrap_or(event);
    let line = visible::line(front(text));
    // Written out, a character takes several.
    let kept = front(&line);
    if text.len() > LINE_BYTES_MAX || kept.len() < line.len() {
        format!("{kept}… ({} bytes in all)\n", text.len())
    } else {
        format!("{line}\n")
    }
}

/// At most [`LINE_BYTES_MAX`] bytes, in whole characters.
fn front(text: &str) -> &str {
    let end = (0..=text.len().min(LINE_BYTES_MAX)).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_bounded_length() {
        assert_eq!(shown("INFO a=\"x\\n\" b\n"), "INFO a=\"x\\n\" b\n");
        assert_eq!(shown("INFO forged\n2026 ERROR \x1b]0;x\x07\n"), "INFO forged\\n2026 ERROR \\u{1b}]0;x\\u{7}\n");
        for text in ["é".repeat(60_000), "\u{202e}".repeat(60_000), format!("x{}", "é".repeat(60_000))] {
            let line = shown(&text);
            assert!(line.len() < LINE_BYTES_MAX + 100 && line.ends_with(" bytes in all)\n"), "{}", line.len());
            assert_eq!(line.matches('\n').count(), 1);
        }
    }
}
