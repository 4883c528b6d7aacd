//! RegisterContainerInstance.

use std::collections::BTreeSet;
use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::{Ambient, Caller, Timestamp, hex_id};
use estiva_planning::lifecycle::TaskStatus;
use estiva_planning::placement::Resources;
use estiva_schema::Request;
use estiva_store::{Snapshot, Tx};

use super::identity::Identity;
use super::reference::{authorise, find};
use super::table::{
    BY_CLUSTER_STATUS, BY_REGISTRATION_TOKEN, ConnectionRow, ContainerInstanceRow, ContainerInstanceStatus, GPUS,
    InstanceAttribute, ReservationRow, TASK_SLOTS, ZONE_ATTRIBUTE,
};
use super::view::{Include, to_api};
use crate::EcsService;
use crate::cluster::{self, DEFAULT_CLUSTER, table::ClusterRow};
use crate::error::{self, invalid};
use crate::scope::Scope;
use crate::tag::Tags;
use crate::task::table::{BY_CONTAINER_INSTANCE, TaskRow, TaskStatusRow};

/// The most attributes that an agent brings.
const ATTRIBUTES_MAX: usize = 200;
/// Characters of an attribute's name, and of its value: what PutAttributes allows an owner.
pub(super) const ATTRIBUTE_CHARS_MAX: usize = 128;
/// Kinds of resources that an agent names: those that ECS knows, and room for more.
const RESOURCES_MAX: usize = 20;
/// Ports that an agent keeps from tasks, of each protocol.
const RESERVED_PORTS_MAX: usize = 100;
/// Characters of the texts in versionInfo.
pub(super) const VERSION_CHARS_MAX: usize = 255;
/// Characters of the token of a first registration.
const TOKEN_CHARS_MAX: usize = 64;
/// Container instances of a cluster, as ECS limits them.
const INSTANCES_MAX: usize = 5000;
/// What makes a node another node: an agent that finds one of them changed has been moved to other hardware.
const LASTING_ATTRIBUTES: [&str; 3] = ["ecs.instance-type", "ecs.os-type", "ecs.cpu-architecture"];

pub(crate) async fn register(
    service: &EcsService,
    request: Request<api::RegisterContainerInstanceRequest>,
) -> Result<api::RegisterContainerInstanceResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(&caller);
    let offer = Offer::of(&input)?;
    let now = service.ambient.now();
    let row = service.store.update(|tx| {
        let cluster = cluster_of(tx, &scope, input.cluster.as_deref(), now)?;
        let known = match &input.container_instance_arn {
            Some(arn) => Some(registered(tx, &scope, &cluster, arn)?),
            None => offer.answered(tx, &caller, &scope, &cluster),
        };
        let row = if let Some(known) = known {
            again(tx, &caller, &known, &offer)?
        } else {
            check_room(tx, &scope, &cluster)?;
            offer.first(&caller, &scope, &cluster, &service.ambient)
        };
        let reservation = reservation(tx, &row);
        tx.put(reservation);
        Ok(tx.put(row))
    });
    let row = row.await.map_err(error::update)?;
    Ok(api::RegisterContainerInstanceResponse {
        container_instance: Some(to_api(&service.store.view(), &row, Include::TAGS)),
    })
}

/// What an agent says of its node.
struct Offer {
    registered: Resources,
    attributes: Vec<InstanceAttribute>,
    ec2_instance_id: Option<String>,
    version_info: Option<api::VersionInfo>,
    tags: Tags,
    token: Option<String>,
}

