//! What RunTask and StartTask have in common: a checked request, and the rows of the tasks that it makes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use estiva_api_ecs::Error;
use estiva_api_ecs::types as api;
use estiva_model::{Ambient, hex_id};
use estiva_planning::lifecycle::{DesiredStatus, TaskState, TaskStatus};
use estiva_planning::placement::Resources;
use estiva_store::{Row, Snapshot, Tx};

use super::eni;
use super::limit::Limits;
use super::overrides;
use super::table::{BY_LIVE_GROUP, TaskRow, TaskStatusRow};
use crate::container_instance::{
    self,
    table::{ContainerInstanceRow, EXTERNAL_ATTRIBUTE},
};
use crate::error::invalid;
use crate::scope::Scope;
use crate::service::table::GROUP_PREFIX;
use crate::tag::Tags;
use crate::task_definition::table::TaskDefinitionRow;
use crate::task_definition::unsupported;

/// Characters of startedBy.
const STARTED_BY_CHARS_MAX: usize = 128;
/// Characters of a group.
pub(crate) const GROUP_CHARS_MAX: usize = 255;

/// Why a task of a group that has as many as it may was not made.
pub(super) const TOO_MANY: &str = "CONCURRENCY";

/// Subnets and security groups of a network configuration.
const SUBNETS_MAX: usize = 16;
const SECURITY_GROUPS_MAX: usize = 5;

/// What a caller says of tasks to launch, whatever the operation.
#[derive(Default)]
pub(crate) struct Wishes {
    pub launch_type: Option<api::LaunchType>,
    pub capacity_provider: Option<String>,
    pub overrides: Option<api::TaskOverride>,
    pub network: Option<api::NetworkConfiguration>,
    pub group: Option<String>,
    pub started_by: Option<String>,
    pub tags: Option<Vec<api::Tag>>,
    pub propagate_tags: Option<api::PropagateTags>,
    pub enable_execute_command: bool,
    pub enable_managed_tags: bool,
    /// Of a service's tasks.
    pub service: Option<OfService>,
    /// Of the task of a deployment's hook.
    pub is_of_hook: bool,
}

/// What a service's tasks have besides.
pub(crate) struct OfService {
    /// The service's name.
    pub name: String,
    /// The id of the deployment.
    pub deployment: String,
    /// The digests that the containers' images stand for.
    pub image_digests: BTreeMap<String, String>,
    /// The service's labels, if they are passed on.
    pub tags: Tags,
}

/// Tasks to launch, checked.
pub(crate) struct Launch {
    pub scope: Scope,
    /// The cluster's name.
    pub cluster: String,
    /// What each task takes of its container instance.
    pub demand: Resources,
    /// The tasks' group.
    pub group: String,
    definition: Arc<TaskDefinitionRow>,
    capacity: api::LaunchType,
    capacity_provider: Option<String>,
    overrides: api::TaskOverride,
    subnet: Option<String>,
    started_by: Option<String>,
    tags: Tags,
    enable_execute_command: bool,
    deployment: Option<String>,
    image_digests: BTreeMap<String, String>,
    is_of_hook: bool,
    /// What its labels allow.
    pub limits: Limits,
}

impl Launch {
    /// Checks the wishes against the task definition.
    pub fn new(
        scope: Scope,
        cluster: String,
        definition: Arc<TaskDefinitionRow>,
        wishes: Wishes,
    ) -> Result<Self, Error> {
        let launch_type = wishes.launch_type.unwrap_or(api::LaunchType::Ec2);
        check_compatibility(&definition.definition, launch_type)?;
        let overrides = wishes.overrides.unwrap_or_default();
        let overrides = overrides::checked(&definition.definition, overrides, launch_type)?;
        unsupported::check(&definition.definition)?;
        let subnet = subnet(&definition.definition, wishes.network.as_ref(), launch_type)?;
        // An empty text is none.
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let group = given(wishes.group).unwrap_or_else(|| format!("family:{}", definition.family));
        let mut started_by = given(wishes.started_by);
        let long = |text: &str, most: usize| text.chars().count() > most;
        if wishes.service.is_none() && (long(&group, GROUP_CHARS_MAX) || group.starts_with(GROUP_PREFIX)) {
            return Err(invalid(format!(
                "group: at most {GROUP_CHARS_MAX} characters, and not starting with 'service:'"
            )));
        }
        if started_by.as_deref().is_some_and(|text| long(text, STARTED_BY_CHARS_MAX)) {
            return Err(invalid(format!("startedBy: at most {STARTED_BY_CHARS_MAX} characters")));
        }
        let mut tags = Tags::default();
        match wishes.propagate_tags.map(api::PropagateTags::as_str) {
            Some("TASK_DEFINITION") => tags = definition.tags.clone(),
            Some("SERVICE") if wishes.service.is_none() => {
                return Err(invalid("propagateTags: SERVICE is for tasks of services"));
            }
            _ => {}
        }
        tags.merge(wishes.tags.unwrap_or_default())?;
        let (mut deployment, mut image_digests, mut group) = (None, BTreeMap::new(), group);
        if let Some(service) = wishes.service {
            tags.merge(service.tags.to_api())?;
            if wishes.enable_managed_tags {
                tags.put_managed("aws:ecs:serviceName", &service.name);
            }
            group = format!("{GROUP_PREFIX}{}", service.name);
            started_by = Some(service.deployment.clone());
            (deployment, image_digests) = (Some(service.deployment), service.image_digests);
        }
        if wishes.enable_managed_tags {
            tags.put_managed("aws:ecs:clusterName", &cluster);
        }
        let limits = Limits::of(&tags, &definition.tags)?;
        Ok(Self {
            scope,
            cluster,
            demand: demand(&definition.definition, &overrides),
            group,
            definition,
            capacity: launch_type,
            capacity_provider: wishes.capacity_provider,
            overrides,
            subnet,
            started_by,
            tags,
            enable_execute_command: wishes.enable_execute_command,
            deployment,
            image_digests,
            is_of_hook: wishes.is_of_hook,
            limits,
        })
    }

