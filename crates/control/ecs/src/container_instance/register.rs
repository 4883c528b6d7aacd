//! RegisterContainerInstance.

use std::collections::BTreeSet;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::{Caller, Timestamp, hex_id};
use estiva_planning::lifecycle::TaskStatus;
use estiva_planning::placement::Resources;
use estiva_schema::Request;
use estiva_store::Tx;

use super::reference::{authorise, find};
use super::table::{ContainerInstanceRow, ContainerInstanceStatus, InstanceAttribute, ReservationRow, ZONE_ATTRIBUTE};
use super::view::to_api;
use crate::EcsService;
use crate::cluster::{self, DEFAULT_CLUSTER, table::ClusterRow};
use crate::error::{self, invalid};
use crate::scope::Scope;
use crate::tag::Tags;
use crate::task::table::{BY_CONTAINER_INSTANCE, TaskRow, TaskStatusRow};

/// The most attributes that an agent brings.
const ATTRIBUTES_MAX: usize = 200;

pub(crate) async fn register(
    service: &EcsService,
    request: Request<api::RegisterContainerInstanceRequest>,
) -> Result<api::RegisterContainerInstanceResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let offer = Offer::of(&input)?;
    let now = Timestamp::now();
    let row = service.store.update(|tx| {
        let cluster = cluster_of(tx, &scope, input.cluster.as_deref(), now)?;
        let row = match &input.container_instance_arn {
            Some(arn) => again(tx, &caller, &scope, &cluster, arn, &offer)?,
            None => offer.first(&caller, &scope, &cluster, now),
        };
        let reservation = reservation(tx, &row);
        tx.put(reservation);
        Ok(tx.put(row))
    });
    let row = row.await.map_err(error::update)?;
    Ok(api::RegisterContainerInstanceResponse { container_instance: Some(to_api(&service.store.view(), &row, true)) })
}

/// What an agent says of its node.
struct Offer {
    registered: Resources,
    resources: Vec<api::Resource>,
    attributes: Vec<InstanceAttribute>,
    ec2_instance_id: Option<String>,
    version_info: Option<api::VersionInfo>,
    tags: Tags,
}

impl Offer {
    fn of(input: &api::RegisterContainerInstanceRequest) -> Result<Self, Error> {
        let resources = input.total_resources.clone().unwrap_or_default();
        let attributes = input.attributes.clone().unwrap_or_default();
        if attributes.len() > ATTRIBUTES_MAX {
            return Err(invalid(format!("attributes: at most {ATTRIBUTES_MAX} are allowed")));
        }
        let attribute = |it: api::Attribute| InstanceAttribute { name: it.name, value: it.value };
        Ok(Self {
            registered: total(&resources)?,
            resources,
            attributes: attributes.into_iter().map(attribute).collect(),
            ec2_instance_id: input.instance_identity_document.as_deref().and_then(instance_id),
            version_info: input.version_info.clone(),
            tags: Tags::from_request(input.tags.clone())?,
        })
    }

    fn first(self: &Offer, caller: &Caller, scope: &Scope, cluster: &str, now: Timestamp) -> ContainerInstanceRow {
        let mut rng = rand::rng();
        let mut attributes = self.attributes.clone();
        if !attributes.iter().any(|attribute| attribute.name == ZONE_ATTRIBUTE) {
            let zone = Some(format!("{}a", scope.region));
            attributes.push(InstanceAttribute { name: ZONE_ATTRIBUTE.to_owned(), value: zone });
        }
        ContainerInstanceRow {
            scope: scope.clone(),
            cluster: cluster.to_owned(),
            id: hex_id(&mut rng, 32),
            ec2_instance_id: self.ec2_instance_id.clone().unwrap_or_else(|| format!("i-{}", hex_id(&mut rng, 17))),
            status: ContainerInstanceStatus::Active,
            registered: self.registered.clone(),
            registered_resources: self.resources.clone(),
            attributes,
            version_info: self.version_info.clone(),
            tags: self.tags.clone(),
            registered_at: now,
            registered_by: caller.arn(),
        }
    }
}

