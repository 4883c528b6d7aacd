//! Output, from the container's pipe to the agent's hands.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use estiva_shim::{
    protocol::Event,
    spec::LogSink,
    spool::{Reader, Record, Stream},
    status::Status,
};

use crate::fixture::Task;

fn spool(task: &Task, segment_bytes: u64, max_bytes: u64, blocking: bool) -> (PathBuf, LogSink) {
    let dir = task.dir().join("spool");
    (dir.clone(), LogSink::Spool { dir, segment_bytes, max_bytes, blocking })
}

/// Reads to the end; commits after every batch, and opens the spool anew `every` batches as a restarted agent would.
async fn drain(task: &Task, name: &str, dir: &Path, every: usize) -> Vec<Record> {
    let mut reader = Reader::open(dir).unwrap();
    let mut all = Vec::new();
    let mut batches = 0;
    while !reader.is_ended() {
        let batch = reader.read(100_000).unwrap();
        assert_eq!(batch.corrupt, 0);
        if batch.records.is_empty() {
            let news = task.client.await_log(name, reader.position());
            tokio::time::timeout(Duration::from_secs(30), news).await.expect("the spool stands still").unwrap();
            continue;
        }
        all.extend(batch.records.into_iter().map(|(_, record)| record));
        if reader.commit(reader.position()).unwrap() {
            // The container may be gone already.
            let _ = task.client.log_freed(name).await;
        }
        batches += 1;
        if batches % every == 0 && !reader.is_ended() {
            reader = Reader::open(dir).unwrap();
        }
    }
    all
}

fn lines(records: &[Record]) -> Vec<String> {
    let line = |record: &Record| match record {
        Record::Line { bytes, .. } => Some(String::from_utf8(bytes.clone()).unwrap()),
        Record::Gap { .. } | Record::End { .. } => None,
    };
    records.iter().filter_map(line).collect()
}

