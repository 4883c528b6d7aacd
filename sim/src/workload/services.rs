//! What users do with services: all that their owners may say of them.

use estiva_api_ecs::types::DeploymentLifecycleHookStage as Stage;
use estiva_ecs::service::rollout_table::HookStatus;
use estiva_ecs::service::table::ServiceRow;
use rand::RngExt;
use rand::rngs::StdRng;

use super::families::{of_hooks, of_services};
use super::{User, capacity_of};
use crate::definition::Capacity;
use crate::owner::{Change, Constraint, Hook, Kind, Placement, Service, Share, Strategy};
use crate::plane::scope;

/// How many of the services are DAEMONs, and how many have task sets.
const DAEMON_SHARE: f64 = 0.15;
const EXTERNAL_SHARE: f64 = 0.15;
/// Services that there may be at one time.
const SERVICES: u32 = 4;
/// minimumHealthyPercent and maximumPercent.
const PERCENTS: [(i32, i32); 6] = [(100, 200), (50, 100), (100, 150), (0, 100), (50, 200), (100, 100)];
/// Where hooks are.
const STAGES: [Stage; 5] = [
    Stage::ReconcileService,
    Stage::PreScaleUp,
    Stage::PostScaleUp,
    Stage::PreProductionTrafficShift,
    Stage::PostProductionTrafficShift,
];

