//! What a service has to say: its events, in ECS's words.

use std::time::Duration;

use estiva_api_ecs::types as api;
use estiva_model::{Ambient, Timestamp, uuid};
use estiva_store::{Row, Snapshot, Tx};
use serde::{Deserialize, Serialize};

use super::rollout_table::RolloutRow;

/// DescribeServices shows so many.
const SHOWN_MAX: usize = 100;
/// So many are kept.
pub(super) const KEPT_MAX: u64 = 1000;
/// ECS tells of so many tasks in one event.
const TASKS_AN_EVENT: usize = 10;
/// The same thing is not said again before (Amazon ECS Developer Guide, "Viewing service events").
const REPEATED_AFTER: Duration = Duration::from_secs(6 * 3600);

/// One event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceEventRow {
    /// The service's key.
    pub service: String,
    /// Counts from 0 in the service.
    pub number: u64,
    /// A UUID.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// What.
    pub message: String,
}

impl Row for ServiceEventRow {
    const TABLE: &'static str = "service_events";

    fn key(&self) -> String {
        key(&self.service, self.number)
    }
}

/// Later events come first: the newest are asked for most.
fn key(service: &str, number: u64) -> String {
    format!("{service}/{:020}", u64::MAX - number)
}

/// What an event is about. Of one kind only what is new is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something that happened; each time it is said.
    Happening,
    /// Nothing is left to be done.
    Steady,
    /// Tasks find no room.
    Unplaced,
    /// Tasks fail again and again.
    Impaired,
    /// The bounds of the deployment configuration leave no room.
    Stuck,
}

impl Kind {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Happening => None,
            Self::Steady => Some("steady"),
            Self::Unplaced => Some("unplaced"),
            Self::Impaired => Some("impaired"),
            Self::Stuck => Some("stuck"),
        }
    }
}

impl RolloutRow {
    /// Adds an event, unless it was the last of its kind and is not old. `message` is without `(service NAME)`.
    pub(super) fn tell(&mut self, tx: &mut Tx<'_>, kind: Kind, message: &str, ambient: &Ambient) {
        self.tell_of(tx, None, kind, message, ambient);
    }

    /// The same, of one of the service's task sets if it is about that alone.
    pub(super) fn tell_of(
        &mut self,
        tx: &mut Tx<'_>,
        task_set: Option<&str>,
        kind: Kind,
        message: &str,
        ambient: &Ambient,
    ) {
        let now = ambient.now();
        if let Some(name) = kind.name().map(|name| told_name(name, task_set)) {
            let known = self.told.get(&name);
            if known.is_some_and(|(text, at)| text == message && now.since(*at) < REPEATED_AFTER) {
                return;
            }
            self.told.insert(name, (message.to_owned(), now));
        }
        let name = self.service.rsplit('/').next().unwrap_or_default();
        tx.put(ServiceEventRow {
            service: self.service.clone(),
            number: self.next_event,
            id: uuid(&mut ambient.rng()),
            at: now,
            message: format!(
                "(service {name}{}) {message}",
                task_set.map(|id| format!(", taskSet {id}")).unwrap_or_default()
            ),
        });
        if let Some(old) = self.next_event.checked_sub(KEPT_MAX) {
            tx.delete::<ServiceEventRow>(&key(&self.service, old));
        }
        self.next_event += 1;
    }

    /// Tells what has been done to tasks: `has started 2 tasks: (task ID) (task ID).`
    pub(super) fn tell_of_tasks(&mut self, tx: &mut Tx<'_>, verb: &str, noun: &str, ids: &[String], ambient: &Ambient) {
        for ids in ids.chunks(TASKS_AN_EVENT) {
            let named: Vec<String> = ids.iter().map(|id| format!("(task {id})")).collect();
            let message = format!("{verb} {} {noun}: {}.", ids.len(), named.join(" "));
            self.tell(tx, Kind::Happening, &message, ambient);
        }
    }

    /// What was said of a kind is over: the next time it is news again.
    pub(super) fn is_over(&mut self, kind: Kind) {
        self.is_over_of(None, kind);
    }

    /// The same, of one of the service's task sets.
    pub(super) fn is_over_of(&mut self, task_set: Option<&str>, kind: Kind) {
        if let Some(name) = kind.name() {
            self.told.remove(&told_name(name, task_set));
        }
    }
}

/// Under which name it is remembered what was said last.
fn told_name(kind: &str, task_set: Option<&str>) -> String {
    task_set.map_or_else(|| kind.to_owned(), |id| format!("{kind} {id}"))
}

/// The newest events, the newest first.
pub(super) fn newest(view: &Snapshot, service: &str) -> Vec<api::ServiceEvent> {
    let prefix = format!("{service}/");
    view.scan::<ServiceEventRow>(&prefix).take(SHOWN_MAX).map(|row| to_api(&row)).collect()
}

pub(super) fn to_api(row: &ServiceEventRow) -> api::ServiceEvent {
    api::ServiceEvent { id: Some(row.id.clone()), created_at: Some(row.at), message: Some(row.message.clone()) }
}

/// Forgets an event.
pub(super) fn delete(tx: &mut Tx<'_>, service: &str, number: u64) {
    tx.delete::<ServiceEventRow>(&key(service, number));
}
