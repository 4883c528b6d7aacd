//! From a log configuration to what the shim writes.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use estiva_agent_protocol::task::docker::LogConfig;
use estiva_shim::spec::LogSink;
use tracing::warn;

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
/// What one container's lines may take of the node's disk, whatever was asked: in a spool, and in all its json-files together.
/// The disk is every task's.
const SPOOL_BYTES_MAX: u64 = 512 * MIB;
const JSON_FILES_BYTES_MAX: u64 = 1024 * MIB;
/// Each turn renames them all.
const JSON_FILES_MAX: u32 = 100;

/// Where the shim puts a container's output; `dir` is the container's own directory for it. Without a log
/// configuration the driver is json-file, as with Docker.
pub(crate) fn sink(config: Option<&LogConfig>, dir: &Path) -> LogSink {
    let none = BTreeMap::new();
    let options = config.map_or(&none, |config| &config.config);
    let size = |name: &str| options.get(name).and_then(|text| parse_size(text));
    match config.map_or("json-file", |config| &config.driver) {
        "awslogs" | "awsfirelens" | "fluentd" | "gelf" | "journald" | "splunk" | "syslog" => {
            let blocking = options.get("mode").is_some_and(|mode| mode == "blocking");
            let max_bytes = if blocking {
                BLOCKING_BYTES_MAX
            } else {
                let asked = size("max-buffer-size").unwrap_or(BUFFER_BYTES_DEFAULT);
                bounded("max-buffer-size", asked, SPOOL_BYTES_MIN, SPOOL_BYTES_MAX, dir)
            };
            let segment_bytes = (max_bytes / 8).min(SEGMENT_BYTES_MAX);
            LogSink::Spool { dir: dir.to_owned(), segment_bytes, max_bytes, blocking }
        }
        "none" => LogSink::None,
        _ => {
            let files = options.get("max-file").and_then(|text| text.parse().ok()).unwrap_or(JSON_FILES_DEFAULT);
            let max_files = bounded("max-file", files, 1, JSON_FILES_MAX, dir);
            let asked = size("max-size").unwrap_or(JSON_FILE_BYTES_DEFAULT);
            // To the shim, 0 would be no bound.
            let max_size_bytes = bounded("max-size", asked, 1, JSON_FILES_BYTES_MAX / u64::from(max_files), dir);
            LogSink::JsonFile { path: dir.join("json.log"), max_size_bytes, max_files }
        }
    }
}

/// What was asked, within what one container may have. That it gets less than was asked, the log says.
fn bounded<T: Ord + Copy + Display>(option: &str, asked: T, least: T, most: T, dir: &Path) -> T {
    if asked > most {
        warn!(dir = %dir.display(), option, %asked, %most, "a container's lines may take less of the disk than was asked for");
    }
    asked.clamp(least, most)
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

    #[test]
    fn no_option_lets_a_container_fill_the_disk() {
        for size in ["513m", "1g", "17179869183g"] {
            for mode in ["non-blocking", "blocking", ""] {
                let options = [("max-buffer-size", size), ("mode", mode)];
                let LogSink::Spool { max_bytes, .. } = sink(Some(&config("awslogs", &options)), Path::new("/d")) else {
                    panic!("no spool")
                };
                assert!(max_bytes <= SPOOL_BYTES_MAX, "{size} {mode}");
            }
        }
        let sizes = ["0", "1", "10m", "1025m", "17179869183g", "no size"];
        for (size, files) in
            sizes.iter().flat_map(|size| ["0", "1", "7", "101", "4294967295", "-1"].map(|files| (*size, files)))
        {
            let options = [("max-size", size), ("max-file", files)];
            let LogSink::JsonFile { max_size_bytes, max_files, .. } =
                sink(Some(&config("json-file", &options)), Path::new("/d"))
            else {
                panic!("no file")
            };
            assert!((1..=JSON_FILES_MAX).contains(&max_files) && max_size_bytes > 0, "{size} {files}");
            assert!(max_size_bytes * u64::from(max_files) <= JSON_FILES_BYTES_MAX, "{size} {files}");
        }
    }
}
