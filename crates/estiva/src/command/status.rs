//! `estiva status`: whether Estiva is up, and what runs.

use anyhow::{Context, Result};
use clap::Args;
use estiva_api_ecs::types::{Cluster, DescribeClustersRequest, ListClustersRequest};
use estiva_api_ecs::{DescribeClusters, ListClusters};
use estiva_wire::client::Client;
use serde::Serialize;

use crate::installation::InstallationOptions;
use crate::{output, owner};

/// DescribeClusters takes so many at a time, and ListClusters gives no more.
const PAGE: i32 = 100;

/// Show whether Estiva is up, and what runs in each cluster
#[derive(Args)]
pub struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Status {
    endpoint: String,
    clusters: Vec<ClusterStatus>,
}

#[derive(Serialize)]
struct ClusterStatus {
    name: String,
    status: String,
    container_instances: i32,
    running_tasks: i32,
    pending_tasks: i32,
}

/// Asks the control plane.
pub fn run(installation: &InstallationOptions, options: &Options) -> Result<()> {
    let here = installation.open()?;
    let endpoint = here.running_endpoint().unwrap_or_else(|| installation.endpoint());
    let client = owner::client(installation)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let clusters =
        runtime.block_on(clusters(&client)).with_context(|| format!("Estiva does not answer at {endpoint}"))?;
    let status = Status { endpoint, clusters: clusters.into_iter().map(ClusterStatus::from).collect() };
    if options.json {
        return output::json(&status);
    }
    output::line(&format!("Estiva is up: {}", status.endpoint))?;
    output::line("")?;
    let row = |cluster: &ClusterStatus| {
        vec![
            cluster.name.clone(),
            cluster.status.clone(),
            cluster.container_instances.to_string(),
            cluster.running_tasks.to_string(),
            cluster.pending_tasks.to_string(),
        ]
    };
    let rows: Vec<_> = status.clusters.iter().map(row).collect();
    output::table(&["CLUSTER", "STATUS", "INSTANCES", "RUNNING", "PENDING"], &rows)
}

async fn clusters(client: &Client) -> Result<Vec<Cluster>> {
    let mut clusters = Vec::new();
    let mut next_token = None;
    loop {
        let page = client.call::<ListClusters>(&ListClustersRequest { max_results: Some(PAGE), next_token }).await?;
        let described = DescribeClustersRequest { clusters: page.cluster_arns, ..DescribeClustersRequest::default() };
        if described.clusters.as_ref().is_some_and(|arns| !arns.is_empty()) {
            clusters.extend(client.call::<DescribeClusters>(&described).await?.clusters.unwrap_or_default());
        }
        next_token = page.next_token;
        if next_token.is_none() {
            return Ok(clusters);
        }
    }
}

impl From<Cluster> for ClusterStatus {
    fn from(cluster: Cluster) -> Self {
        Self {
            name: cluster.cluster_name.unwrap_or_default(),
            status: cluster.status.unwrap_or_default(),
            container_instances: cluster.registered_container_instances_count.unwrap_or(0),
            running_tasks: cluster.running_tasks_count.unwrap_or(0),
            pending_tasks: cluster.pending_tasks_count.unwrap_or(0),
        }
    }
}
