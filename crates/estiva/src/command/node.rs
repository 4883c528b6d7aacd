//! `estiva node`: further nodes on this machine.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use estiva_api_ecs::DescribeContainerInstances;
use estiva_api_ecs::types::{ContainerInstance, DescribeContainerInstancesRequest};
use estiva_wire::client::Client;
use serde::Serialize;

use super::agent::zone;
use super::up::control::{Answer, Wish, ask};
use crate::installation::{Installation, InstallationOptions};
use crate::nodes::{NodeRecord, container_instance_of};
use crate::{output, owner};

/// More at once is a mistake of the keyboard's.
const COUNT_MAX: u8 = 63;

/// Add, list and remove further nodes on this machine
///
/// Each has an instance type's size, a network of its own, and an agent of its own.
#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Add nodes; prints the ARN of each container instance when it is registered and connected
    Add {
        /// The instance type, which is the node's size; what the machine has unless given
        #[arg(long = "type", value_name = "TYPE")]
        instance_type: Option<String>,
        /// The availability zone; the region's first unless given
        #[arg(long, value_name = "ZONE", value_parser = zone)]
        az: Option<String>,
        /// The cluster that they join, made if it is new; that of `estiva up` unless given
        #[arg(long, value_name = "NAME")]
        cluster: Option<String>,
        /// Let their agents reach the control plane over the nodes' networks, as on machines of their own: what is cut there they lose
        #[arg(long)]
        over_network: bool,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(COUNT_MAX)))]
        count: u8,
    },
    /// Show the nodes of this machine
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove nodes: deregister them, end their agents, remove what they kept
    Remove {
        /// As `estiva node list` shows them
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Stop the tasks that run on them
        #[arg(long)]
        force: bool,
    },
}

/// Asks the `estiva up` that runs.
pub fn run(installation: &InstallationOptions, options: &Options) -> Result<()> {
    let here = installation.open()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let socket = here.control_socket()?;
    match &options.command {
        Command::Add { instance_type, az, cluster, over_network, count } => runtime.block_on(async {
            for _ in 0..*count {
                let (instance_type, zone, cluster) = (instance_type.clone(), az.clone(), cluster.clone());
                add(&socket, Wish::Add { instance_type, zone, cluster, over_network: *over_network }).await?;
            }
            Ok(())
        }),
        Command::Remove { names, force } => runtime.block_on(async {
            for name in names {
                remove(&socket, name, *force).await?;
            }
            Ok(())
        }),
        Command::List { json } => {
            let client = owner::client(installation)?;
            let nodes = runtime.block_on(nodes(&here, &client))?;
            if *json { output::json(&nodes) } else { table(&nodes) }
        }
    }
}

async fn add(socket: &Path, wish: Wish) -> Result<()> {
    match ask(socket, &wish).await? {
        Answer::Added(arn) => output::line(&arn)?,
        Answer::Refused(reason) => bail!("the node was not added: {reason}"),
        Answer::Removed(_) => bail!("`estiva up` answered something else"),
    }
    Ok(())
}

async fn remove(socket: &Path, name: &str, force: bool) -> Result<()> {
    match ask(socket, &Wish::Remove { node: name.to_owned(), force }).await? {
        Answer::Removed(0) => output::line(&format!("{name} is gone"))?,
        Answer::Removed(1) => output::line(&format!("{name} is gone, with 1 task"))?,
        Answer::Removed(tasks) => output::line(&format!("{name} is gone, with {tasks} tasks"))?,
        Answer::Refused(reason) => bail!("the node was not removed: {reason}"),
        Answer::Added(_) => bail!("`estiva up` answered something else"),
    }
    Ok(())
}

/// A node as `estiva node list` shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    name: String,
    instance_id: String,
    instance_type: Option<String>,
    availability_zone: Option<String>,
    cluster: String,
    /// Where its published ports answer.
    address: String,
    /// ACTIVE, DRAINING or INACTIVE as ECS has it; DISCONNECTED while its agent is away; UNREGISTERED.
    state: String,
    running_tasks: i32,
    container_instance_arn: Option<String>,
}

async fn nodes(here: &Installation, client: &Client) -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    if let Some(arn) = container_instance_of(&here.node_dir()?)? {
        let instance = describe(client, &arn).await?;
        let id = instance.as_ref().and_then(|instance| instance.ec2_instance_id.clone()).unwrap_or_default();
        shown.push(Shown::of(id, None, Some(arn), instance));
    }
    for record in NodeRecord::all(here)? {
        let arn = record.container_instance(here)?;
        let instance = match &arn {
            Some(arn) => describe(client, arn).await?,
            None => None,
        };
        shown.push(Shown::of(record.name.clone(), Some(&record), arn, instance));
    }
    Ok(shown)
}

/// `arn:…:container-instance/CLUSTER/ID`; `None` if the control plane does not know it.
async fn describe(client: &Client, arn: &str) -> Result<Option<ContainerInstance>> {
    let cluster = arn.split('/').nth(1).unwrap_or_default();
    let request = DescribeContainerInstancesRequest {
        cluster: Some(cluster.to_owned()),
        container_instances: vec![arn.to_owned()],
        ..DescribeContainerInstancesRequest::default()
    };
    match client.call::<DescribeContainerInstances>(&request).await {
        Ok(answer) => Ok(answer.container_instances.unwrap_or_default().into_iter().next()),
        Err(error) if error.code() == Some("ClusterNotFoundException") => Ok(None),
        Err(error) => Err(error).context("Estiva does not answer"),
    }
}

impl Shown {
    fn of(name: String, record: Option<&NodeRecord>, arn: Option<String>, instance: Option<ContainerInstance>) -> Self {
        let state = match &instance {
            None => "UNREGISTERED".to_owned(),
            Some(instance) if instance.status.as_deref() == Some("INACTIVE") => "INACTIVE".to_owned(),
            Some(instance) if instance.agent_connected != Some(true) => "DISCONNECTED".to_owned(),
            Some(instance) => instance.status.clone().unwrap_or_default(),
        };
        let instance = instance.unwrap_or_default();
        let attributes = instance.attributes.unwrap_or_default();
        let attribute = |name: &str| attributes.iter().find(|it| it.name == name).and_then(|it| it.value.clone());
        let of_arn = arn.as_deref().and_then(|arn| arn.split('/').nth(1)).unwrap_or_default();
        Self {
            name,
            instance_id: instance.ec2_instance_id.unwrap_or_default(),
            instance_type: record.and_then(|record| record.instance_type.clone()),
            availability_zone: attribute("ecs.availability-zone"),
            cluster: record.map_or(of_arn, |record| &record.cluster).to_owned(),
            address: attribute("estiva.address").unwrap_or_else(|| "127.0.0.1".to_owned()),
            state,
            running_tasks: instance.running_tasks_count.unwrap_or(0),
            container_instance_arn: arn,
        }
    }
}

fn table(nodes: &[Shown]) -> Result<()> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let row = |node: &Shown| {
        vec![
            node.name.clone(),
            or_dash(&node.instance_type),
            or_dash(&node.availability_zone),
            node.address.clone(),
            node.state.clone(),
            node.running_tasks.to_string(),
            or_dash(&node.container_instance_arn),
        ]
    };
    let rows: Vec<_> = nodes.iter().map(row).collect();
    output::table(&["NAME", "TYPE", "ZONE", "ADDRESS", "STATE", "TASKS", "CONTAINER INSTANCE"], &rows)
}
