//! What was acknowledged is there: after `kill -9` at any instant, and after the disk was full.
//!
//! Both need a process of their own, which is this test again, told by a variable of its environment what to be.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use estiva_store::{Store, StoreError, UpdateError, backend::Sqlite};
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::{SigHandler, Signal, signal},
};

use tokio::task::JoinSet;

use crate::rows::{Counter, Item, Place, count, increment, schema, try_write};

const DIRECTORY: &str = "ESTIVA_STORE_TEST_DIRECTORY";
const WRITERS: u64 = 8;

/// Where to work, in the process of its own.
fn told() -> Option<PathBuf> {
    env::var_os(DIRECTORY).map(PathBuf::from)
}

fn open(directory: &Path) -> Store {
    Store::open(Sqlite::open(directory).unwrap(), schema()).unwrap()
}

/// Runs the test of this name again, in a process of its own.
fn process(test: &str, directory: &Path) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(DIRECTORY, directory).stdout(Stdio::piped());
    command.spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill() {
    if let Some(directory) = told() {
        return write_for_ever(open(&directory)).await;
    }
    let place = tempfile::tempdir().unwrap();
    let mut acknowledged = vec![0; usize::try_from(WRITERS).unwrap()];
    for round in 1..=4 {
        let mut child = process("durability::what_was_acknowledged_survives_a_kill", place.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Each round is killed at another point: after so many acknowledgements, in the midst of later commits.
        lines.by_ref().map(Result::unwrap).filter(|line| note(line, &mut acknowledged)).take(round * 97).for_each(drop);
        child.kill().unwrap();
        child.wait().unwrap();
        lines.map(Result::unwrap).for_each(|line| _ = note(&line, &mut acknowledged));

        let view = place.open().view();
        let mut total = 0;
        for (writer, acknowledged) in acknowledged.iter_mut().enumerate() {
            let durable = count(&view, &format!("writer/{writer}"));
            assert!(durable >= *acknowledged, "writer {writer}: {durable} of {acknowledged}");
            assert_eq!(view.scan::<Item>(&format!("{writer}/")).count(), usize::try_from(durable).unwrap());
            *acknowledged = durable;
            total += durable;
        }
        // Each transaction is there as a whole, and the order is without holes.
        assert_eq!(count(&view, "total"), total);
        assert_eq!(view.revision(), total);
    }
}

/// Takes down an acknowledgement, if the line is one.
fn note(line: &str, acknowledged: &mut [u64]) -> bool {
    let Some((writer, value)) = line.strip_prefix("acknowledged ").and_then(|rest| rest.split_once(' ')) else {
        return false;
    };
    acknowledged[writer.parse::<usize>().unwrap()] = value.parse().unwrap();
    true
}

/// Ends with its pipe, should the parent die before it kills us.
async fn write_for_ever(store: Store) {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            loop {
                let update = store.update(|tx| {
                    increment(tx, "total");
                    let value = increment(tx, &format!("writer/{writer}"));
                    tx.put(Item::new(&format!("{writer}/{value}"), "g", value));
                    Ok::<_, StoreError>(value)
                });
                let value = update.await.unwrap();
                // One line at once, so that a kill leaves no half of one.
                std::io::stdout().write_all(format!("acknowledged {writer} {value}\n").as_bytes()).unwrap();
            }
        });
    }
    writers.join_all().await;
}

#[tokio::test]
async fn a_full_disk_fails_updates_and_nothing_else() {
    if let Some(directory) = told() {
        return fill_the_disk(&directory).await;
    }
    let place = tempfile::tempdir().unwrap();
    let child = process("durability::a_full_disk_fails_updates_and_nothing_else", place.path());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let written: u64 = fs::read_to_string(place.path().join("written")).unwrap().parse().unwrap();
    let view = place.open().view();
    assert_eq!(count(&view, "written"), written);
    assert_eq!(view.count::<Item>(), usize::try_from(written).unwrap());
}

/// Writes until no file may grow further, then some more, and then with room again.
async fn fill_the_disk(directory: &Path) {
    // SAFETY: ignoring a signal installs no handler, so nothing can run in a signal's context.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    let store = open(directory);
    let write = async |n: u64| {
        let row = Item::new(&n.to_string(), &"g".repeat(10_000), n);
        try_write(&store, |tx| {
            tx.put(row);
            tx.put(Counter { name: "written".to_owned(), value: n });
        })
        .await
    };
    setrlimit(Resource::RLIMIT_FSIZE, 1024 * 1024, hard).unwrap();
    let mut written = 0;
    let error = loop {
        match write(written + 1).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, UpdateError::Store(StoreError::Commit { .. })), "{error:?}");
    assert!(written > 10, "{written}");
    if write(written + 1).await.is_ok() {
        written += 1;
    }
    assert_eq!(count(&store.view(), "written"), written);
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    write(written + 1).await.unwrap();
    fs::write(directory.join("written"), (written + 1).to_string()).unwrap();
}
