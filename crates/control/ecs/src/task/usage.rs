//! What tasks use of their nodes, as the nodes measure it: the newest minutes, in memory. ListTaskUsage of Estiva's own API shows
//! the last of it.

mod counters;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use estiva_agent_protocol::tcs::{PublishMetrics, TASKS_MAX};
use estiva_api_estiva::Error;
use estiva_api_estiva::types as api;
use estiva_model::Timestamp;
use estiva_schema::Request;
use estiva_store::{Row, Snapshot};

use super::{history, report};
use crate::EcsService;
use crate::cluster;
use crate::container_instance::table::ContainerInstanceRow;
use crate::scope::Scope;
use counters::Counters;

/// Measurements kept of a task: nodes publish every 20 s, so these are five minutes.
const SAMPLES_MAX: usize = 15;
/// A task whose node has been silent for so long, in milliseconds, is forgotten.
const SILENCE_MAX_MS: i64 = 120_000;
/// Tasks in one answer.
const PAGE_MAX: usize = 1000;
/// Containers of a task definition, and a few that a node may add.
const CONTAINERS_MAX: usize = 20;

/// The newest measurements of every task. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Usages(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// By the task's key.
    tasks: BTreeMap<String, Measured>,
    pruned_at: i64,
}

#[derive(Debug)]
struct Measured {
    arn: String,
    family: String,
    revision: i32,
    samples: VecDeque<Sample>,
    /// Of a node with AWS's agent.
    counters: Counters,
}

/// What one publication says of one task.
#[derive(Debug, Clone)]
struct Sample {
    at: Timestamp,
    containers: Vec<api::ContainerUsage>,
}

impl Usages {
    /// Keeps what a container instance has measured of its own tasks; of others it is passed over.
    pub fn take(&self, view: &Snapshot, instance: &ContainerInstanceRow, metrics: PublishMetrics, now: Timestamp) {
        let mut state = self.lock();
        for metric in metrics.task_metrics.into_iter().take(TASKS_MAX) {
            let Ok(task) = report::find(view, &instance.scope, None, &metric.task_arn) else { continue };
            if task.container_instance_key() != instance.key() {
                continue;
            }
            let mut containers = metric.container_metrics;
            containers.truncate(CONTAINERS_MAX);
            let measured = state.tasks.entry(task.key()).or_insert_with(|| Measured {
                arn: task.arn(),
                family: task.family.clone(),
                revision: i32::try_from(task.revision).unwrap_or(i32::MAX),
                samples: VecDeque::new(),
                counters: Counters::default(),
            });
            let own = instance.has_own_agent();
            let counters = &mut measured.counters;
            let usage = |metric: &_| {
                if own { counters::of_own_agent(metric) } else { counters.of_awss_agent(metric, now) }
            };
            let containers = containers.iter().map(usage).collect();
            measured.samples.truncate(SAMPLES_MAX - 1);
            measured.samples.push_front(Sample { at: now, containers });
        }
        state.prune(now);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn prune(&mut self, now: Timestamp) {
        let now = now.as_millis();
        if now - self.pruned_at >= SILENCE_MAX_MS {
            self.pruned_at = now;
            self.tasks.retain(|_, task| task.is_fresh(now));
        }
    }
}

impl Measured {
    fn is_fresh(&self, now: i64) -> bool {
        self.samples.front().is_some_and(|sample| now - sample.at.as_millis() < SILENCE_MAX_MS)
    }

    fn newest(&self) -> Option<api::TaskUsage> {
        let sample = self.samples.front()?;
        Some(api::TaskUsage {
            task_arn: self.arn.clone(),
            family: Some(self.family.clone()),
            revision: Some(self.revision),
            at: sample.at,
            containers: Some(sample.containers.clone()),
        })
    }
}

pub(crate) fn list(
    service: &EcsService,
    request: &Request<api::ListTaskUsageRequest>,
) -> Result<api::ListTaskUsageResponse, Error> {
    let Request { input, caller, .. } = request;
    let scope = Scope::of(caller);
    let view = service.store.view();
    let cluster = cluster::active(&view, &scope, input.cluster.as_deref()).map_err(history::translated)?;
    let most = input.max_results.map_or(PAGE_MAX, |most| usize::try_from(most).unwrap_or(0));
    if !(1..=PAGE_MAX).contains(&most) {
        return Err(Error::invalid_parameter_exception(format!("maxResults: must be from 1 to {PAGE_MAX}")));
    }
    let prefix = scope.key(&[&cluster.name, ""]);
    let tokens = service.tokens.of(request);
    let opened = input.next_token.as_deref().map(|token| tokens.open(token).ok_or("Invalid token")).transpose();
    let after = opened.map_err(Error::invalid_parameter_exception)?.map(|id| format!("{prefix}{id}"));
    let now = service.ambient.now().as_millis();
    let state = service.usages.lock();
    let of_cluster = state.tasks.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
    let rest = of_cluster.filter(|(key, task)| after.as_ref().is_none_or(|after| *key > after) && task.is_fresh(now));
    let mut page: Vec<_> = rest.take(most + 1).collect();
    let more = page.len() > most;
    page.truncate(most);
    let last = page.last().map(|(key, _)| key.trim_start_matches(&prefix).to_owned());
    Ok(api::ListTaskUsageResponse {
        tasks: Some(page.into_iter().filter_map(|(_, task)| task.newest()).collect()),
        next_token: last.filter(|_| more).map(|id| tokens.seal(&id)),
    })
}
