//! A stream of bytes cut into lines.

use crate::spool::{LINE_BYTES_MAX, Line, Stream};

/// Cuts one stream. Holds at most one unfinished line.
#[derive(Debug)]
pub(crate) struct LineSplitter {
    stream: Stream,
    rest: Vec<u8>,
}

impl LineSplitter {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, rest: Vec::new() }
    }

    /// Calls `emit` with every line that `bytes` completes; a line longer than [`LINE_BYTES_MAX`] comes in pieces of
    /// exactly that size, all but the last marked as partial.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(&Line<'_>)) {
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - self.rest.len();
            // One byte more than fits, so that a newline right after a full piece still ends it.
            let window = &bytes[..bytes.len().min(room + 1)];
            let newline = window.iter().position(|byte| *byte == b'\n');
            let taken = match newline {
                Some(at) => at,
                None if window.len() > room => room,
                None => {
                    self.rest.extend_from_slice(bytes);
                    return;
                }
            };
            let line = Line { stream: self.stream, bytes: &bytes[..taken], partial: newline.is_none() };
            if self.rest.is_empty() {
                emit(&line);
            } else {
                self.rest.extend_from_slice(line.bytes);
                emit(&Line { bytes: &self.rest, ..line });
                self.rest.clear();
            }
            bytes = &bytes[taken + usize::from(newline.is_some())..];
        }
    }

    /// The stream is over: what has no newline is a line too.
    pub(crate) fn finish(&mut self, mut emit: impl FnMut(&Line<'_>)) {
        if !self.rest.is_empty() {
            emit(&Line { stream: self.stream, bytes: &self.rest, partial: true });
            self.rest = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut splitter = LineSplitter::new(Stream::Stdout);
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(chunk, |line| lines.push((line.bytes.to_vec(), line.partial)));
        }
        splitter.finish(|line| lines.push((line.bytes.to_vec(), line.partial)));
        lines
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        let mut full = vec![b'x'; LINE_BYTES_MAX];
        full.push(b'\n');
        assert_eq!(split(&[&full]), [(vec![b'x'; LINE_BYTES_MAX], false)]);
        full.insert(0, b'y');
        let lines = split(&[&full]);
        assert_eq!((lines.len(), lines[0].0.len(), lines[0].1), (2, LINE_BYTES_MAX, true));
        assert_eq!(lines[1], (vec![b'x'], false));
    }

    #[test]
    fn empty_lines_count_and_the_last_needs_no_newline() {
        assert_eq!(split(&[b"\n\na"]), [(vec![], false), (vec![], false), (vec![b'a'], true)]);
        assert_eq!(split(&[]), []);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_it_arrives(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>()], 0..200),
            repeat in 1_usize..400,
            chunk in 1_usize..70_000,
        ) {
            let all = bytes.repeat(repeat);
            let chunks: Vec<_> = all.chunks(chunk).collect();
            let lines = split(&chunks);
            prop_assert!(lines.iter().all(|(line, _)| line.len() <= LINE_BYTES_MAX));
            let mut back: Vec<u8> = Vec::new();
            for (line, partial) in &lines {
                back.extend_from_slice(line);
                if !partial {
                    back.push(b'\n');
                }
            }
            prop_assert_eq!(back, all.clone());
            // The way it arrives changes nothing.
            prop_assert_eq!(lines, split(&[&all]));
        }
    }
}
