//! What commands print: tables for people, JSON for programs. Whatever strangers may have had a hand in is made
//! [visible](crate::visible).

use std::io::{self, Write};

use anyhow::Result;
use estiva_model::Timestamp;
use serde::Serialize;

use crate::visible;

/// Prints `value` as indented JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    writeln!(io::stdout().lock(), "{}", visible::json(&serde_json::to_string_pretty(value)?))?;
    Ok(())
}

/// Prints one line.
pub fn line(text: &str) -> Result<()> {
    writeln!(io::stdout().lock(), "{}", visible::line(text))?;
    Ok(())
}

/// Says to standard error what went wrong; several lines stay several.
pub fn complain(text: &str) {
    // There is nobody else to tell.
    let _ = writeln!(io::stderr().lock(), "{}", visible::lines(text));
}

/// Prints rows under a heading, each column as wide as its widest cell.
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let visible = |row: &Vec<String>| row.iter().map(|cell| visible::line(cell).into_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(visible).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heading[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut out = io::stdout().lock();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| -> io::Result<()> {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    line(&mut heading.iter().copied())?;
    for row in &rows {
        line(&mut row.iter().map(String::as_str))?;
    }
    Ok(())
}

/// RFC 3339 with milliseconds.
pub fn time(at: Timestamp) -> String {
    let since_epoch = std::time::Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or_default());
    humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since_epoch).to_string()
}

/// Bytes with a binary unit, such as `1.5 MiB`.
#[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}
