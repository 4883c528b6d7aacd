//! The task definitions of a run, and how their images behave on simulated nodes.

use estiva_api_ecs::types as api;

/// What an image does when it is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// It runs.
    Good,
    /// It never starts.
    Unstartable,
    /// It runs for a few seconds and fails.
    Crashing,
    /// It runs, but its health check fails.
    Sick,
    /// It does its work and ends.
    Brief,
}

impl Image {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Good, Self::Unstartable, Self::Crashing, Self::Sick, Self::Brief];

    /// As in a task definition.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unstartable => "unstartable",
            Self::Crashing => "crashing",
            Self::Sick => "sick",
            Self::Brief => "brief",
        }
    }

    /// Of a task definition's name for it; what is unknown is good.
    pub fn parse(name: &str) -> Self {
        Self::ALL.into_iter().find(|image| image.name() == name).unwrap_or(Self::Good)
    }
}

/// What a task definition's tasks run on, and how they are networked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Capacity {
    /// Container instances of the cluster; ports of the node.
    #[default]
    Bridge,
    /// Container instances of the cluster; an address for each task.
    Awsvpc,
    /// Nodes that offer themselves for it; an address for each task.
    Fargate,
}

/// A task definition of one container.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Its family.
    pub family: String,
    /// What it runs.
    pub image: Image,
    /// Where its tasks run.
    pub capacity: Capacity,
    /// CPU units.
    pub cpu: i32,
    /// MiB.
    pub memory: i32,
    /// A port of the node that it needs.
    pub host_port: Option<i32>,
    /// Whether its health is checked.
    pub has_check: bool,
}

impl Definition {
    /// A small one that runs.
    pub fn new(family: &str, image: Image) -> Self {
        let capacity = Capacity::Bridge;
        Self { family: family.to_owned(), image, capacity, cpu: 100, memory: 100, host_port: None, has_check: false }
    }

    /// One for other capacity; Fargate's has the smallest of its sizes.
    pub fn on(capacity: Capacity, family: &str, image: Image) -> Self {
        let plain = Self { capacity, ..Self::new(family, image) };
        if capacity == Capacity::Fargate { Self { cpu: 256, memory: 512, ..plain } } else { plain }
    }

    /// To register it.
    pub fn input(&self) -> api::RegisterTaskDefinitionRequest {
        let health_check = self.has_check.then(|| api::HealthCheck {
            command: vec!["CMD-SHELL".to_owned(), "true".to_owned()],
            ..api::HealthCheck::default()
        });
        let port = self.host_port.map(|port| api::PortMapping {
            container_port: Some(80),
            host_port: Some(port),
            ..api::PortMapping::default()
        });
        let container = api::ContainerDefinition {
            name: Some("app".to_owned()),
            image: Some(self.image.name().to_owned()),
            cpu: Some(self.cpu),
            memory: Some(self.memory),
            essential: Some(true),
            health_check,
            port_mappings: port.map(|port| vec![port]),
            ..api::ContainerDefinition::default()
        };
        let is_fargate = self.capacity == Capacity::Fargate;
        api::RegisterTaskDefinitionRequest {
            family: self.family.clone(),
            container_definitions: vec![container],
            network_mode: (self.capacity != Capacity::Bridge).then_some(api::NetworkMode::Awsvpc),
            requires_compatibilities: is_fargate.then(|| vec![api::Compatibility::Fargate]),
            cpu: is_fargate.then(|| self.cpu.to_string()),
            memory: is_fargate.then(|| self.memory.to_string()),
            ..api::RegisterTaskDefinitionRequest::default()
        }
    }
}
