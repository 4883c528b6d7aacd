//! What a node has been told of its tasks, and what it has still to be told: the difference to a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use estiva_agent_protocol::acs::CredentialsMessage;
use estiva_agent_protocol::task::Task;
use estiva_ecs::task::table::{BY_CONTAINER_INSTANCE, TaskRow, TaskStatusRow};
use estiva_model::hex_id;
use estiva_planning::lifecycle::{DesiredStatus, TaskStatus};
use estiva_store::{Row, Snapshot};

use crate::feeds::Feeds;
use crate::payload::{self, Node, TaskRole};
use crate::sessions::Dirty;

/// So many tasks a payload keep it below what a frame may have.
const TASKS_A_PAYLOAD: usize = 10;

/// Tasks of one payload.
#[derive(Debug)]
pub(crate) struct Batch {
    pub message_id: String,
    pub tasks: Vec<Task>,
}

/// One session's account of what it has sent. A new session has sent nothing, so that after a reconnect a node hears of
/// all its tasks again, whether or not it acknowledged them; within a session the connection loses nothing.
pub(crate) struct Assignments {
    /// The container instance's key.
    instance: String,
    feeds: Feeds,
    /// By the task's key; tasks that have ended are not in it.
    sent: BTreeMap<String, Sent>,
    /// Keys of tasks that the node could not take.
    refused: BTreeSet<String>,
    /// Whether a task ended that nobody told the node to end.
    ended: bool,
}

struct Sent {
    desired: DesiredStatus,
    message_id: String,
}

impl Assignments {
    pub fn new(instance: String, feeds: Feeds) -> Self {
        Self { instance, feeds, sent: BTreeMap::new(), refused: BTreeSet::new(), ended: false }
    }

    /// What the node has to be told so that it knows what is wanted of the tasks in question.
    pub fn news(&mut self, view: &Snapshot, dirty: &Dirty) -> Vec<Batch> {
        let rows: Vec<Arc<TaskRow>> = if dirty.all {
            self.sent.retain(|key, _| view.contains::<TaskRow>(key));
            view.index::<TaskRow>(BY_CONTAINER_INSTANCE, &self.instance).collect()
        } else {
            dirty.tasks.iter().filter_map(|key| self.row(view, key)).collect()
        };
        let mut news = Vec::new();
        let node = self.node(view);
        for row in rows {
            let key = row.key();
            if !self.is_news(view, &row, &key) {
                continue;
            }
            let Some(task) = payload::task(view, &row, row.desired_status, &node, &self.feeds) else {
                tracing::warn!(task = row.arn(), "the task's definition is gone; its node is not told of it");
                continue;
            };
            news.push((key, row.desired_status, task));
        }
        let mut batches = Vec::new();
        let mut news = news.into_iter().peekable();
        while news.peek().is_some() {
            let message_id = message_id(&self.feeds);
            let batch = news.by_ref().take(TASKS_A_PAYLOAD).map(|(key, desired, task)| {
                self.sent.insert(key, Sent { desired, message_id: message_id.clone() });
                task
            });
            let tasks = batch.collect();
            batches.push(Batch { message_id, tasks });
        }
        batches
    }

    /// The node could not take a payload: the keys of those of its tasks of which that was not known.
    pub fn refuse(&mut self, message_id: &str) -> Vec<String> {
        let sent = self.sent.iter().filter(|(_, sent)| sent.message_id == message_id);
        let tasks: Vec<String> = sent.map(|(key, _)| key.clone()).collect();
        tasks.into_iter().filter(|key| self.refused.insert(key.clone())).collect()
    }

    /// What the node could not take, once more, as far as it is still news.
    pub fn retry(&mut self, view: &Snapshot) -> Vec<Batch> {
        let tasks = std::mem::take(&mut self.refused);
        for key in &tasks {
            self.sent.remove(key);
        }
        self.news(view, &Dirty { tasks, ..Dirty::default() })
    }

    /// Fresh credentials of every task that the node has, for those that have a role.
    pub fn credentials(&self, view: &Snapshot) -> Vec<CredentialsMessage> {
        let tasks = self.sent.keys().filter_map(|key| view.get::<TaskRow>(key));
        let tasks = tasks.filter(|row| row.desired_status == DesiredStatus::Running);
        let node = self.node(view);
        let message = |row: &TaskRow, role: TaskRole| {
            Some(CredentialsMessage {
                message_id: message_id(&self.feeds),
                task_arn: row.arn(),
                task_cluster_arn: row.scope.arn(format!("cluster/{}", row.cluster)),
                role_type: role.kind.to_owned(),
                role_credentials: Some(self.feeds.credentials(row, &role.credentials_id, &role.arn)?),
            })
        };
        let messages = |row: Arc<TaskRow>| {
            payload::roles(view, &row, &node).into_iter().filter_map(|role| message(&row, role)).collect::<Vec<_>>()
        };
        tasks.flat_map(messages).collect()
    }

    fn node(&self, view: &Snapshot) -> Node {
        Node::of(view, &self.instance, &self.feeds.endpoint)
    }

    /// Whether a task ended, since this was last asked, that the node was not told to end. Somebody reported it: a node that
    /// runs it all the same learns from a manifest that it is not to.
    pub fn ended_by_itself(&mut self) -> bool {
        std::mem::take(&mut self.ended)
    }

    fn row(&mut self, view: &Snapshot, key: &str) -> Option<Arc<TaskRow>> {
        let row = view.get::<TaskRow>(key);
        if row.is_none() {
            self.sent.remove(key);
        }
        row
    }

    fn is_news(&mut self, view: &Snapshot, row: &TaskRow, key: &str) -> bool {
        if is_live(view, row) {
            return self.sent.get(key).is_none_or(|sent| sent.desired != row.desired_status);
        }
        if self.sent.remove(key).is_some_and(|sent| sent.desired == DesiredStatus::Running) {
            self.ended = true;
        }
        false
    }
}

/// Whether a task has not ended: its node ought to know it.
pub(crate) fn is_live(view: &Snapshot, row: &TaskRow) -> bool {
    let status = view.get::<TaskStatusRow>(&row.key());
    status.is_some_and(|row| row.state.last_status != TaskStatus::Stopped)
}

/// Unique to the message.
pub(crate) fn message_id(feeds: &Feeds) -> String {
    hex_id(&mut feeds.ambient.rng(), 32)
}
