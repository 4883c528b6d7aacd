//! Events of several lines: `awslogs-multiline-pattern` and `awslogs-datetime-format`. A line that fits the pattern begins an
//! event; those that follow belong to it.

use std::collections::BTreeMap;
use std::time::Duration;

use estiva_shim::spool::Position;
use regex::bytes::Regex;
use tokio::time::Instant;

use super::destination::LogSetupError;
use super::lines::{LINE_BYTES_MAX, LogLine};

/// An event to which nothing was added for so long is complete.
const HOLD_MAX: Duration = Duration::from_secs(5);

/// What strftime writes for each of its letters, as a pattern. The list is that of Docker's awslogs driver.
const DATETIME: &[(char, &str)] = &[
    ('A', "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"),
    ('B', "(?:January|February|March|April|May|June|July|August|September|October|November|December)"),
    ('H', "(?:[01][0-9]|2[0-3])"),
    ('I', "(?:0[0-9]|1[0-2])"),
    ('L', r"\.[0-9]{3}"),
    ('M', "[0-5][0-9]"),
    ('S', "[0-5][0-9]"),
    ('Y', "[0-9]{4}"),
    ('Z', "[A-Z]{1,4}T"),
    ('a', "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"),
    ('b', "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"),
    ('d', "(?:0[1-9]|[12][0-9]|3[01])"),
    ('f', "[0-9]{6}"),
    ('j', "(?:[0-2][0-9][0-9]|3[0-5][0-9]|36[0-6])"),
    ('m', "(?:0[1-9]|1[0-2])"),
    ('p', "[AP]M"),
    ('w', "[0-6]"),
    ('y', "[0-9]{2}"),
    ('z', "[+-][0-9]{4}"),
];

/// Puts lines of one event together; each stream for itself.
#[derive(Debug)]
pub(super) struct Multiline {
    pattern: Regex,
    held: Vec<(LogLine, Instant)>,
}

impl Multiline {
    /// As the log driver's options say; `None` if they say nothing of it.
    pub fn of(options: &BTreeMap<String, String>) -> Result<Option<Self>, LogSetupError> {
        let option = |name: &str| options.get(name).filter(|value| !value.is_empty());
        let (pattern, format) = (option("awslogs-multiline-pattern"), option("awslogs-datetime-format"));
        let (name, pattern) = match (pattern, format) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                let reason = "awslogs-datetime-format and awslogs-multiline-pattern exclude each other";
                return Err(LogSetupError::Option(reason.to_owned()));
            }
            (Some(pattern), None) => ("awslogs-multiline-pattern", pattern.clone()),
            (None, Some(format)) => ("awslogs-datetime-format", of_datetime(format)),
        };
        let pattern = Regex::new(&pattern).map_err(|error| LogSetupError::Option(format!("{name}: {error}")))?;
        Ok(Some(Self { pattern, held: Vec::new() }))
    }

    /// The events that `lines` complete.
    pub fn events(&mut self, lines: Vec<LogLine>, now: Instant) -> Vec<LogLine> {
        let mut events = Vec::new();
        for line in lines {
            let place = self.held.iter().position(|(held, _)| held.stream == line.stream);
            let begins = self.pattern.is_match(&line.bytes);
            match place.and_then(|place| self.held.get_mut(place)) {
                Some((held, at)) if !begins && held.bytes.len() + line.bytes.len() < LINE_BYTES_MAX => {
                    held.bytes.push(b'\n');
                    held.bytes.extend(line.bytes);
                    *at = now;
                }
                Some(held) => events.push(std::mem::replace(held, (line, now)).0),
                None => self.held.push((line, now)),
            }
        }
        events
    }

    /// The events to which nothing was added for long; all of them at the output's `end`.
    pub fn complete(&mut self, now: Instant, end: bool) -> Vec<LogLine> {
        let is_due = |(_, at): &mut (LogLine, Instant)| end || now.saturating_duration_since(*at) >= HOLD_MAX;
        self.held.extract_if(.., is_due).map(|(line, _)| line).collect()
    }

    /// When [`Self::complete`] will have something.
    pub fn deadline(&self) -> Option<Instant> {
        self.held.iter().map(|(_, at)| *at + HOLD_MAX).min()
    }

    /// Where the first of the events begins that wait for more.
    pub fn held_from(&self) -> Option<Position> {
        self.held.iter().map(|(line, _)| line.begin).min()
    }
}

