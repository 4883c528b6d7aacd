//! The next step of a task's containers: start, restart, stop, in the order that they ask for.

use std::time::Duration;

use estiva_agent_protocol::task::{Container, RestartPolicy, Task};
use estiva_planning::dependency::{Condition, Progress, Wait, next_to_stop, wait};
use estiva_planning::lifecycle::{ContainerStatus, HealthStatus, TaskStatus};
use estiva_shim::client::Client;
use estiva_shim::spec::ContainerSpec;
use estiva_shim::status::Exit;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Driver;
use super::answer::{ANSWER_MAX, stop_timeout};
use crate::engine::failure::{StartFailure, with_sources};
use crate::engine::health::Monitor;
use crate::engine::translate::docker_config;
use crate::fail_point;

/// How long a container must have run to be started again: ECS's default for `restartAttemptPeriod`.
const RESTART_ATTEMPT_PERIOD_DEFAULT: Duration = Duration::from_secs(300);

/// What a container waits for: its dependencies, the containers that it is linked to, and the router of its output.
fn conditions<'a>(task: &'a Task, container: &'a Container) -> impl Iterator<Item = (&'a str, Condition)> {
    let depends = container.depends_on.iter().map(|it| {
        // A condition of a newer API than this agent's: at least it must run.
        (it.container_name.as_str(), Condition::parse(&it.condition).unwrap_or(Condition::Start))
    });
    let links = container.links.iter().filter_map(|link| Some((link.split(':').next()?, Condition::Start)));
    let routers = task.containers.iter().filter(|it| it.firelens_configuration.is_some() && is_routed(container));
    depends.chain(links).chain(routers.map(|it| (it.name.as_str(), Condition::Start)))
}

fn is_routed(container: &Container) -> bool {
    let log = docker_config(container).ok().and_then(|(_, host)| host.log_config);
    log.is_some_and(|log| log.driver == "awsfirelens")
}

impl Driver {
    /// Starts every container that need not wait any longer.
    pub(super) async fn start_next(&mut self, client: &Client) -> Result<(), StartFailure> {
        if self.pending.is_empty() && self.record.known.status >= TaskStatus::Running {
            return Ok(());
        }
        let mut any = false;
        loop {
            match self.next_startable() {
                Ok(None) => break,
                Ok(Some(place)) => {
                    let spec = self.pending.remove(place);
                    if let Err(failure) = self.start_container(client, &spec).await {
                        self.go_on_without(failure)?;
                        self.forget(client, &spec.name).await;
                    }
                }
                Err(failure) => self.go_on_without(failure)?,
            }
            any = true;
        }
        if self.pending.is_empty() && self.record.known.status < TaskStatus::Running {
            self.set_running()
        } else {
            if any {
                self.publish_until_reboot();
            }
            Ok(())
        }
    }