#[tokio::test]
async fn a_json_file_has_both_streams_and_the_last_line() {
    let mut task = Task::spawn().await;
    task.run(&task.shell("both", "echo out; echo err >&2; printf unfinished")).await;
    let text = fs::read_to_string(task.log_path("both")).unwrap();
    assert!(text.contains(r#"{"log":"out\n","stream":"stdout","time":""#), "{text}");
    assert!(text.contains(r#"{"log":"err\n","stream":"stderr","time":""#), "{text}");
    assert!(text.contains(r#"{"log":"unfinished","stream":"stdout","time":""#), "{text}");
    task.close().await;
}

#[tokio::test]
async fn a_json_file_is_rotated() {
    let mut task = Task::spawn().await;
    let mut spec = task.shell("turn", "seq 1 20000");
    let path = task.log_path("turn");
    spec.log = LogSink::JsonFile { path: path.clone(), max_size_bytes: 200_000, max_files: 3 };
    task.run(&spec).await;
    let last = fs::read_to_string(&path).unwrap();
    assert!(last.lines().last().unwrap().contains(r#""20000\n""#));
    for older in ["log.1", "log.2"] {
        assert!(fs::metadata(path.with_extension(older)).unwrap().len() <= 200_000);
    }
    assert!(!path.with_extension("log.3").exists());
    task.close().await;
}

#[tokio::test]
async fn a_burst_of_100_000_lines_keeps_its_order_over_restarts_of_the_reader() {
    let mut task = Task::spawn().await;
    let (dir, sink) = spool(&task, 100_000, 400_000, true);
    let mut spec = task.shell("burst", "seq 1 100000; echo done >&2");
    spec.log = sink;
    task.start(&spec).await;
    let records = drain(&task, "burst", &dir, 3).await;
    let numbers: Vec<_> = lines(&records).into_iter().filter(|line| line != "done").collect();
    assert!(numbers.iter().map(|line| line.parse::<u32>().unwrap()).eq(1..=100_000), "{} lines", numbers.len());
    assert!(
        records
            .iter()
            .any(|record| matches!(record, Record::Line { stream: Stream::Stderr, bytes, .. } if bytes == b"done"))
    );
    assert!(matches!(records.last(), Some(Record::End { dropped: 0, .. })));
    // Shipped segments are gone: only the last one and the position are left.
    assert!(fs::read_dir(&dir).unwrap().count() <= 2);
    task.ended("burst").await;
    task.close().await;
}

#[tokio::test]
async fn a_full_blocking_spool_holds_the_container_up_and_loses_nothing() {
    let mut task = Task::spawn().await;
    let (dir, sink) = spool(&task, 50_000, 100_000, true);
    // The marker on a volume tells that the script is past its output.
    let mut spec = task.shell("held", "yes 0123456789012345678901234567890123456789 | head -n 50000; exit 5");
    spec.log = sink;
    task.start(&spec).await;
    let size = || fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum::<u64>();
    while size() < 100_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // 2.7 MB do not fit into the spool and a pipe: the container cannot have ended, however long one waits.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = task.client.state().await.unwrap().containers.remove(0).status;
    assert!(matches!(status, Status::Running { .. }), "{status:?}");
    assert!(size() < 300_000, "{}", size());
    assert_eq!(lines(&drain(&task, "held", &dir, 1000).await).len(), 50_000);
    assert_eq!(task.ended("held").await.code, 5);
    task.close().await;
}

#[tokio::test]
async fn a_full_non_blocking_spool_drops_and_counts() {
    let mut task = Task::spawn().await;
    let (dir, sink) = spool(&task, 50_000, 100_000, false);
    let mut spec = task.shell("drop", "seq 1 50000");
    spec.log = sink;
    task.start(&spec).await;
    let exit = task.exited("drop").await;
    assert_eq!(exit.code, 0, "it ends without anybody reading");
    let Event::LogEnded { dropped, .. } = task.event().await else { panic!("no end of the log") };
    let records = drain(&task, "drop", &dir, 1000).await;
    let kept = lines(&records);
    assert!(dropped > 0 && kept.len() as u64 + dropped == 50_000, "{} kept, {dropped} dropped", kept.len());
    assert!(kept.iter().map(|line| line.parse::<usize>().unwrap()).eq(1..=kept.len()), "the oldest are kept");
    assert!(matches!(records.last(), Some(Record::End { dropped: told, .. }) if *told == dropped));
    task.close().await;
}

#[tokio::test]
async fn long_lines_come_in_pieces() {
    let mut task = Task::spawn().await;
    let (dir, sink) = spool(&task, 1 << 20, 1 << 22, true);
    let mut spec = task.shell("long", "head -c 40000 /dev/zero | tr '\\0' x; echo; echo next");
    spec.log = sink;
    task.start(&spec).await;
    let pieces: Vec<_> = drain(&task, "long", &dir, 1000)
        .await
        .into_iter()
        .filter_map(|record| match record {
            Record::Line { bytes, partial, .. } => Some((bytes.len(), partial)),
            Record::Gap { .. } | Record::End { .. } => None,
        })
        .collect();
    assert_eq!(pieces, [(16384, true), (16384, true), (7232, false), (4, false)]);
    task.ended("long").await;
    task.close().await;
}

#[tokio::test]
async fn output_left_in_the_pipe_is_written_when_the_container_is_deleted() {
    let mut task = Task::spawn().await;
    let (dir, sink) = spool(&task, 1000, 2000, true);
    let mut spec = task.shell("rest", "seq 1 5000");
    spec.log = sink;
    task.start(&spec).await;
    // 24 KB fit into the pipe: it ends with the spool full.
    task.exited("rest").await;
    task.client.delete("rest").await.unwrap();
    assert_eq!(lines(&drain(&task, "rest", &dir, 1000).await).len(), 5000);
    task.close().await;
}

#[tokio::test]
async fn a_blocked_container_goes_on_though_nobody_tells_of_the_room() {
    let mut task = Task::spawn().await;
    let (dir, sink) = spool(&task, 10_000, 50_000, true);
    let mut spec = task.shell("mute", "seq 1 6000");
    spec.log = sink;
    task.start(&spec).await;
    // As an agent of an earlier version: it looks by itself and says nothing.
    let mut reader = Reader::open(&dir).unwrap();
    let mut count = 0;
    while !reader.is_ended() {
        count += reader.read(1 << 20).unwrap().records.len();
        reader.commit(reader.position()).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(count, 6001, "all lines and the end");
    task.close().await;
}

#[tokio::test]
async fn news_come_once_for_each_question_and_also_of_containers_to_come() {
    let mut task = Task::spawn().await;
    let (dir, sink) = spool(&task, 1 << 20, 1 << 22, false);
    let mut reader = Reader::open(&dir).unwrap();
    let early = tokio::spawn({
        let (client, position) = (task.client.clone(), reader.position());
        async move { client.await_log("late", position).await }
    });
    let mut spec = task.shell("late", "echo one; read line; echo two");
    (spec.log, spec.stdin_open) = (sink, true);
    task.start(&spec).await;
    early.await.unwrap().unwrap();
    let mut all = Vec::new();
    while all.is_empty() {
        task.client.await_log("late", reader.position()).await.unwrap();
        all = reader.read(1000).unwrap().records;
    }
    // Everything is read: this one is not answered by itself, but by the one that takes its place.
    let first = task.client.await_log("late", reader.position());
    let second = task.client.await_log("late", reader.position());
    tokio::select! {
        biased;
        first = first => first.unwrap(),
        _ = second => panic!("nothing was written"),
    }
    task.client.stop("late", Some(9), Duration::ZERO).await.unwrap();
    while !reader.is_ended() {
        task.client.await_log("late", reader.position()).await.unwrap();
        reader.read(1000).unwrap();
    }
    task.exited("late").await;
    task.close().await;
}

#[tokio::test]
async fn a_shim_has_no_watch_that_containers_could_use_up() {
    let mut task = Task::spawn().await;
    for number in 0..3 {
        let name = format!("watched-{number}");
        let dir = task.dir().join(&name);
        let mut spec = task.shell(&name, "sleep 1000");
        spec.log = LogSink::Spool { dir, segment_bytes: 1000, max_bytes: 10_000, blocking: number == 0 };
        task.start(&spec).await;
    }
    let shim = task.client.state().await.unwrap().shim_pid;
    let open = fs::read_dir(format!("/proc/{shim}/fd")).unwrap();
    let open: Vec<_> = open.map(|entry| fs::read_link(entry.unwrap().path()).unwrap_or_default()).collect();
    assert!(!open.iter().any(|target| target.ends_with("anon_inode:inotify")), "{open:?}");
    task.client.kill_all().await.unwrap();
    let mut ended = 0;
    while ended < 3 {
        ended += usize::from(matches!(task.event().await, Event::LogEnded { .. }));
    }
    task.close().await;
}
