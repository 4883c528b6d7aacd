//! Limits that ECS has not got: how long a task may run, and how many of a group run at one time.
//!
//! Both are labels, of the task or else of its task definition: `estiva:timeout` (such as `90s`, `15m`, `2h`) and
//! `estiva:concurrency` (a number, of the tasks of the same group in the cluster that have not ended).

use std::collections::BTreeMap;
use std::time::Duration;

use estiva_api_ecs::Error;
use estiva_model::{Ambient, Timestamp};
use estiva_planning::lifecycle::{DesiredStatus, StopCode, TaskStatus};
use estiva_reconcile::{Controller, Pass, Step};
use estiva_store::{Change, Row, Snapshot};

use super::end::{self, Stop};
use super::table::{TaskRow, TaskStatusRow};
use crate::error::invalid;
use crate::tag::Tags;

const TIMEOUT_TAG: &str = "estiva:timeout";
const CONCURRENCY_TAG: &str = "estiva:concurrency";
/// A year.
const TIMEOUT_MAX_SECONDS: u64 = 365 * 24 * 3600;

/// What the labels of a task and of its definition say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// In seconds.
    pub timeout: Option<u64>,
    pub concurrency: Option<usize>,
}

impl Limits {
    pub fn of(task: &Tags, definition: &Tags) -> Result<Self, Error> {
        let value = |key: &str| task.value(key).or_else(|| definition.value(key));
        let timeout = value(TIMEOUT_TAG).map(|text| {
            let seconds = parse_seconds(text).filter(|seconds| (1..=TIMEOUT_MAX_SECONDS).contains(seconds));
            seconds.ok_or_else(|| invalid(format!("Tag {TIMEOUT_TAG}: '{text}' is no time such as 90s, 15m or 2h.")))
        });
        let concurrency = value(CONCURRENCY_TAG).map(|text| {
            let count = text.parse().ok().filter(|count| *count > 0);
            count.ok_or_else(|| invalid(format!("Tag {CONCURRENCY_TAG}: '{text}' is no number above 0.")))
        });
        Ok(Self { timeout: timeout.transpose()?, concurrency: concurrency.transpose()? })
    }
}

/// A whole number of seconds, minutes, hours or days.
fn parse_seconds(text: &str) -> Option<u64> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// Has a task run for longer than it may? One of a store.
pub(crate) struct TimeoutController {
    ambient: Ambient,
    /// By the task's key, when it is to end; `None` for one that has not begun to run.
    due: BTreeMap<String, Option<Timestamp>>,
}

impl TimeoutController {
    pub fn new(ambient: Ambient) -> Self {
        Self { ambient, due: BTreeMap::new() }
    }

    fn look(&mut self, view: &Snapshot, key: &str, now: Timestamp) -> Option<String> {
        let task = view.get::<TaskRow>(key).filter(|task| task.desired_status == DesiredStatus::Running);
        let timeout = task.and_then(|task| task.timeout_seconds).map(Duration::from_secs);
        let status = view.get::<TaskStatusRow>(key).filter(|row| row.state.last_status != TaskStatus::Stopped);
        let Some((timeout, status)) = timeout.zip(status) else {
            self.due.remove(key);
            return None;
        };
        let Some(started_at) = status.state.started_at else {
            self.due.insert(key.to_owned(), None);
            return None;
        };
        let due = self.due.entry(key.to_owned()).or_insert_with(|| Some(started_at.min(now).plus(timeout)));
        // Whoever was seen to begin has begun now, whatever the system's clock says.
        due.get_or_insert_with(|| now.plus(timeout));
        Some(key.to_owned())
    }
}

impl Controller for TimeoutController {
    type Key = String;

    fn name(&self) -> &'static str {
        "task timeouts"
    }

    fn load(&mut self, view: &Snapshot, now: Timestamp) -> Vec<String> {
        self.due.clear();
        let tasks = view.scan::<TaskRow>("").filter(|task| task.timeout_seconds.is_some());
        tasks.filter_map(|task| self.look(view, &task.key(), now)).collect()
    }

    fn observe(&mut self, view: &Snapshot, change: &Change, now: Timestamp) -> Vec<String> {
        let is_task = change.row::<TaskRow>().is_some() || change.row::<TaskStatusRow>().is_some();
        if is_task { self.look(view, &change.key, now).into_iter().collect() } else { Vec::new() }
    }

    fn reconcile(&mut self, view: &Snapshot, key: &String, now: Timestamp) -> Pass {
        let Some(due) = self.due.get(key).copied().flatten() else { return Pass::default() };
        if due > now {
            return Pass { step: None, again_at: Some(due) };
        }
        let seconds = view.get::<TaskRow>(key).and_then(|task| task.timeout_seconds).unwrap_or(0);
        let reason = format!("The task ran for longer than its timeout of {seconds} s ({TIMEOUT_TAG})");
        let (key, ambient) = (key.clone(), self.ambient.clone());
        let step: Step = Box::new(move |tx| {
            if let Some(task) = tx.get::<TaskRow>(&key) {
                end::request(tx, &task, &Stop { code: StopCode::UserInitiated, reason }, ambient.now());
            }
            Ok(())
        });
        Pass { step: Some(step), again_at: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_unit() {
        let seconds =
            ["90", "90s", "15m", "2h", "1d", "", "s", "1w", "-1s", "99999999999999999999s"].map(parse_seconds);
        assert_eq!(seconds, [Some(90), Some(90), Some(900), Some(7200), Some(86400), None, None, None, None, None]);
    }
}