    /// The same for another capacity provider.
    pub fn of_provider(mut self, capacity_provider: Option<String>) -> Self {
        self.capacity_provider = capacity_provider;
        self
    }

    /// The tasks' launch type.
    pub fn capacity(&self) -> api::LaunchType {
        self.capacity
    }

    /// The task definition's family and revision.
    pub fn revision(&self) -> (String, u32) {
        (self.definition.family.clone(), self.definition.revision)
    }

    /// The task definition's placement constraints.
    pub fn defined_constraints(&self) -> Option<&[api::TaskDefinitionPlacementConstraint]> {
        self.definition.definition.placement_constraints.as_deref()
    }

    fn execution_role(&self) -> Option<&str> {
        let overridden = self.overrides.execution_role_arn.as_deref();
        overridden.or(self.definition.definition.execution_role_arn.as_deref()).filter(|role| !role.is_empty())
    }

    /// Whether the tasks go to Fargate capacity.
    pub fn is_fargate(&self) -> bool {
        self.capacity == api::LaunchType::Fargate
    }

    /// Whether each task has a network interface, and so an address of its instance.
    pub fn has_network_interface(&self) -> bool {
        self.subnet.is_some()
    }

    /// How many more of the tasks' group may run now, if its number is limited.
    pub fn allowed(&self, view: &Snapshot) -> Option<usize> {
        let group = self.scope.key(&[&self.cluster, &self.group]);
        self.limits.concurrency.map(|most| most.saturating_sub(view.index_count::<TaskRow>(BY_LIVE_GROUP, &group)))
    }

    /// Whether the instance is of the tasks' launch type: external instances are for EXTERNAL alone.
    pub fn is_of_launch_type(&self, instance: &ContainerInstanceRow) -> bool {
        let is_external = instance.attribute(EXTERNAL_ATTRIBUTE).is_some();
        self.is_fargate() || is_external == (self.capacity == api::LaunchType::External)
    }

    /// Whether ExecuteCommand is to be allowed in the tasks.
    pub fn enables_execute_command(&self) -> bool {
        self.enable_execute_command
    }

    /// Whether the instance lacks an attribute that the tasks need: those of the task definition, and Estiva's own agent to run
    /// commands in containers.
    pub fn lacks_attribute(&self, instance: &ContainerInstanceRow) -> bool {
        if self.enable_execute_command && !instance.has_own_agent() {
            return true;
        }
        let required = self.definition.definition.requires_attributes.iter().flatten();
        required.into_iter().any(|needed| {
            let found = instance.attribute(&needed.name);
            found.is_none() || needed.value.as_deref().is_some_and(|value| found != Some(value))
        })
    }

    /// Makes a task on an instance that has room for it; `None` if the instance has no address for it.
    pub fn put(&self, tx: &mut Tx<'_>, instance: &ContainerInstanceRow, ambient: &Ambient) -> Option<Arc<TaskRow>> {
        let mut rng = ambient.rng();
        let mut row = TaskRow {
            scope: self.scope.clone(),
            cluster: self.cluster.clone(),
            id: hex_id(&mut rng, 32),
            family: self.definition.family.clone(),
            revision: self.definition.revision,
            launch_type: self.capacity.as_str().to_owned(),
            capacity_provider: self.capacity_provider.clone(),
            container_instance: instance.id.clone(),
            container_instance_cluster: instance.cluster.clone(),
            availability_zone: instance.availability_zone(),
            desired_status: DesiredStatus::Running,
            stop_code: None,
            stopped_reason: None,
            group: self.group.clone(),
            started_by: self.started_by.clone(),
            overrides: self.overrides.clone(),
            enable_execute_command: self.enable_execute_command,
            credentials_id: hex_id(&mut rng, 32),
            execution_credentials_id: self.execution_role().map(|_| hex_id(&mut rng, 32)).unwrap_or_default(),
            tags: self.tags.clone(),
            demand: self.demand.clone(),
            network_interface: None,
            created_at: ambient.now(),
            is_live: true,
            timeout_seconds: self.limits.timeout,
            deployment: self.deployment.clone(),
            failure: None,
            image_digests: self.image_digests.clone(),
            is_of_hook: self.is_of_hook,
        };
        if let Some(subnet) = &self.subnet {
            row.network_interface = Some(eni::allocate(tx, instance, &row.key(), subnet, &mut rng)?);
        }
        let provisioned = row.network_interface.is_none() && !self.is_fargate();
        let status = if provisioned { TaskStatus::Pending } else { TaskStatus::Provisioning };
        let definitions = self.definition.definition.container_definitions.iter().flatten();
        let names = definitions.filter_map(|container| container.name.clone());
        tx.put(TaskStatusRow {
            scope: self.scope.clone(),
            cluster: self.cluster.clone(),
            id: row.id.clone(),
            launch_type: row.launch_type.clone(),
            state: TaskState::new(status, names),
            deployment: self.deployment.clone(),
        });
        container_instance::reserve(tx, &instance.key(), &self.demand);
        Some(tx.put(row))
    }
}