    /// The first of [`Self::pending`] whose conditions hold; an error once one of them never will.
    fn next_startable(&self) -> Result<Option<usize>, StartFailure> {
        for (place, spec) in self.pending.iter().enumerate() {
            let Some(definition) = self.definition(&spec.name) else { continue };
            let mut ready = true;
            for (other, condition) in conditions(&self.record.task, definition) {
                match self.progress(other).map_or(Wait::Over, |progress| wait(condition, progress)) {
                    Wait::Over => {}
                    Wait::Goes => ready = false,
                    Wait::Vain => return Err(self.vain(&spec.name, other, condition)),
                }
            }
            if ready {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    fn progress(&self, name: &str) -> Option<Progress> {
        let known = self.container(name)?;
        let start_timeout = self.definition(name)?.start_timeout.filter(|seconds| *seconds > 0);
        let since = self.started.get(name);
        let timed_out = start_timeout
            .zip(since)
            .is_some_and(|(seconds, since)| since.elapsed() >= Duration::from_secs(seconds.into()));
        Some(Progress {
            status: known.status,
            started: known.status == ContainerStatus::Running || known.exit_code.is_some(),
            exit_code: known.exit_code,
            health: known.health,
            timed_out,
        })
    }

    fn vain(&self, container: &str, other: &str, condition: Condition) -> StartFailure {
        let known = self.container(other);
        let fact = match known.and_then(|known| known.exit_code) {
            Some(code) => format!("it exited with code {code}"),
            None if known.is_some_and(|known| known.status == ContainerStatus::Stopped) => {
                "it did not start".to_owned()
            }
            None => "its startTimeout is over".to_owned(),
        };
        let condition = condition.as_str();
        let reason = format!("container {container} waits for {condition} of container {other}, but {fact}");
        StartFailure::Dependency { container: container.to_owned(), reason }
    }

    /// When a container that another waits for will have had its start time-out.
    pub(super) fn next_start_timeout(&self) -> Option<Instant> {
        if self.pending.is_empty() || self.stopping {
            return None;
        }
        let timeouts = self.started.iter().filter_map(|(name, since)| {
            let seconds = self.definition(name)?.start_timeout.filter(|seconds| *seconds > 0)?;
            Some(*since + Duration::from_secs(seconds.into()))
        });
        timeouts.filter(|deadline| *deadline > Instant::now()).min()
    }

    async fn start_container(&mut self, client: &Client, spec: &ContainerSpec) -> Result<(), StartFailure> {
        let refused = |error| StartFailure::container(&spec.name, error);
        if !self.created.contains(&spec.name) {
            self.answer(client.create(spec)).await.map_err(refused)?;
            fail_point::reach("container-created");
        }
        self.answer(client.start(&spec.name)).await.map_err(refused)?;
        fail_point::reach("container-started");
        self.container_started(client, &spec.name, Instant::now());
        Ok(())
    }

    /// A container that is not essential, and cannot be started, ends alone; without an essential one the task cannot go on.
    pub(super) fn go_on_without(&mut self, failure: StartFailure) -> Result<(), StartFailure> {
        let is_needed = |name: &&str| self.definition(name).is_none_or(|container| container.essential);
        let Some(name) = failure.container_name().filter(|name| !is_needed(name)).map(str::to_owned) else {
            return Err(failure);
        };
        info!(task = self.record.id(), container = name, reason = %failure, "the task goes on without the container");
        self.pending.retain(|spec| spec.name != name);
        if let Some(known) = self.container_mut(&name) {
            known.network_bindings.clear();
        }
        self.container_stopped(&name, None, Some(failure.to_string()));
        Ok(())
    }

    /// Takes away what the shim may have made of a container that could not be started, while the task goes on.
    async fn forget(&mut self, client: &Client, name: &str) {
        self.created.remove(name);
        // Most often there is nothing; what stays goes with the task.
        if let Err(error) = client.delete(name).await {
            debug!(task = self.record.id(), container = name, error = &error as &dyn std::error::Error, "not deleted");
        }
    }

    /// The container runs since `since`.
    pub(super) fn container_started(&mut self, client: &Client, name: &str, since: Instant) {
        self.started.insert(name.to_owned(), since);
        let Some(known) = self.container_mut(name) else { return };
        known.status = known.status.max(ContainerStatus::Running);
        let ago = i64::try_from(since.elapsed().as_millis()).unwrap_or(0);
        known.started_at = Some(estiva_model::Timestamp(estiva_model::Timestamp::now().as_millis() - ago));
        let status = known.health;
        let check =
            self.definition(name).and_then(|it| docker_config(it).ok()).and_then(|(config, _)| config.healthcheck);
        let Some(check) = check else { return };
        if self.monitors.contains_key(name) {
            return;
        }
        let monitor = Monitor {
            socket: self.shim().socket,
            client: client.clone(),
            execs: self.execs.clone(),
            container: name.to_owned(),
            check,
            status,
            started: since,
            news: self.health.0.clone(),
        };
        self.monitors.insert(name.to_owned(), tokio::spawn(monitor.run()).abort_handle());
    }

    pub(super) fn stop_monitor(&mut self, name: &str) {
        if let Some(monitor) = self.monitors.remove(name) {
            monitor.abort();
        }
    }

    pub(super) fn stop_monitors(&mut self) {
        for name in self.container_names() {
            self.stop_monitor(&name);
        }
    }

    /// Starts an ended container again if its policy says so; otherwise it is over with it.
    pub(super) async fn container_exited(&mut self, client: &Client, name: &str, exit: &Exit) {
        self.pending.retain(|spec| spec.name != name);
        if self.container(name).is_none_or(|it| it.status == ContainerStatus::Stopped) {
            return;
        }
        if !self.stopping && self.restarts(name, exit) {
            self.stop_monitor(name);
            info!(task = self.record.id(), container = name, exit_code = exit.code, "the container is restarted");
            match self.answer(client.restart(name)).await {
                Ok(_) => {
                    if let Some(known) = self.container_mut(name) {
                        known.restarts += 1;
                        known.health = HealthStatus::Unknown;
                    }
                    self.container_started(client, name, Instant::now());
                    return self.publish_until_reboot();
                }
                Err(error) => {
                    let reason = format!("CannotStartContainerError: not restarted: {}", with_sources(&error));
                    return self.container_stopped(name, Some(exit), Some(reason));
                }
            }
        }
        self.container_stopped(name, Some(exit), None);
    }

    fn restarts(&self, name: &str, exit: &Exit) -> bool {
        let policy = self.definition(name).and_then(|it| it.restart_policy.as_ref()).filter(|policy| policy.enabled);
        let Some(policy) = policy else { return false };
        // The agent's own clock, which nobody sets; the shim's where the agent was away.
        let by_clocks = exit.at_ms.saturating_sub(exit.started_at_ms.unwrap_or(exit.at_ms));
        let ran = self.started.get(name).map_or(Duration::from_millis(by_clocks), Instant::elapsed);
        !policy.ignored_exit_codes.contains(&exit.code) && ran >= restart_attempt_period(policy)
    }

    /// Tells every running container to stop that no other running one depends on.
    pub(super) async fn stop_next(&mut self, client: &Client) {
        let containers = &self.record.task.containers;
        let runs =
            |it: &Container| self.container(&it.name).is_some_and(|known| known.status == ContainerStatus::Running);
        let running: Vec<bool> = containers.iter().map(runs).collect();
        let depends = |one: usize, other: usize| match (containers.get(one), containers.get(other)) {
            (Some(one), Some(other)) => conditions(&self.record.task, one).any(|(name, _)| name == other.name),
            _ => false,
        };
        let next: Vec<Container> = next_to_stop(&running, depends)
            .into_iter()
            .filter_map(|place| containers.get(place).filter(|it| !self.told.contains_key(&it.name)).cloned())
            .collect();
        for container in next {
            let timeout = stop_timeout(&container);
            // A check that fails while the program ends says nothing.
            self.stop_monitor(&container.name);
            let deadline = Instant::now() + timeout + ANSWER_MAX;
            if let Err(error) = self.answer(client.stop(&container.name, None, timeout)).await {
                let error: &dyn std::error::Error = &error;
                warn!(task = self.record.id(), container = container.name, error, "cannot stop the container");
            }
            fail_point::reach("container-told-to-stop");
            self.told.insert(container.name, deadline);
        }
    }

    /// What has not been started never will be.
    pub(super) fn forget_pending(&mut self) {
        self.pending.clear();
        for container in &mut self.record.known.containers {
            if container.status == ContainerStatus::Pending {
                container.status = ContainerStatus::Stopped;
            }
        }
    }

    pub(super) fn definition(&self, name: &str) -> Option<&Container> {
        self.record.task.containers.iter().find(|it| it.name == name)
    }
}

fn restart_attempt_period(policy: &RestartPolicy) -> Duration {
    match policy.restart_attempt_period {
        0 => RESTART_ATTEMPT_PERIOD_DEFAULT,
        seconds => Duration::from_secs(seconds.into()),
    }
}
