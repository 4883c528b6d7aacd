//! `estiva top`: what running tasks use.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use estiva_api_estiva::ListTaskUsage;
use estiva_api_estiva::types::{ContainerUsage, ListTaskUsageRequest, TaskUsage};
use estiva_wire::client::Client;

use crate::installation::InstallationOptions;
use crate::output;
use crate::owner;

/// Show what running containers use: CPU, memory, network, storage, restarts
///
/// Nodes measure every 20 seconds. At a terminal the table is shown anew as they do; otherwise once.
#[derive(Args)]
pub struct Options {
    /// The cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Show the table once
    #[arg(long)]
    once: bool,
    /// Print JSON, once
    #[arg(long)]
    json: bool,
}

/// Nodes publish every 20 s, each at its own time.
const REFRESH: Duration = Duration::from_secs(5);
/// Clears a terminal and goes to its upper left corner (ECMA-48).
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Shows until it is interrupted.
pub fn run(installation: &InstallationOptions, options: &Options) -> Result<()> {
    let client = owner::client(installation)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let once = options.once || options.json || !io::stdout().is_terminal();
    loop {
        let tasks = runtime.block_on(all(&client, options.cluster.as_ref()))?;
        if options.json {
            let tasks: Vec<_> = tasks.iter().map(estiva_schema::json::to_value).collect();
            return output::json(&tasks);
        }
        if !once {
            print!("{CLEAR}");
            io::stdout().flush()?;
        }
        show(&tasks)?;
        if once {
            return Ok(());
        }
        std::thread::sleep(REFRESH);
    }
}

async fn all(client: &Client, cluster: Option<&String>) -> Result<Vec<TaskUsage>> {
    let (mut tasks, mut next_token) = (Vec::new(), None);
    loop {
        let request = ListTaskUsageRequest { cluster: cluster.cloned(), next_token, ..ListTaskUsageRequest::default() };
        let page = client.call::<ListTaskUsage>(&request).await.context("no measurements")?;
        tasks.extend(page.tasks.into_iter().flatten());
        next_token = page.next_token;
        if next_token.is_none() {
            return Ok(tasks);
        }
    }
}

fn show(tasks: &[TaskUsage]) -> Result<()> {
    let mut rows: Vec<(f64, Vec<String>)> = Vec::new();
    for task in tasks {
        for container in task.containers.iter().flatten() {
            rows.push((container.cpu_percent.unwrap_or(0.0), row(task, container)));
        }
    }
    rows.sort_by(|one, other| other.0.total_cmp(&one.0));
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).collect();
    output::table(
        &["TASK", "DEFINITION", "CONTAINER", "CPU %", "MEMORY", "NET IN", "NET OUT", "READ", "WRITTEN", "RESTARTS"],
        &rows,
    )
}

fn row(task: &TaskUsage, container: &ContainerUsage) -> Vec<String> {
    let id = task.task_arn.rsplit('/').next().unwrap_or_default();
    let rate = |bytes: Option<f64>| bytes.map(|bytes| format!("{}/s", size(bytes))).unwrap_or_default();
    vec![
        id.to_owned(),
        format!("{}:{}", task.family.as_deref().unwrap_or_default(), task.revision.unwrap_or_default()),
        container.name.clone(),
        container.cpu_percent.map(|percent| format!("{percent:.1}")).unwrap_or_default(),
        container.memory_mi_b.map(|mib| size(mib * f64::from(1 << 20))).unwrap_or_default(),
        rate(container.network_received_bytes_per_second),
        rate(container.network_sent_bytes_per_second),
        rate(container.storage_read_bytes_per_second),
        rate(container.storage_written_bytes_per_second),
        container.restart_count.map(|count| count.to_string()).unwrap_or_default(),
    ]
}

/// Bytes in the largest unit of which there is one.
fn size(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{value:.0} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} GiB")
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_the_largest_unit_of_which_there_is_one() {
        assert_eq!([0.0, 1023.0, 1024.0, 1.5e6, 3e9].map(size), ["0 B", "1023 B", "1.0 KiB", "1.4 MiB", "2.8 GiB"]);
    }
}