/// The pattern of what strftime writes for `format`; what is no letter of it stands for itself.
fn of_datetime(format: &str) -> String {
    let mut pattern = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        let letter = if character == '%' { characters.next() } else { None };
        let known = letter.and_then(|letter| DATETIME.iter().find(|(known, _)| *known == letter));
        match (letter, known) {
            (_, Some((_, of_letter))) => pattern.push_str(of_letter),
            (Some(letter), None) => pattern.push_str(&regex::escape(&letter.to_string())),
            (None, None) => pattern.push_str(&regex::escape(&character.to_string())),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use estiva_shim::spool::Stream;
    use proptest::prelude::*;

    use super::*;

    fn with(name: &str, value: &str) -> Multiline {
        Multiline::of(&BTreeMap::from([(name.to_owned(), value.to_owned())])).unwrap().unwrap()
    }

    fn line(text: &str, stream: Stream) -> LogLine {
        LogLine { time_ms: 1, stream, bytes: text.into(), begin: Position { segment: 1, offset: 1 } }
    }

    fn texts(lines: Vec<LogLine>) -> Vec<String> {
        lines.into_iter().map(|line| String::from_utf8(line.bytes).unwrap()).collect()
    }

    #[test]
    fn what_does_not_begin_an_event_belongs_to_the_one_before() {
        let mut multiline = with("awslogs-multiline-pattern", "^ERROR|^INFO");
        let now = Instant::now();
        let lines = ["  lost", "INFO a", "ERROR b", "  at one", "  at two", "INFO c"];
        let events = multiline.events(lines.map(|text| line(text, Stream::Stdout)).to_vec(), now);
        assert_eq!(texts(events), ["  lost", "INFO a", "ERROR b\n  at one\n  at two"]);
        assert!(multiline.complete(now, false).is_empty() && multiline.held_from().is_some());
        assert_eq!(texts(multiline.complete(now + HOLD_MAX, false)), ["INFO c"]);
        assert_eq!(multiline.held_from(), None);
    }

    #[test]
    fn a_date_begins_an_event() {
        let mut multiline = with("awslogs-datetime-format", "[%Y-%m-%d %H:%M:%S%L]");
        let lines = [
            "[2026-11-21 08:00:00.123] one",
            "two",
            "[2026-13-21 08:00:00.123] no month",
            "[2026-12-31 23:59:59.999] three",
        ];
        let mut events = texts(multiline.events(lines.map(|text| line(text, Stream::Stderr)).to_vec(), Instant::now()));
        events.extend(texts(multiline.complete(Instant::now(), true)));
        assert_eq!(events.len(), 2);
        assert!(events[0].ends_with("no month") && events[1].ends_with("three"));
    }

    #[test]
    fn options_that_make_no_sense_are_said() {
        let both = BTreeMap::from(
            ["awslogs-multiline-pattern", "awslogs-datetime-format"].map(|it| (it.to_owned(), "x".to_owned())),
        );
        assert!(Multiline::of(&both).unwrap_err().to_string().contains("exclude"));
        let broken = BTreeMap::from([("awslogs-multiline-pattern".to_owned(), "(".to_owned())]);
        assert!(Multiline::of(&broken).is_err());
        assert!(Multiline::of(&BTreeMap::new()).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn no_line_is_lost(texts in proptest::collection::vec("[ab]{1,3}", 0..30)) {
            let mut multiline = with("awslogs-multiline-pattern", "^a");
            let lines: Vec<_> = texts.iter().map(|text| line(text, Stream::Stdout)).collect();
            let mut events = self::texts(multiline.events(lines, Instant::now()));
            events.extend(self::texts(multiline.complete(Instant::now(), true)));
            prop_assert_eq!(events.join("\n"), texts.join("\n"));
        }

        #[test]
        fn every_format_is_a_pattern(format in "\\PC{0,40}") {
            prop_assert!(Regex::new(&of_datetime(&format)).is_ok());
        }
    }
}
