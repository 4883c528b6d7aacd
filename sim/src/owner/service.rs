//! Services as their owner describes them.

use estiva_api_ecs::types as api;

use crate::definition::Capacity;
use crate::plane::scope;

/// A service to be created.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The family, or family and revision.
    pub definition: String,
    /// How many tasks; of a DAEMON it is not asked.
    pub desired: i32,
    /// minimumHealthyPercent and maximumPercent.
    pub percents: (i32, i32),
    /// Who decides on its tasks.
    pub kind: Kind,
    /// Whether the circuit breaker is on, and rolls back.
    pub has_breaker: bool,
    /// What its tasks run on.
    pub capacity: Capacity,
    /// The providers that its tasks are shared out among; none: a launch type.
    pub shares: Vec<Share>,
    /// Where its tasks may go, and go first.
    pub placement: Placement,
    /// What holds up its deployments.
    pub hooks: Vec<Hook>,
}

/// Who decides on a service's tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// Its scheduler: so many tasks.
    #[default]
    Replica,
    /// Its scheduler: one task on each container instance.
    Daemon,
    /// Its owner, by task sets.
    External,
}

/// What changes of a service; nothing of what is absent.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The family, or family and revision.
    pub definition: Option<String>,
    /// How many tasks.
    pub desired: Option<i32>,
    /// Whether tasks are replaced though nothing else changes.
    pub is_forced: bool,
    /// Where its tasks may go, and go first.
    pub placement: Option<Placement>,
    /// The providers.
    pub shares: Option<Vec<Share>>,
    /// What holds up its deployments.
    pub hooks: Option<Vec<Hook>>,
}

/// A capacity provider's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// FARGATE or FARGATE_SPOT.
    pub provider: &'static str,
    /// Tasks before any by weight.
    pub base: i32,
    /// Part of the rest.
    pub weight: i32,
}

/// Where tasks may go, and go first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// All of them must be met.
    pub constraints: Vec<Constraint>,
    /// The first counts most.
    pub strategies: Vec<Strategy>,
}

/// A placement constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Constraint {
    /// distinctInstance.
    Distinct,
    /// memberOf, with an expression of the cluster query language.
    MemberOf(String),
}

/// A placement strategy: its type, and its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Over the values of a field.
    Spread(&'static str),
    /// Onto the instance with the least of it left.
    Binpack(&'static str),
}

/// What holds up a deployment at a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The family whose task decides; none: it waits for an answer.
    pub task: Option<&'static str>,
    /// Where it holds the deployment up.
    pub stage: api::DeploymentLifecycleHookStage,
    /// For how long at most.
    pub minutes: i32,
    /// Whether the deployment goes on after that.
    pub continues: bool,
}

impl Service {
    /// With ECS's defaults.
    pub fn new(name: &str, definition: &str, desired: i32) -> Self {
        Self {
            name: name.to_owned(),
            definition: definition.to_owned(),
            desired,
            percents: (100, 200),
            kind: Kind::Replica,
            has_breaker: false,
            capacity: Capacity::Bridge,
            shares: Vec::new(),
            placement: Placement::default(),
            hooks: Vec::new(),
        }
    }