fn check_compatibility(definition: &api::TaskDefinition, launch_type: api::LaunchType) -> Result<(), Error> {
    let compatible = definition.compatibilities.iter().flatten().any(|it| it.as_str() == launch_type.as_str());
    if compatible {
        return Ok(());
    }
    Err(invalid(format!("Task definition does not support launch_type {}.", launch_type.as_str())))
}

/// The first subnet that a task in network mode awsvpc names; other modes must not name any.
fn subnet(
    definition: &api::TaskDefinition,
    network: Option<&api::NetworkConfiguration>,
    capacity: api::LaunchType,
) -> Result<Option<String>, Error> {
    let awsvpc = definition.network_mode == Some(api::NetworkMode::Awsvpc);
    let configuration = network.and_then(|network| network.awsvpc_configuration.as_ref());
    match (awsvpc, configuration) {
        (true, None) => Err(invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")),
        (false, Some(_)) => {
            Err(invalid("Network Configuration is not valid for the given networkMode of this task definition."))
        }
        (false, None) => Ok(None),
        (true, Some(configuration)) => {
            let groups = configuration.security_groups.as_deref().unwrap_or_default();
            if configuration.subnets.len() > SUBNETS_MAX || groups.len() > SECURITY_GROUPS_MAX {
                return Err(invalid(format!(
                    "awsvpcConfiguration: at most {SUBNETS_MAX} subnets and {SECURITY_GROUPS_MAX} security groups are allowed"
                )));
            }
            if configuration.assign_public_ip == Some(api::AssignPublicIp::Enabled)
                && capacity != api::LaunchType::Fargate
            {
                return Err(invalid("Assign public IP is not supported for this launch type."));
            }
            let subnet = configuration.subnets.first().filter(|subnet| !subnet.is_empty());
            subnet.cloned().map(Some).ok_or_else(|| invalid("subnets can not be empty."))
        }
    }
}

/// What a task takes of its container instance: the task's own limits, or else the sum over its containers.
fn demand(definition: &api::TaskDefinition, overrides: &api::TaskOverride) -> Resources {
    let (task_cpu, task_memory) = overrides::task_sizes(definition, overrides);
    let (mut cpu, mut memory, mut gpus) = (0, 0, 0);
    let (mut tcp_ports, mut udp_ports) = (BTreeSet::new(), BTreeSet::new());
    let host = definition.network_mode == Some(api::NetworkMode::Host);
    let awsvpc = definition.network_mode == Some(api::NetworkMode::Awsvpc);
    for container in definition.container_definitions.iter().flatten() {
        let own = overrides.container_overrides.iter().flatten().find(|it| it.name == container.name);
        let size = |overridden: Option<i32>, defined: Option<i32>| overridden.or(defined).map(i64::from);
        cpu += size(own.and_then(|it| it.cpu), container.cpu).unwrap_or(0);
        let reserved = size(own.and_then(|it| it.memory_reservation), container.memory_reservation);
        let limit = size(own.and_then(|it| it.memory), container.memory);
        memory += reserved.or(limit).unwrap_or(0);
        gpus += gpus_of(container);
        for port in container.port_mappings.iter().flatten().filter(|_| !awsvpc) {
            let fixed = if host { port.container_port } else { port.host_port };
            let Some(number) = fixed.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0) else {
                continue;
            };
            let udp = port.protocol == Some(api::TransportProtocol::Udp);
            if udp {
                udp_ports.insert(number)
            } else {
                tcp_ports.insert(number)
            };
        }
    }
    Resources {
        cpu: task_cpu.unwrap_or(cpu),
        memory: task_memory.unwrap_or(memory),
        tcp_ports,
        udp_ports,
        gpus,
        task_slots: None,
    }
}

/// How many GPUs a container has for itself.
fn gpus_of(container: &api::ContainerDefinition) -> i64 {
    let required = container.resource_requirements.iter().flatten();
    let gpus = required.filter(|it| it.r#type == api::ResourceType::Gpu);
    gpus.filter_map(|it| it.value.as_deref()?.parse::<u32>().ok()).map(i64::from).sum()
}
