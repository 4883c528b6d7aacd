//! What is known of the task, and how it becomes known to others.

use estiva_planning::lifecycle::{ContainerStatus, HealthStatus, TaskStatus};
use estiva_shim::status::Exit;
use tracing::warn;

use super::Driver;
use crate::engine::failure::StartFailure;
use crate::engine::record::KnownContainer;
use crate::fail_point;

impl Driver {
    pub(super) fn set_running(&mut self) -> Result<(), StartFailure> {
        self.record.known.status = TaskStatus::Running;
        self.record.known.version += 1;
        self.record.save(&self.dir).map_err(StartFailure::record)?;
        fail_point::reach("running-kept");
        self.known.send_replace(self.record.known.clone());
        Ok(())
    }

    pub(super) fn set_container(&mut self, name: &str, status: ContainerStatus) {
        if let Some(container) = self.container_mut(name) {
            container.status = container.status.max(status);
        }
    }

    /// Health travels as telemetry: it makes no report, and what of it a crash forgets the next check tells.
    pub(super) fn set_health(&mut self, name: &str, health: HealthStatus) {
        if let Some(container) = self.container_mut(name)
            && container.status == ContainerStatus::Running
            && container.health != health
        {
            container.health = health;
            container.health_since = Some(estiva_model::Timestamp::now());
            self.keep_until_reboot();
            self.known.send_replace(self.record.known.clone());
            self.host.health_news.add(&self.record.task.arn);
        }
    }

    pub(super) fn container_stopped(&mut self, name: &str, exit: Option<&Exit>, reason: Option<String>) {
        self.stop_monitor(name);
        let Some(container) = self.container_mut(name) else { return };
        if container.status == ContainerStatus::Stopped {
            return;
        }
        container.status = ContainerStatus::Stopped;
        container.exit_code = exit.map(|exit| exit.code);
        container.finished_at = exit.and_then(|exit| i64::try_from(exit.at_ms).ok()).map(estiva_model::Timestamp);
        let oom = exit.is_some_and(|exit| exit.oom);
        container.reason =
            reason.or_else(|| oom.then(|| "OutOfMemoryError: Container killed due to memory usage".to_owned()));
        self.publish();
        fail_point::reach("container-end-kept");
    }

    /// Keeps the state and hands it to the reporter. A disk that refuses must not stop the driver: the state is
    /// reported from memory, and found again from the shim's files after a restart.
    pub(super) fn publish(&mut self) {
        self.record.known.version += 1;
        if let Err(error) = self.record.save(&self.dir) {
            warn!(task = self.record.id(), error = &error as &dyn std::error::Error, "cannot keep the task's state");
        }
        self.known.send_replace(self.record.known.clone());
    }

    /// As [`Self::publish`] for what a restarted agent can see in the shim.
    pub(super) fn publish_until_reboot(&mut self) {
        self.record.known.version += 1;
        self.keep_until_reboot();
        self.known.send_replace(self.record.known.clone());
    }

    fn keep_until_reboot(&self) {
        if let Err(error) = self.record.save_until_reboot(&self.dir) {
            warn!(task = self.record.id(), error = &error as &dyn std::error::Error, "cannot keep the task's state");
        }
    }

    pub(super) fn container(&self, name: &str) -> Option<&KnownContainer> {
        self.record.known.containers.iter().find(|it| it.name == name)
    }

    pub(super) fn container_mut(&mut self, name: &str) -> Option<&mut KnownContainer> {
        self.record.known.containers.iter_mut().find(|it| it.name == name)
    }

    pub(super) fn container_names(&self) -> Vec<String> {
        self.record.known.containers.iter().map(|it| it.name.clone()).collect()
    }

    pub(super) fn all_stopped(&self) -> bool {
        self.record.known.containers.iter().all(|it| it.status == ContainerStatus::Stopped)
    }

    pub(super) fn essential_ended(&self) -> bool {
        let ended = |name: &str| self.container(name).is_some_and(|it| it.status == ContainerStatus::Stopped);
        self.record.task.containers.iter().any(|it| it.essential && ended(&it.name))
    }
}