/// The same node again: it keeps its id, its status, and what its owner put on it.
fn again(
    tx: &Tx<'_>,
    caller: &Caller,
    scope: &Scope,
    cluster: &str,
    arn: &str,
    offer: &Offer,
) -> Result<ContainerInstanceRow, Error> {
    let known = find(tx, scope, cluster, arn)?.filter(|row| row.status != ContainerInstanceStatus::Inactive);
    let known = known.ok_or_else(|| Error::client_exception(format!("Container instance {arn} is not registered.")))?;
    authorise(caller, &known)?;
    let mut row = (*known).clone();
    let mut attributes = offer.attributes.clone();
    let kept = row.attributes.into_iter().filter(|old| !attributes.iter().any(|new| new.name == old.name));
    // What an agent no longer brings is gone; what the owner put on stays. Only names of agents have such prefixes.
    let kept: Vec<_> = kept.filter(|old| old.name == ZONE_ATTRIBUTE || !is_of_agent(&old.name)).collect();
    attributes.extend(kept);
    row.attributes = attributes;
    row.registered = offer.registered.clone();
    row.registered_resources.clone_from(&offer.resources);
    row.version_info.clone_from(&offer.version_info);
    Ok(row)
}

fn is_of_agent(name: &str) -> bool {
    ["ecs.", "com.amazonaws.ecs.", "estiva."].iter().any(|prefix| name.starts_with(prefix))
}

/// What is left of the instance beside the tasks that are placed on it.
fn reservation(tx: &Tx<'_>, row: &ContainerInstanceRow) -> ReservationRow {
    let mut reservation = ReservationRow {
        instance: estiva_store::Row::key(row),
        remaining: row.registered.clone(),
        running_tasks: 0,
        pending_tasks: 0,
    };
    for task in tx.index::<TaskRow>(BY_CONTAINER_INSTANCE, &reservation.instance) {
        let status = tx.get::<TaskStatusRow>(&estiva_store::Row::key(&*task)).map(|row| row.state.last_status);
        match status {
            None | Some(TaskStatus::Stopped) => continue,
            Some(status) if status < TaskStatus::Running => reservation.pending_tasks += 1,
            Some(_) => reservation.running_tasks += 1,
        }
        reservation.remaining.reserve(&task.demand);
    }
    reservation
}

/// The cluster that the agent joins; `default` comes to be with its first instance.
fn cluster_of(tx: &mut Tx<'_>, scope: &Scope, reference: Option<&str>, now: Timestamp) -> Result<String, Error> {
    let name = cluster::name_of(scope, reference)?;
    match cluster::active(tx, scope, reference) {
        Ok(row) => Ok(row.name.clone()),
        Err(_) if name == DEFAULT_CLUSTER => {
            tx.put(ClusterRow::new(scope, name, now));
            Ok(name.to_owned())
        }
        Err(error) => Err(error),
    }
}

/// CPU, memory and the ports that no task gets.
fn total(resources: &[api::Resource]) -> Result<Resources, Error> {
    let named = |name: &str| resources.iter().find(|resource| resource.name.as_deref() == Some(name));
    let integer = |name: &str| {
        let value = named(name).and_then(|resource| resource.integer_value.map(i64::from).or(resource.long_value));
        value
            .filter(|value| *value >= 0)
            .ok_or_else(|| invalid(format!("totalResources: {name} must be an integer, 0 or more")))
    };
    let ports = |name: &str| -> Result<BTreeSet<u16>, Error> {
        let values = named(name).and_then(|resource| resource.string_set_value.as_ref()).into_iter().flatten();
        let port = |text: &String| {
            text.parse().map_err(|_| invalid(format!("totalResources: {name} has '{text}', which is no port")))
        };
        values.map(port).collect()
    };
    Ok(Resources {
        cpu: integer("CPU")?,
        memory: integer("MEMORY")?,
        tcp_ports: ports("PORTS")?,
        udp_ports: ports("PORTS_UDP")?,
    })
}

/// EC2's instance identity document names the instance.
fn instance_id(document: &str) -> Option<String> {
    let document: serde_json::Value = serde_json::from_str(document).ok()?;
    document.get("instanceId")?.as_str().map(str::to_owned)
}
