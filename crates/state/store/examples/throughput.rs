//! Measures the SQLite backend where it is run: `cargo run --release -p estiva-store --example throughput [directory]`.
//!
//! Prints durable transactions a second by the number of concurrent writers, beside what the disk does at most (one
//! `fdatasync` an append), and the cost of opening and reading a large store.

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use estiva_store::{Row, Schema, Store, StoreError, backend::Sqlite};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

const MEASURED: Duration = Duration::from_secs(3);
const ROWS: u32 = 100_000;
/// About what a task's row has.
const FILLER_BYTES: usize = 1200;

#[derive(Serialize, Deserialize)]
struct Task {
    id: String,
    cluster: String,
    generation: u64,
    filler: String,
}

impl Row for Task {
    const TABLE: &'static str = "tasks";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("by_cluster", self.cluster.clone())]
    }
}

fn task(number: u32, generation: u64) -> Task {
    let (id, cluster) = (format!("task/{number:08}"), format!("cluster/{}", number % 10));
    Task { id, cluster, generation, filler: "x".repeat(FILLER_BYTES) }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = env::args_os().nth(1).map_or_else(env::temp_dir, Into::into);
    let directory = root.join(format!("estiva-throughput-{}", std::process::id()));
    let measured = measure(&directory).await;
    fs::remove_dir_all(&directory)?;
    measured
}

async fn measure(directory: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = io::stdout();
    let store = open(directory)?;
    writeln!(out, "{:>10} appends/s with fdatasync, nothing else", appends_per_second(directory)?)?;

    let started = Instant::now();
    for chunk in 0..ROWS / 1000 {
        let fill = store.update(|tx| {
            (chunk * 1000..(chunk + 1) * 1000).for_each(|number| _ = tx.put(task(number, 0)));
            Ok::<_, StoreError>(())
        });
        fill.await?;
    }
    writeln!(out, "{:>10.0?} to write {ROWS} rows, 1000 a transaction", started.elapsed())?;
    for writers in [1, 8, 64] {
        writeln!(out, "{:>10} transactions/s, {writers} writers", transactions_per_second(&store, writers).await?)?;
    }
    drop(store);

    let started = Instant::now();
    let store = open(directory)?;
    writeln!(out, "{:>10.0?} to open it with {ROWS} rows", started.elapsed())?;
    let view = store.view();
    let started = Instant::now();
    let generations: u64 = view.scan::<Task>("").map(|task| task.generation).sum();
    writeln!(out, "{:>10.1?} to scan them (sum {generations})", started.elapsed())?;
    let started = Instant::now();
    let found = view.index::<Task>("by_cluster", "cluster/3").count();
    writeln!(out, "{:>10.1?} to read {found} of them by an index", started.elapsed())?;
    Ok(())
}

fn open(directory: &Path) -> Result<Store, Box<dyn std::error::Error>> {
    Ok(Store::open(Sqlite::open(directory)?, Schema::new(1).table::<Task>())?)
}

fn appends_per_second(directory: &Path) -> io::Result<u64> {
    let path = directory.join("appends");
    let mut file = fs::File::create(&path)?;
    let (started, mut appends) = (Instant::now(), 0);
    while started.elapsed() < MEASURED {
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        appends += 1;
    }
    fs::remove_file(path)?;
    Ok(appends / MEASURED.as_secs())
}

async fn transactions_per_second(store: &Store, writers: u32) -> Result<u64, StoreError> {
    let before = store.view().revision();
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let store = store.clone();
        tasks.spawn(async move {
            let mut number = writer;
            while started.elapsed() < MEASURED {
                // Far apart, so that each transaction touches other pages.
                number = (number + 7919) % ROWS;
                let update = store.update(|tx| {
                    let generation = tx.get::<Task>(&format!("task/{number:08}")).map_or(0, |task| task.generation + 1);
                    tx.put(task(number, generation));
                    Ok(())
                });
                update.await.map_err(|error| error.unify(|error| error))?;
            }
            Ok(())
        });
    }
    while let Some(writer) = tasks.join_next().await {
        // A writer that panicked has said so itself.
        writer.unwrap_or(Ok(()))?;
    }
    Ok((store.view().revision() - before) / MEASURED.as_secs())
}