impl User<'_> {
    /// Creates a service, or does something with the one that there is.
    pub(super) async fn service(&mut self) {
        let name = format!("service-{}", self.rng.random_range(0..SERVICES));
        let found =
            self.cluster.plane.audit(|audit| audit.services.named(&name).map(|(key, row)| (key.clone(), row.clone())));
        match found {
            None => self.create(&name).await,
            Some((key, row)) if row.is_external => self.task_set(&key, &row).await,
            Some((key, row)) => self.change(&key, &row).await,
        }
    }

    async fn change(&mut self, key: &str, row: &ServiceRow) {
        let name = &row.name;
        let capacity = capacity_of(row);
        let change = match self.rng.random_range(0..100) {
            0..28 => Change { desired: Some(self.rng.random_range(0..8)), ..Change::default() },
            28..68 => Change { definition: Some(self.family(capacity)), ..Change::default() },
            68..76 => Change { is_forced: true, ..Change::default() },
            76..80 if capacity == Capacity::Fargate => Change { shares: Some(self.shares()), ..Change::default() },
            76..80 => Change { placement: Some(self.placement(name, row.is_daemon)), ..Change::default() },
            80..86 => Change { hooks: Some(self.hooks(capacity)), is_forced: true, ..Change::default() },
            86..93 => return self.stop_deployment(key).await,
            _ => return self.delete(name).await,
        };
        self.say(format_args!("changes {name}: {change:?}"));
        self.heard(self.cluster.update_service(name, change).await);
    }

    pub(super) async fn delete(&mut self, name: &str) {
        self.say(format_args!("deletes {name}"));
        self.heard(self.cluster.delete_service(name).await);
    }

    async fn create(&mut self, name: &str) {
        let kind = match self.rng.random::<f64>() {
            share if share < DAEMON_SHARE => Kind::Daemon,
            share if share < DAEMON_SHARE + EXTERNAL_SHARE => Kind::External,
            _ => Kind::Replica,
        };
        let capacity = if kind == Kind::Replica { self.capacity() } else { Capacity::Bridge };
        let is_fargate = capacity == Capacity::Fargate;
        let service = Service {
            name: name.to_owned(),
            definition: self.family(capacity),
            desired: self.rng.random_range(0..8),
            percents: if kind == Kind::Daemon { (0, 100) } else { PERCENTS[self.rng.random_range(0..PERCENTS.len())] },
            kind,
            has_breaker: self.rng.random_bool(0.5),
            capacity,
            shares: if is_fargate { self.shares() } else { Vec::new() },
            placement: if is_fargate { Placement::default() } else { self.placement(name, kind == Kind::Daemon) },
            hooks: if kind == Kind::External { Vec::new() } else { self.hooks(capacity) },
        };
        self.say(format_args!("creates {service:?}"));
        self.heard(self.cluster.create_service(&service).await);
    }

    async fn stop_deployment(&mut self, service: &str) {
        let under_way = self.cluster.plane.audit(|audit| audit.services.under_way(service));
        let Some(arn) = under_way else { return };
        let rolls_back = self.rng.random_bool(0.7);
        self.say(format_args!("stops {arn}, rolling back: {rolls_back}"));
        self.heard(self.cluster.stop_deployment(&arn, rolls_back).await);
    }

    /// Answers a hook that waits for an answer.
    pub(super) async fn answer(&mut self) {
        let waiting: Vec<(String, String)> = self.cluster.plane.audit(|audit| {
            let rows = audit.services.deployments.values().filter(|row| !row.status.is_over());
            let hooks = rows.flat_map(|row| row.hooks.iter().map(move |hook| (row, hook)));
            let open = hooks.filter(|(_, hook)| hook.status == HookStatus::AwaitingAction);
            open.filter_map(|(row, hook)| Some((audit.services.under_way(&row.service)?, hook.id.clone()))).collect()
        });
        let Some((arn, hook)) = self.choose(&waiting) else { return };
        let rolls_back = self.rng.random_bool(0.3);
        self.say(format_args!("answers {hook}, rolling back: {rolls_back}"));
        self.cluster.plane.audit(|audit| audit.hooks.answered.insert(hook.clone()));
        self.heard(self.cluster.continue_deployment(&arn, &hook, rolls_back).await);
    }

    /// Protects a task of a service for some minutes, or no more.
    pub(super) async fn protect(&mut self) {
        let tasks: Vec<String> = self.cluster.plane.audit(|audit| {
            let live = audit.live().filter(|(row, _)| row.deployment.is_some());
            live.map(|(row, _)| row.arn()).collect()
        });
        let Some(task) = self.choose(&tasks) else { return };
        let minutes = self.rng.random_bool(0.8).then(|| self.rng.random_range(1..=4));
        self.say(format_args!("protects {task} for {minutes:?} minutes"));
        self.heard(self.cluster.protect(&task, minutes).await);
    }

    pub(super) fn family(&mut self, capacity: Capacity) -> String {
        let families = of_services(capacity);
        families[self.rng.random_range(0..families.len())].to_owned()
    }

    pub(super) fn capacity(&mut self) -> Capacity {
        match self.rng.random_range(0..10) {
            0..2 => Capacity::Fargate,
            2..4 => Capacity::Awsvpc,
            _ => Capacity::Bridge,
        }
    }

    /// A strategy of Fargate's providers, or none.
    pub(super) fn shares(&mut self) -> Vec<Share> {
        let base = self.rng.random_range(0..4);
        let mut shares = vec![
            Share { provider: "FARGATE", base, weight: self.rng.random_range(0..3) },
            Share { provider: "FARGATE_SPOT", base: 0, weight: self.rng.random_range(1..4) },
        ];
        if self.rng.random_bool(0.5) {
            shares.reverse();
        }
        shares
    }

    fn placement(&mut self, name: &str, is_daemon: bool) -> Placement {
        let other = self.other_group(name);
        let constraint = match self.rng.random_range(0..100) {
            0..10 => Some(Constraint::Distinct),
            10..20 => Some(Constraint::MemberOf(zone(&mut self.rng))),
            20..26 => Some(Constraint::MemberOf(format!("not(task:group == {other})"))),
            26..30 => Some(Constraint::MemberOf(format!("task:group == {other}"))),
            _ => None,
        };
        let strategies: &[Strategy] = match self.rng.random_range(0..100) {
            _ if is_daemon => &[],
            0..10 => &[Strategy::Binpack("memory")],
            10..20 => &[Strategy::Spread("attribute:ecs.availability-zone"), Strategy::Binpack("cpu")],
            20..30 => &[Strategy::Spread("instanceId"), Strategy::Binpack("memory")],
            _ => &[],
        };
        Placement { constraints: constraint.into_iter().collect(), strategies: strategies.to_vec() }
    }

    /// The group of another service's tasks: one with a higher number, so that none of them turn in a circle.
    fn other_group(&mut self, name: &str) -> String {
        let names = (0..=SERVICES).map(|number| format!("service-{number}"));
        let others: Vec<String> = names.filter(|other| other.as_str() > name).collect();
        format!("service:{}", others[self.rng.random_range(0..others.len())])
    }

    fn hooks(&mut self, capacity: Capacity) -> Vec<Hook> {
        let count = [0, 0, 0, 1, 1, 2][self.rng.random_range(0..6)];
        (0..count).map(|_| self.hook(capacity)).collect()
    }

    fn hook(&mut self, capacity: Capacity) -> Hook {
        let family = of_hooks(capacity)[[0, 0, 0, 1, 2][self.rng.random_range(0..5)]];
        Hook {
            task: self.rng.random_bool(0.5).then_some(family),
            stage: STAGES[self.rng.random_range(0..STAGES.len())],
            minutes: self.rng.random_range(1..=2),
            continues: self.rng.random_bool(0.5),
        }
    }

    pub(super) fn choose<T: Clone>(&mut self, among: &[T]) -> Option<T> {
        let place = self.rng.random_range(0..among.len().max(1));
        among.get(place).cloned()
    }
}

fn zone(rng: &mut StdRng) -> String {
    let zone = ["a", "b", "c"][rng.random_range(0..3)];
    format!("attribute:ecs.availability-zone == {}{zone}", scope().region)
}