impl Offer {
    fn of(input: &api::RegisterContainerInstanceRequest) -> Result<Self, Error> {
        let resources = input.total_resources.clone().unwrap_or_default();
        let attributes = input.attributes.clone().unwrap_or_default();
        if attributes.len() > ATTRIBUTES_MAX {
            return Err(invalid(format!("attributes: at most {ATTRIBUTES_MAX} are allowed")));
        }
        if resources.len() > RESOURCES_MAX {
            return Err(invalid(format!("totalResources: at most {RESOURCES_MAX} are allowed")));
        }
        attributes.iter().try_for_each(check_attribute)?;
        input.version_info.as_ref().map_or(Ok(()), check_version)?;
        let token = input.client_token.clone().filter(|token| !token.is_empty());
        if token.as_ref().is_some_and(|token| token.chars().count() > TOKEN_CHARS_MAX) {
            return Err(invalid(format!("clientToken: at most {TOKEN_CHARS_MAX} characters are allowed")));
        }
        let attribute = |it: api::Attribute| InstanceAttribute { name: it.name, value: it.value };
        let mut attributes: Vec<_> = attributes.into_iter().map(attribute).collect();
        let identity = input.instance_identity_document.as_deref().map(Identity::of).unwrap_or_default();
        // What the agent says itself comes first: an agent whose attributes do not come back as they were refuses to run.
        for attribute in identity.attributes {
            if !attributes.iter().any(|it| it.name == attribute.name) {
                attributes.push(attribute);
            }
        }
        Ok(Self {
            registered: total(&resources)?,
            attributes,
            ec2_instance_id: identity.instance_id,
            version_info: input.version_info.clone(),
            tags: Tags::from_request(input.tags.clone())?,
            token,
        })
    }

    /// The instance that came of this offer when it was made before, and the agent has not heard the answer.
    fn answered(
        &self,
        view: &Snapshot,
        caller: &Caller,
        scope: &Scope,
        cluster: &str,
    ) -> Option<Arc<ContainerInstanceRow>> {
        let key = scope.key(&[cluster, self.token.as_ref()?]);
        let mut known = view.index::<ContainerInstanceRow>(BY_REGISTRATION_TOKEN, &key);
        known.find(|row| row.registered_by == caller.arn())
    }

    fn first(&self, caller: &Caller, scope: &Scope, cluster: &str, ambient: &Ambient) -> ContainerInstanceRow {
        let mut rng = ambient.rng();
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
            attributes,
            version_info: self.version_info.clone(),
            tags: self.tags.clone(),
            registered_at: ambient.now(),
            registration_token: self.token.clone(),
            registered_by: caller.arn(),
            inactive_since: None,
        }
    }
}

/// A cluster takes so many nodes and no more.
fn check_room(tx: &Tx<'_>, scope: &Scope, cluster: &str) -> Result<(), Error> {
    let statuses = [ContainerInstanceStatus::Active, ContainerInstanceStatus::Draining];
    let count = |status: ContainerInstanceStatus| {
        tx.index_count::<ContainerInstanceRow>(BY_CLUSTER_STATUS, &scope.key(&[cluster, status.as_str()]))
    };
    if statuses.into_iter().map(count).sum::<usize>() < INSTANCES_MAX {
        return Ok(());
    }
    let message = format!("A cluster can have at most {INSTANCES_MAX} container instances.");
    Err(Error::limit_exceeded_exception(message))
}

/// The instance that the ARN means. The agent of one of another cluster has been moved and has to register anew.
fn registered(view: &Snapshot, scope: &Scope, cluster: &str, arn: &str) -> Result<Arc<ContainerInstanceRow>, Error> {
    let known = find(view, scope, cluster, arn).ok().flatten();
    let known = known.filter(|row| row.status != ContainerInstanceStatus::Inactive);
    known.ok_or_else(|| Error::client_exception(format!("Container instance {arn} is not registered.")))
}

