//! What a crash leaves, and what damage does.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

/// Three puts; the engine is closed without ceremony, as a killed process would.
fn three_puts(dir: &Path) -> PathBuf {
    let engine = open(dir, Options::default());
    put(&engine, 1, 0, &[10, 11]);
    put(&engine, 1, 2, &[12]);
    put(&engine, 1, 3, &[13, 14]);
    drop(engine);
    segments(dir).remove(0)
}

/// Where each record starts, and the end.
fn record_starts(bytes: &[u8]) -> Vec<usize> {
    let mut starts: Vec<_> = record::read(bytes)
        .map(|found| match found {
            record::Found::Record(at, _) => at.start,
            other => panic!("{other:?}"),
        })
        .collect();
    starts.push(bytes.len());
    starts
}

const FIRST_TWO: [(i64, u64, u64); 3] = [(10, 1, 0), (11, 1, 1), (12, 1, 2)];

#[test]
fn wherever_the_last_write_was_torn_it_is_cut_off_and_the_rest_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = three_puts(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let last = record_starts(&whole)[2];
    for cut in last..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let engine = open(dir.path(), Options::default());
        assert_eq!(read_all(&engine), FIRST_TWO, "cut at {cut}");
        assert_eq!(path.metadata().unwrap().len(), last as u64, "cut at {cut}");
        put(&engine, 1, 3, &[20]);
        drop(engine);
        let again = open(dir.path(), Options::default());
        assert_eq!(read_all(&again), [&FIRST_TWO[..], &[(20, 1, 3)]].concat(), "cut at {cut}");
    }
}

#[test]
fn blocks_that_never_reached_the_disk_are_a_torn_tail_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = three_puts(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let last = record_starts(&whole)[2];
    for fill in [0x00, 0xff] {
        let mut bytes = whole.clone();
        bytes[last + 6..].fill(fill);
        bytes.extend([fill; 5000]);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read_all(&open(dir.path(), Options::default())), FIRST_TWO);
        assert_eq!(path.metadata().unwrap().len(), last as u64);
    }
}

#[test]
fn damage_in_the_middle_costs_its_record_only_and_nothing_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = three_puts(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let starts = record_starts(&whole);
    for at in starts[1]..starts[2] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, &bytes).unwrap();
        let engine = open(dir.path(), Options::default());
        assert_eq!(read_all(&engine), [(10, 1, 0), (11, 1, 1), (13, 1, 3), (14, 1, 4)], "damage at {at}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        put(&engine, 1, 5, &[15]);
        assert_eq!(read_all(&engine).last(), Some(&(15, 1, 5)));
    }
}

#[test]
fn a_damaged_last_record_is_no_torn_write_and_nothing_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = three_puts(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let last = record_starts(&whole)[2];
    // Its checksum, and all of its body. Without its magic and its length it cannot be told from a torn write.
    for at in last + 8..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&path, &bytes).unwrap();
        let engine = open(dir.path(), Options::default());
        assert_eq!(read_all(&engine), FIRST_TWO, "damage at {at}");
        assert!(std::fs::read(&path).unwrap() == bytes, "damage at {at}");
        put(&engine, 1, 3, &[20]);
        drop(engine);
        assert_eq!(read_all(&open(dir.path(), Options::default())), [&FIRST_TWO[..], &[(20, 1, 3)]].concat());
        assert!(std::fs::read(&path).unwrap().starts_with(&bytes), "damage at {at}");
    }
}

#[test]
fn damage_that_comes_while_the_file_is_in_use_costs_its_record_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = three_puts(dir.path());
    let engine = open(dir.path(), Options::default());
    assert_eq!(read_all(&engine).len(), 5);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = record_starts(&bytes)[1];
    bytes[middle + 20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(read_all(&engine), [(10, 1, 0), (11, 1, 1), (13, 1, 3), (14, 1, 4)]);
}

#[test]
fn a_sealed_segment_whose_footer_is_damaged_gets_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), SMALL);
    for sequence in 0..40 {
        put(&engine, 1, sequence, &[i64::try_from(sequence).unwrap()]);
    }
    let whole = read_all(&engine);
    drop(engine);
    let path = segments(dir.path()).remove(0);
    let bytes = std::fs::read(&path).unwrap();
    for damage in 1..=70 {
        let mut damaged = bytes.clone();
        let at = damaged.len() - damage;
        damaged[at] ^= 0x55;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(read_all(&open(dir.path(), SMALL)), whole, "{damage} bytes from the end");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_process_that_ended_between_sealing_and_the_next_segment_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), SMALL);
    for sequence in 0..40 {
        put(&engine, 1, sequence, &[i64::try_from(sequence).unwrap()]);
    }
    drop(engine);
    let last = segments(dir.path()).pop().unwrap();
    std::fs::remove_file(last).unwrap();
    let engine = open(dir.path(), SMALL);
    let left = read_all(&engine);
    let next = left.last().unwrap().2 + 1;
    put(&engine, 1, next, &[100]);
    assert_eq!(read_all(&engine), [left, vec![(100, 1, next)]].concat());
}

#[test]
fn files_of_others_in_the_directory_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = three_puts(dir.path());
    for name in ["README", "1.log", "0000000000000001.0.log", "x.y.log"] {
        std::fs::write(path.with_file_name(name), "not ours").unwrap();
    }
    assert_eq!(read_all(&open(dir.path(), Options::default())).len(), 5);
}

/// Where the process that is to be killed finds its directory.
const DIR: &str = "ESTIVA_LOGS_TEST_DIR";

#[test]
#[ignore = "it never ends: it is the process that the next test kills"]
fn put_for_ever() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let engine = open(Path::new(&dir), SMALL);
    let mut answered = std::io::stdout();
    for sequence in 0.. {
        put(&engine, 1, sequence, &[i64::try_from(sequence).unwrap()]);
        writeln!(answered, "answered {sequence}").unwrap();
    }
}

#[test]
fn what_was_answered_is_there_when_the_process_was_killed() {
    for answers in [1, 7, 50, 200] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "event::storage::tests::crash::put_for_ever", "--nocapture"]);
        let mut child = command.env(DIR, dir.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        // The test harness may have written to the line of the first answer.
        let mut answered = lines.filter_map(|line| line.split_once("answered ")?.1.parse::<u64>().ok());
        answered.by_ref().take(answers).for_each(drop);
        child.kill().unwrap();
        // Also those that were on their way.
        let last = answered.last().unwrap_or(answers as u64 - 1);
        child.wait().unwrap();
        let left = read_all(&open(dir.path(), SMALL));
        assert!(left.len() as u64 > last, "{last} was answered, and there are {} events", left.len());
        assert_eq!(left.iter().map(|event| event.2).collect::<Vec<_>>(), (0..left.len() as u64).collect::<Vec<_>>());
    }
}
