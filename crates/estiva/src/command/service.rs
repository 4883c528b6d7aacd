//! `estiva service`: what a service does, and everything that it has said.

use anyhow::{Context, Result};
use clap::Args;
use estiva_api_ecs::DescribeServices;
use estiva_api_ecs::types::{DescribeServicesRequest, Service};
use estiva_api_estiva::ListServiceEvents;
use estiva_api_estiva::types::{ListServiceEventsRequest, ServiceEvent};

use crate::installation::InstallationOptions;
use crate::{output, owner};

/// Show a service: its deployments, and its events from the first that is kept on
#[derive(Args)]
pub struct Options {
    /// The service's name or ARN
    service: String,
    /// The service's cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Asks the control plane.
pub fn run(installation: &InstallationOptions, options: &Options) -> Result<()> {
    let of_arn = options.service.rsplit('/').nth(1).filter(|_| options.service.starts_with("arn:")).map(str::to_owned);
    let cluster = options.cluster.clone().or(of_arn);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (service, events) = runtime.block_on(async {
        let client = owner::client(installation)?;
        let request = DescribeServicesRequest {
            cluster: cluster.clone(),
            services: vec![options.service.clone()],
            ..DescribeServicesRequest::default()
        };
        let found = client.call::<DescribeServices>(&request).await.context("cannot describe the service")?;
        let service = found.services.into_iter().flatten().next();
        let service = service.with_context(|| format!("there is no service {}", options.service))?;
        let mut events = Vec::new();
        let mut next_token = None;
        loop {
            let request = ListServiceEventsRequest {
                cluster: cluster.clone(),
                service: options.service.clone(),
                max_results: None,
                next_token,
            };
            let page = client.call::<ListServiceEvents>(&request).await.context("cannot list the service's events")?;
            events.extend(page.events.into_iter().flatten());
            next_token = page.next_token;
            if next_token.is_none() {
                break;
            }
        }
        events.reverse();
        anyhow::Ok((service, events))
    })?;
    if options.json {
        let events: Vec<_> = events.iter().map(estiva_schema::json::to_value).collect();
        return output::json(
            &serde_json::json!({ "service": estiva_schema::json::to_value(&service), "events": events }),
        );
    }
    show(&service, &events)
}

fn show(service: &Service, events: &[ServiceEvent]) -> Result<()> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let count = |count: Option<i32>| count.unwrap_or(0).to_string();
    output::line(&format!("{}  {}", text(&service.service_arn), text(&service.status)))?;
    output::line(&format!(
        "{} desired, {} running, {} pending",
        count(service.desired_count),
        count(service.running_count),
        count(service.pending_count)
    ))?;
    output::line("")?;
    let rows: Vec<_> = service
        .deployments
        .iter()
        .flatten()
        .map(|it| {
            vec![
                text(&it.id),
                text(&it.status),
                it.rollout_state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
                text(&it.task_definition).rsplit('/').next().unwrap_or_default().to_owned(),
                count(it.desired_count),
                count(it.running_count),
                count(it.pending_count),
                count(it.failed_tasks),
            ]
        })
        .collect();
    output::table(
        &["DEPLOYMENT", "STATUS", "ROLLOUT", "TASK DEFINITION", "DESIRED", "RUNNING", "PENDING", "FAILED"],
        &rows,
    )?;
    output::line("")?;
    let rows: Vec<_> = events.iter().map(|event| vec![output::time(event.at), event.message.clone()]).collect();
    output::table(&["TIME", "EVENT"], &rows)
}