/// The same node again: it keeps its id, its status, and what its owner put on it.
fn again(
    view: &Snapshot,
    caller: &Caller,
    known: &ContainerInstanceRow,
    offer: &Offer,
) -> Result<ContainerInstanceRow, Error> {
    authorise(caller, known)?;
    let offered =
        |name: &str| offer.attributes.iter().find(|it| it.name == name).map(|it| it.value.as_deref().unwrap_or(""));
    let changed = |name: &str| offered(name).is_some_and(|new| known.attribute(name).is_some_and(|old| old != new));
    if LASTING_ATTRIBUTES.into_iter().any(changed) {
        return Err(Error::client_exception("Container instance type changes are not supported."));
    }
    let mut row = known.clone();
    let mut attributes = offer.attributes.clone();
    let kept = row.attributes.into_iter().filter(|old| !attributes.iter().any(|new| new.name == old.name));
    // What an agent no longer brings is gone; what the owner put on stays. Only names of agents have such prefixes.
    let kept: Vec<_> = kept.filter(|old| old.name == ZONE_ATTRIBUTE || !is_of_agent(&old.name)).collect();
    attributes.extend(kept);
    row.attributes = attributes;
    row.registered = offer.registered.clone();
    // AWS's agent brings none: it says what it is when it connects.
    if offer.version_info.is_some() {
        row.version_info.clone_from(&offer.version_info);
    }
    if is_connected(view, known) && !is_same_node(known, &row) {
        // An agent that was replaced a moment ago is let in once its predecessor's session is known to be over.
        let message = "The container instance has a session with an agent that offers something else. Try again later.";
        return Err(Error::server_exception(message));
    }
    Ok(row)
}

fn is_connected(view: &Snapshot, instance: &ContainerInstanceRow) -> bool {
    view.get::<ConnectionRow>(&estiva_store::Row::key(instance)).is_some_and(|row| row.connected)
}

/// Whether both rows offer the same to tasks. An agent over a copy of a node's directory has a network of its own.
fn is_same_node(one: &ContainerInstanceRow, other: &ContainerInstanceRow) -> bool {
    let all_of = |row: &ContainerInstanceRow, other: &ContainerInstanceRow| {
        row.attributes.iter().all(|attribute| other.attributes.contains(attribute))
    };
    one.registered == other.registered && all_of(one, other) && all_of(other, one)
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

fn check_attribute(attribute: &api::Attribute) -> Result<(), Error> {
    let long = |text: &str| text.chars().count() > ATTRIBUTE_CHARS_MAX;
    if attribute.name.is_empty() || long(&attribute.name) || attribute.value.as_deref().is_some_and(long) {
        let message = format!("attributes: a name has 1 to {ATTRIBUTE_CHARS_MAX} characters, a value at most as many");
        return Err(invalid(message));
    }
    Ok(())
}

fn check_version(version: &api::VersionInfo) -> Result<(), Error> {
    let texts = [&version.agent_hash, &version.agent_version, &version.docker_version];
    if texts.into_iter().flatten().any(|text| text.chars().count() > VERSION_CHARS_MAX) {
        return Err(invalid(format!("versionInfo: a text has at most {VERSION_CHARS_MAX} characters")));
    }
    Ok(())
}

/// CPU, memory, GPUs, how many tasks, and the ports that no task gets.
fn total(resources: &[api::Resource]) -> Result<Resources, Error> {
    let named = |name: &str| resources.iter().find(|resource| resource.name.as_deref() == Some(name));
    let integer = |name: &str| {
        let value = named(name).and_then(|resource| resource.integer_value.map(i64::from).or(resource.long_value));
        value
            .filter(|value| *value >= 0)
            .ok_or_else(|| invalid(format!("totalResources: {name} must be an integer, 0 or more")))
    };
    let gpus = named(GPUS).and_then(|resource| resource.string_set_value.as_ref()).map_or(0, Vec::len);
    let ports = |name: &str| -> Result<BTreeSet<u16>, Error> {
        let values = named(name).and_then(|resource| resource.string_set_value.as_ref());
        if values.is_some_and(|values| values.len() > RESERVED_PORTS_MAX) {
            return Err(invalid(format!("totalResources: {name} may have at most {RESERVED_PORTS_MAX} ports")));
        }
        let values = values.into_iter().flatten();
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
        gpus: i64::try_from(gpus).unwrap_or(i64::MAX),
        task_slots: named(TASK_SLOTS).map(|_| integer(TASK_SLOTS)).transpose()?,
    })
}
