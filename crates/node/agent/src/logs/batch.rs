//! From lines to what PutLogEvents takes.

use estiva_api_logs::types::InputLogEvent;

/// PutLogEvents: at most 10,000 events a call.
const EVENTS_MAX: usize = 10_000;
/// PutLogEvents: at most 1 MiB a call, each event counted with 26 bytes more than its text.
const BYTES_MAX: usize = 1_048_576;
const EVENT_OVERHEAD_BYTES: usize = 26;
/// PutLogEvents: a call spans at most 24 hours.
const SPAN_MS: i64 = 24 * 3600 * 1000;

/// Calls' worth of events, each in order of time.
pub(super) fn batches(mut events: Vec<InputLogEvent>) -> Vec<Vec<InputLogEvent>> {
    events.sort_by_key(|event| event.timestamp);
    let mut batches: Vec<Vec<InputLogEvent>> = Vec::new();
    let mut bytes = 0;
    for event in events {
        let size = event.message.len() + EVENT_OVERHEAD_BYTES;
        match batches.last_mut() {
            Some(batch)
                if batch.len() < EVENTS_MAX
                    && bytes + size <= BYTES_MAX
                    && batch.first().is_some_and(|first| event.timestamp - first.timestamp < SPAN_MS) =>
            {
                bytes += size;
                batch.push(event);
            }
            _ => {
                bytes = size;
                batches.push(vec![event]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn batches_keep_every_event_and_every_limit(
            sizes in proptest::collection::vec((1_usize..300_000, 0_i64..SPAN_MS * 2), 0..60),
        ) {
            let event = |(size, timestamp): &(usize, i64)| InputLogEvent { message: "x".repeat(*size), timestamp: *timestamp };
            let batches = batches(sizes.iter().map(event).collect());
            prop_assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), sizes.len());
            for batch in &batches {
                let bytes: usize = batch.iter().map(|event| event.message.len() + EVENT_OVERHEAD_BYTES).sum();
                prop_assert!(!batch.is_empty() && batch.len() <= EVENTS_MAX && bytes <= BYTES_MAX);
                prop_assert!(batch.is_sorted_by_key(|event| event.timestamp));
                prop_assert!(batch[batch.len() - 1].timestamp - batch[0].timestamp < SPAN_MS);
            }
        }
    }
}
