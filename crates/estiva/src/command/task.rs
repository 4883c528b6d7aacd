//! `estiva task`: what became of a task.

use anyhow::{Context, Result};
use clap::Args;
use estiva_api_estiva::DescribeTaskHistory;
use estiva_api_estiva::types::{DescribeTaskHistoryRequest, DescribeTaskHistoryResponse, TaskEvent};

use crate::installation::InstallationOptions;
use crate::output;
use crate::owner;

/// Show what became of a task: every change with its time, its exit codes and the whole reason
#[derive(Args)]
pub struct Options {
    /// The task's id or ARN
    task: String,
    /// The task's cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks the control plane.
pub fn run(installation: &InstallationOptions, options: &Options) -> Result<()> {
    let client = owner::client(installation)?;
    // An ARN names its cluster.
    let of_arn = options.task.rsplit('/').nth(1).filter(|_| options.task.starts_with("arn:")).map(str::to_owned);
    let request =
        DescribeTaskHistoryRequest { cluster: options.cluster.clone().or(of_arn), task: options.task.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let history = runtime.block_on(client.call::<DescribeTaskHistory>(&request));
    let history = history.with_context(|| format!("no history of task {}", options.task))?;
    if options.json { output::json(&estiva_schema::json::to_value(&history)) } else { show(&history) }
}

fn show(history: &DescribeTaskHistoryResponse) -> Result<()> {
    let text = |text: &'_ Option<String>| text.clone().unwrap_or_default();
    output::line(&format!("{}  {}", text(&history.task_arn), text(&history.last_status)))?;
    output::line(&text(&history.task_definition_arn))?;
    if let Some(code) = &history.stop_code {
        output::line(&format!("{code}: {}", text(&history.stopped_reason)))?;
    }
    output::line("")?;
    let events = history.events.as_deref().unwrap_or_default();
    let rows: Vec<_> = events.iter().map(row).collect();
    output::table(&["TIME", "CONTAINER", "STATUS", "EXIT", "REASON"], &rows)
}

fn row(event: &TaskEvent) -> Vec<String> {
    vec![
        output::time(event.at),
        event.container.clone().unwrap_or_default(),
        event.status.clone(),
        event.exit_code.map(|code| code.to_string()).unwrap_or_default(),
        event.reason.clone().unwrap_or_default(),
    ]
}
