//! Values as Go writes them, for Docker's options are read by Go.

use std::time::Duration;

/// `strconv.ParseBool`.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// `time.ParseDuration`, not below zero: `1h15m30.918s`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    loop {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, behind) = rest.split_at(digits);
        let end = behind.find(|character: char| character.is_ascii_digit() || character == '.');
        let (unit, after) = behind.split_at(end.unwrap_or(behind.len()));
        total = total.checked_add(scaled(number, unit)?)?;
        rest = after;
        if rest.is_empty() {
            return Some(total);
        }
    }
}

fn scaled(number: &str, unit: &str) -> Option<Duration> {
    let unit_seconds = match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit_seconds).ok()
}

/// Whether `units.RAMInBytes` takes it: a number and k, m, g, t or p, each also with `b` or `ib` behind it.
pub(crate) fn is_size(text: &str) -> bool {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let unit = unit.strip_suffix("ib").filter(|unit| !unit.is_empty()).or(unit.strip_suffix('b')).unwrap_or(unit);
    number.parse::<f64>().is_ok_and(f64::is_finite) && matches!(unit, "" | "k" | "m" | "g" | "t" | "p")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_go_does() {
        for (text, ms) in
            [("10s", 10_000), ("1.5s", 1500), ("1m2s", 62_000), ("100ms", 100), ("0", 0), ("1h", 3_600_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "1", "-1s", "s", "1x", ".s", "1s2", "1..2s", "9999999999999999999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_docker_does() {
        for text in ["0", "1048576", "1m", "1MB", "1.5GiB", "4 kb", "7b"] {
            assert!(is_size(text), "{text}");
        }
        for text in ["", "m", "-1", "1x", "ib", "1ib", "1.2.3k"] {
            assert!(!is_size(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,12}") {
            let _ = (boolean(&text), duration(&text), is_size(&text));
        }
    }
}
