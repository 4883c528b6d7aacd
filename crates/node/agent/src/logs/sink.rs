//! From a log configuration to what the shim writes.

use std::collections::BTreeMap;
use std::path::Path;

use estiva_agent_protocol::task::docker::LogConfig;
use estiva_shim::spec::LogSink;

const MIB: u64 = 1 << 20;
/// ECS's default for `max-buffer-size`.
const BUFFER_BYTES_DEFAULT: u64 = 10 * MIB;
/// What waits on disk at most in mode blocking: beyond it the container waits.
const BLOCKING_BYTES_MAX: u64 = 64 * MIB;
/// What waits on disk may take so much at least, whatever was asked: lines whose ends have not come stay there too.
const SPOOL_BYTES_MIN: u64 = 2 * MIB;
/// Segments of a spool are an eighth of it, and at most this.
const SEGMENT_BYTES_MAX: u64 = 8 * MIB;
/// Docker keeps a json-file for ever; a container that runs for months must not fill the disk unless it was asked to.
const JSON_FILE_BYTES_DEFAULT: u64 = 64 * MIB;
const JSON_FILES_DEFAULT: u32 = 2;

/// Where the shim puts a container's output; `dir` is the container's own directory for it. Without a log
/// configuration the driver is json-file, as with Docker.
pub(crate) fn sink(config: Option<&LogConfig>, dir: &Path) -> LogSink {
    let none = BTreeMap::new();
    let options = config.map_or(&none, |config| &config.config);
    let option = |name: &str| options.get(name).map(String::as_str);
    match config.map_or("json-file", |config| &config.driver) {
        "awslogs" | "awsfirelens" | "fluentd" | "gelf" | "journald" | "splunk" | "syslog" => {
            let blocking = option("mode") == Some("blocking");
            let asked = option("max-buffer-size").and_then(parse_size).unwrap_or(BUFFER_BYTES_DEFAULT);
            let max_bytes = if blocking { BLOCKING_BYTES_MAX } else { asked.max(SPOOL_BYTES_MIN) };
            let segment_bytes = (max_bytes / 8).min(SEGMENT_BYTES_MAX);
            LogSink::Spool { dir: dir.to_owned(), segment_bytes, max_bytes, blocking }
        }
        "none" => LogSink::None,
        _ => LogSink::JsonFile {
            path: dir.join("json.log"),
            max_size_bytes: option("max-size").and_then(parse_size).unwrap_or(JSON_FILE_BYTES_DEFAULT),
            max_files: option("max-file").and_then(|text| text.parse().ok()).unwrap_or(JSON_FILES_DEFAULT).max(1),
        },
    }
}

/// Docker's sizes: a number and b, k, m or g, each also with a b behind it.
fn parse_size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|character: char| !character.is_ascii_digit()).unwrap_or(lower.len());
    let unit: u64 = match &lower[digits..] {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return None,
    };
    lower[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(driver: &str, options: &[(&str, &str)]) -> LogConfig {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        LogConfig { driver: driver.to_owned(), config: options.collect() }
    }

    #[test]
    fn sizes_are_read_as_docker_does() {
        assert_eq!(parse_size("10m"), Some(10 << 20));
        assert_eq!((parse_size("1kb"), parse_size("7"), parse_size("2G")), (Some(1024), Some(7), Some(2 << 30)));
        for text in ["", "m", "1x", "-1", "99999999999999999999", "18446744073709551615g"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn a_spool_of_any_size_has_room_for_two_segments() {
        for size in ["1", "100k", "25m", "1g"] {
            let LogSink::Spool { segment_bytes, max_bytes, blocking, .. } =
                sink(Some(&config("awslogs", &[("max-buffer-size", size)])), Path::new("/d"))
            else {
                panic!("no spool")
            };
            assert!(!blocking && segment_bytes >= 1 && segment_bytes <= max_bytes / 2, "{size}");
        }
    }

    #[test]
    fn without_a_configuration_output_goes_to_a_bounded_json_file() {
        assert!(
            matches!(sink(None, Path::new("/d")), LogSink::JsonFile { max_files: 2, max_size_bytes, .. } if max_size_bytes > 0)
        );
        let kept = sink(Some(&config("json-file", &[("max-size", "1m"), ("max-file", "3")])), Path::new("/d"));
        assert!(matches!(kept, LogSink::JsonFile { max_files: 3, max_size_bytes: 1_048_576, .. }));
    }
}