    pub(super) fn input(&self) -> api::CreateServiceRequest {
        let is_external = self.kind == Kind::External;
        let controller = api::DeploymentController { r#type: api::DeploymentControllerType::External };
        let request = api::CreateServiceRequest {
            service_name: self.name.clone(),
            desired_count: (self.kind != Kind::Daemon).then_some(self.desired),
            placement_constraints: Some(self.placement.constraints()),
            placement_strategy: Some(self.placement.strategies()),
            ..api::CreateServiceRequest::default()
        };
        if is_external {
            return api::CreateServiceRequest { deployment_controller: Some(controller), ..request };
        }
        api::CreateServiceRequest {
            task_definition: Some(self.definition.clone()),
            scheduling_strategy: (self.kind == Kind::Daemon).then_some(api::SchedulingStrategy::Daemon),
            deployment_configuration: Some(self.configuration()),
            network_configuration: network(self.capacity),
            launch_type: launch_type(self.capacity).filter(|_| self.shares.is_empty()),
            capacity_provider_strategy: (!self.shares.is_empty()).then(|| strategy(&self.shares)),
            ..request
        }
    }

    fn configuration(&self) -> api::DeploymentConfiguration {
        let (minimum, maximum) = self.percents;
        let breaker = api::DeploymentCircuitBreaker {
            enable: self.has_breaker,
            rollback: self.has_breaker,
            ..api::DeploymentCircuitBreaker::default()
        };
        api::DeploymentConfiguration {
            minimum_healthy_percent: Some(minimum),
            maximum_percent: Some(maximum),
            deployment_circuit_breaker: Some(breaker),
            lifecycle_hooks: Some(self.hooks.iter().map(Hook::input).collect()),
            ..api::DeploymentConfiguration::default()
        }
    }
}

impl Change {
    pub(super) fn input(self, service: &str) -> api::UpdateServiceRequest {
        let hooks = self.hooks.map(|hooks| api::DeploymentConfiguration {
            lifecycle_hooks: Some(hooks.iter().map(Hook::input).collect()),
            ..api::DeploymentConfiguration::default()
        });
        api::UpdateServiceRequest {
            service: service.to_owned(),
            task_definition: self.definition,
            desired_count: self.desired,
            force_new_deployment: self.is_forced.then_some(true),
            placement_constraints: self.placement.as_ref().map(Placement::constraints),
            placement_strategy: self.placement.as_ref().map(Placement::strategies),
            capacity_provider_strategy: self.shares.as_deref().map(strategy),
            deployment_configuration: hooks,
            ..api::UpdateServiceRequest::default()
        }
    }
}

impl Placement {
    fn constraints(&self) -> Vec<api::PlacementConstraint> {
        let constraint = |constraint: &Constraint| {
            let (kind, expression) = match constraint {
                Constraint::Distinct => (api::PlacementConstraintType::DistinctInstance, None),
                Constraint::MemberOf(expression) => (api::PlacementConstraintType::MemberOf, Some(expression.clone())),
            };
            api::PlacementConstraint { r#type: Some(kind), expression }
        };
        self.constraints.iter().map(constraint).collect()
    }

    fn strategies(&self) -> Vec<api::PlacementStrategy> {
        let strategy = |strategy: &Strategy| {
            let (kind, field) = match strategy {
                Strategy::Spread(field) => (api::PlacementStrategyType::Spread, field),
                Strategy::Binpack(field) => (api::PlacementStrategyType::Binpack, field),
            };
            api::PlacementStrategy { r#type: Some(kind), field: Some((*field).to_owned()) }
        };
        self.strategies.iter().map(strategy).collect()
    }
}

impl Hook {
    fn input(&self) -> api::DeploymentLifecycleHook {
        let action = if self.continues {
            api::DeploymentLifecycleHookAction::Continue
        } else {
            api::DeploymentLifecycleHookAction::Rollback
        };
        let timeout = api::DeploymentLifecycleHookTimeoutConfiguration {
            action: Some(action),
            timeout_in_minutes: Some(self.minutes),
        };
        api::DeploymentLifecycleHook {
            hook_target_arn: self.task.map(|family| scope().arn(format!("task-definition/{family}:1"))),
            target_type: self.task.is_none().then_some(api::DeploymentLifecycleHookTargetType::Pause),
            lifecycle_stages: Some(vec![self.stage]),
            timeout_configuration: Some(timeout),
            ..api::DeploymentLifecycleHook::default()
        }
    }
}

/// What a call says of a capacity provider strategy.
pub(super) fn strategy(shares: &[Share]) -> Vec<api::CapacityProviderStrategyItem> {
    let item = |share: &Share| api::CapacityProviderStrategyItem {
        capacity_provider: share.provider.to_owned(),
        base: Some(share.base),
        weight: Some(share.weight),
    };
    shares.iter().map(item).collect()
}

/// What a call says of the network of tasks that have addresses.
pub(super) fn network(capacity: Capacity) -> Option<api::NetworkConfiguration> {
    let configuration =
        api::AwsVpcConfiguration { subnets: vec!["subnet-1".to_owned()], ..api::AwsVpcConfiguration::default() };
    (capacity != Capacity::Bridge).then_some(api::NetworkConfiguration { awsvpc_configuration: Some(configuration) })
}

/// What a call says of the launch type; EC2 need not be said.
pub(super) fn launch_type(capacity: Capacity) -> Option<api::LaunchType> {
    (capacity == Capacity::Fargate).then_some(api::LaunchType::Fargate)
}
