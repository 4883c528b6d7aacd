//! What users do with the task sets of a service whose deployments are theirs.

use estiva_ecs::service::rollout_table::Deployment;
use estiva_ecs::service::table::ServiceRow;
use rand::RngExt;

use super::User;
use crate::definition::Capacity;
use crate::owner::{Change, TaskSet};

/// Percent of the service's count.
const SCALES: [f64; 6] = [0.0, 10.0, 33.3, 50.0, 100.0, 100.0];

impl User<'_> {
    /// Does something with a service's task sets.
    pub(super) async fn task_set(&mut self, key: &str, row: &ServiceRow) {
        let sets: Vec<Deployment> = self.cluster.plane.audit(|audit| {
            audit.services.rollouts.get(key).map(|rollout| rollout.deployments.clone()).unwrap_or_default()
        });
        let chosen = self.choose(&sets);
        match (self.rng.random_range(0..100), chosen) {
            (0..20, _) => self.set_count(&row.name).await,
            (20..55, Some(set)) => self.scale(&row.name, &set.id).await,
            (55..65, Some(set)) => {
                self.say(format_args!("makes {} PRIMARY", set.id));
                self.heard(self.cluster.promote_task_set(&row.name, &set.id).await);
            }
            (65..75, Some(set)) => {
                self.say(format_args!("deletes {}", set.id));
                self.heard(self.cluster.delete_task_set(&row.name, &set.id).await);
            }
            (95.., _) => self.delete(&row.name).await,
            _ => self.create_task_set(&row.name).await,
        }
    }

    async fn set_count(&mut self, service: &str) {
        let change = Change { desired: Some(self.rng.random_range(0..8)), ..Change::default() };
        self.say(format_args!("changes {service}: {change:?}"));
        self.heard(self.cluster.update_service(service, change).await);
    }

    async fn scale(&mut self, service: &str, set: &str) {
        let scale = self.scale_value();
        self.say(format_args!("scales {set} to {scale} %"));
        self.heard(self.cluster.scale_task_set(service, set, scale).await);
    }

    async fn create_task_set(&mut self, service: &str) {
        let capacity = self.capacity();
        let shares = if capacity == Capacity::Fargate { self.shares() } else { Vec::new() };
        let set = TaskSet { definition: self.family(capacity), scale: self.scale_value(), capacity, shares };
        self.say(format_args!("creates {set:?} of {service}"));
        if let Some(id) = self.heard(self.cluster.create_task_set(service, &set).await) {
            let is_known = id.as_ref().is_some_and(|id| {
                let has = |audit: &mut crate::audit::Audit| {
                    audit.services.rollouts.values().any(|rollout| rollout.deployment(id).is_some())
                };
                self.cluster.plane.audit(has)
            });
            self.check(is_known, || format!("CreateTaskSet answered {id:?}, which is not in the store"));
        }
    }

    fn scale_value(&mut self) -> f64 {
        SCALES[self.rng.random_range(0..SCALES.len())]
    }
}
