//! The tasks of a node: on its disk, and as they run. A machine without I/O: it is told the time and what is wanted.
//!
//! A node keeps its own account of CPU, memory and ports, and says so when it is told to run what does not fit beside what
//! the control plane knows to run there: then something was sold twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use estiva_agent_protocol::task::Task;
use estiva_ecs::task::health::TaskHealth;
use estiva_planning::lifecycle::HealthStatus;
use estiva_planning::placement::Resources;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use crate::agent::short;
use crate::definition::Image;
use crate::world::{World, spread};

/// All tasks that a node has ever had.
pub struct Tasks {
    world: Arc<World>,
    node: String,
    /// What the node has in all.
    total: Resources,
    rng: StdRng,
    held: BTreeMap<String, Held>,
    /// Tasks that wait for room, in the order in which they came.
    waiting: VecDeque<String>,
    /// What is about to happen, by its time.
    events: BTreeMap<(Instant, u64), (String, Event)>,
    next_event: u64,
    /// The newest generation of a message.
    newest: i64,
    /// Whether the control plane has said in this session what ought to be here.
    is_verified: bool,
}

struct Held {
    demand: Resources,
    /// Those of its network interfaces.
    addresses: BTreeSet<String>,
    containers: Vec<String>,
    image: Image,
    has_check: bool,
    phase: Phase,
    health: HealthStatus,
    /// The control plane has named it in this session.
    is_named: bool,
    /// The last status that the control plane has accepted.
    accepted: Option<&'static str>,
    exit_code: Option<i32>,
    reason: Option<String>,
}

/// How far a task is on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It waits for room.
    Waiting,
    /// Its containers are being made.
    Starting,
    /// Its containers run.
    Running,
    /// Its containers were told to end.
    Stopping,
    /// Nothing of it runs.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Started,
    FailedToStart,
    Exited(i32),
    Stopped,
    Health(HealthStatus),
}

/// What the control plane is to hear of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The task's ARN.
    pub task: String,
    /// RUNNING or STOPPED.
    pub status: &'static str,
    /// Its containers.
    pub containers: Vec<String>,
    /// Of its containers, once they have ended.
    pub exit_code: Option<i32>,
    /// Why it ended.
    pub reason: Option<String>,
}

impl Phase {
    /// Whether something of the task takes room on the node.
    pub fn takes_room(self) -> bool {
        (Self::Starting..=Self::Stopping).contains(&self)
    }

    fn reported(self) -> Option<&'static str> {
        match self {
            Self::Running => Some("RUNNING"),
            Self::Ended => Some("STOPPED"),
            Self::Waiting | Self::Starting | Self::Stopping => None,
        }
    }
}

impl Tasks {
    /// Of a new node.
    pub fn new(world: &Arc<World>, node: &str, total: Resources) -> Self {
        Self {
            world: Arc::clone(world),
            node: node.to_owned(),
            total,
            rng: StdRng::from_rng(&mut world.rng(&format!("{node} tasks"))),
            held: BTreeMap::new(),
            waiting: VecDeque::new(),
            events: BTreeMap::new(),
            next_event: 0,
            newest: 0,
            is_verified: false,
        }
    }

    /// A new session begins: the control plane has said nothing yet.
    pub fn begin_session(&mut self) {
        self.is_verified = false;
        self.held.values_mut().for_each(|held| held.is_named = false);
    }

    /// Takes a task, or the wish to stop it.
    pub fn take(&mut self, task: &Task, generation: i64, now: Instant) {
        self.newest = self.newest.max(generation);
        let is_stop = task.desired_status == "STOPPED";
        let known = self.held.entry(task.arn.clone());
        let is_new = matches!(known, std::collections::btree_map::Entry::Vacant(_));
        let held = known.or_insert_with(|| Held::of(task));
        held.is_named = true;
        if is_new && !is_stop {
            self.waiting.push_back(task.arn.clone());
        }
        if held.phase == Phase::Ended {
            // It may be that the control plane has not heard of it.
            held.accepted = None;
        }
        if is_stop {
            self.stop(&task.arn, now);
        }
    }

    /// Checks that a message is newer than all before it.
    pub fn check_generation(&mut self, generation: i64) {
        if generation <= self.newest {
            let newest = self.newest;
            self.violated(&format!("generation {generation} comes after {newest}"));
        }
    }

    /// Ends a task.
    pub fn stop(&mut self, arn: &str, now: Instant) {
        let Some(held) = self.held.get_mut(arn) else { return };
        match held.phase {
            Phase::Waiting => {
                held.phase = Phase::Ended;
                self.waiting.retain(|waiting| waiting != arn);
            }
            Phase::Starting | Phase::Running => {
                held.phase = Phase::Stopping;
                let wait = self.random(10, 5_000);
                self.schedule(arn, now + wait, Event::Stopped);
            }
            Phase::Stopping | Phase::Ended => {}
        }
    }

    /// What the control plane says should be here; gives what is here beside it.
    pub fn compare(&mut self, wanted: &BTreeSet<String>, generation: i64) -> Vec<String> {
        self.check_generation(generation);
        self.newest = self.newest.max(generation);
        self.is_verified = true;
        for (arn, held) in &mut self.held {
            held.is_named = wanted.contains(arn);
        }
        let live = self.held.iter().filter(|(_, held)| held.phase != Phase::Ended);
        live.filter(|(_, held)| !held.is_named).map(|(arn, _)| arn.clone()).collect()
    }

    /// When something happens next.
    pub fn next(&self) -> Option<Instant> {
        self.events.keys().next().map(|(at, _)| *at)
    }

    /// Lets happen what is due; says whether something has changed.
    pub fn fire(&mut self, now: Instant) -> bool {
        let mut has_changed = self.admit(now);
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= now) {
            let (arn, event) = entry.remove();
            has_changed |= self.happen(&arn, event, now);
            has_changed |= self.admit(now);
        }
        has_changed
    }

    fn happen(&mut self, arn: &str, event: Event, now: Instant) -> bool {
        let Some(held) = self.held.get_mut(arn) else { return false };
        match (event, held.phase) {
            (Event::Started, Phase::Starting) => {
                held.phase = Phase::Running;
                self.begin(arn, now);
            }
            (Event::FailedToStart, Phase::Starting) => {
                held.end(None, Some("CannotStartContainerError: simulated"));
            }
            (Event::Exited(code), Phase::Running) => held.end(Some(code), None),
            (Event::Stopped, Phase::Stopping) => held.end(Some(143), None),
            (Event::Health(health), Phase::Running) => held.health = health,
            _ => return false,
        }
        self.say(&format!("{} {event:?}", short(arn)));
        true
    }

    /// What the life of a task that has just started has in store.
    fn begin(&mut self, arn: &str, now: Instant) {
        let Some(held) = self.held.get(arn) else { return };
        let (image, has_check) = (held.image, held.has_check);
        let weather = self.world.weather();
        match image {
            Image::Crashing => {
                let wait = self.random(100, 5_000);
                self.schedule(arn, now + wait, Event::Exited(1));
            }
            Image::Brief => {
                let wait = self.random(1_000, 60_000);
                self.schedule(arn, now + wait, Event::Exited(0));
            }
            Image::Good | Image::Sick | Image::Unstartable => {
                if self.rng.random_bool(weather.exit) {
                    let wait = self.random(1_000, 300_000);
                    self.schedule(arn, now + wait, Event::Exited(2));
                }
            }
        }
        if has_check {
            let health = if image == Image::Sick { HealthStatus::Unhealthy } else { HealthStatus::Healthy };
            let wait = self.random(500, 5_000);
            self.schedule(arn, now + wait, Event::Health(health));
        }
    }

    /// Starts what waits and fits, in order: one that does not fit holds up those behind it.
    fn admit(&mut self, now: Instant) -> bool {
        let mut has_changed = false;
        while let Some(arn) = self.waiting.front().cloned() {
            let Some(held) = self.held.get(&arn) else { break };
            if !fits(&self.free(), &held.demand) || self.is_address_taken(held) {
                self.check_sold(&arn);
                break;
            }
            self.waiting.pop_front();
            self.start(&arn, now);
            has_changed = true;
        }
        has_changed
    }

    fn start(&mut self, arn: &str, now: Instant) {
        let Some(held) = self.held.get_mut(arn) else { return };
        held.phase = Phase::Starting;
        let is_unstartable = held.image == Image::Unstartable;
        let fails = is_unstartable || self.rng.random_bool(self.world.weather().failed_start);
        let wait = self.random(30, 8_000);
        self.schedule(arn, now + wait, if fails { Event::FailedToStart } else { Event::Started });
    }

    /// A task waits for room: that is right only if something runs here that should not any more.
    fn check_sold(&self, waiting: &str) {
        let mut taking = self.held.values().filter(|held| held.phase.takes_room());
        if self.is_verified && taking.all(|held| held.is_named) {
            self.violated(&format!("there is no room for {}: something was sold twice", short(waiting)));
        }
    }

    fn is_address_taken(&self, by: &Held) -> bool {
        let mut taking = self.held.values().filter(|held| held.phase.takes_room());
        taking.any(|held| !held.addresses.is_disjoint(&by.addresses))
    }

    fn free(&self) -> Resources {
        let mut free = self.total.clone();
        self.held.values().filter(|held| held.phase.takes_room()).for_each(|held| free.reserve(&held.demand));
        free
    }

    /// Every container is gone.
    pub fn lose_power(&mut self) {
        self.events.clear();
        for held in self.held.values_mut().filter(|held| held.phase.takes_room()) {
            held.end(None, Some("the node lost its power"));
        }
    }

    /// Ends a running task, chosen at random; gives its ARN.
    pub fn kill_one(&mut self, now: Instant) -> Option<String> {
        let running = self.held.iter().filter(|(_, held)| held.phase == Phase::Running);
        let running: Vec<String> = running.map(|(arn, _)| arn.clone()).collect();
        let arn = running.get(self.rng.random_range(0..running.len().max(1)))?.clone();
        self.schedule(&arn, now, Event::Exited(137));
        Some(arn)
    }

    /// The first task of which the control plane does not know how far it is.
    pub fn unreported(&self) -> Option<Report> {
        let news = |held: &Held| held.phase.reported().filter(|status| held.accepted != Some(status));
        let (task, held) = self.held.iter().find(|(_, held)| news(held).is_some())?;
        Some(Report {
            task: task.clone(),
            status: news(held)?,
            containers: held.containers.clone(),
            exit_code: held.exit_code,
            reason: held.reason.clone(),
        })
    }

    /// The control plane knows now.
    pub fn reported(&mut self, report: &Report) {
        if let Some(held) = self.held.get_mut(&report.task) {
            held.accepted = Some(report.status);
        }
    }

    /// The health of running tasks that have a health check.
    pub fn health(&self) -> Vec<TaskHealth> {
        let checked = self.held.iter().filter(|(_, held)| held.has_check && held.phase == Phase::Running);
        let of = |held: &Held| held.containers.iter().map(|name| (name.clone(), held.health)).collect();
        checked.map(|(arn, held)| (arn.clone(), of(held))).collect()
    }

    /// What a task's health checks last made of it.
    pub fn health_of(&self, arn: &str) -> Option<HealthStatus> {
        self.held.get(arn).map(|held| held.health)
    }

    /// How far a task is.
    pub fn phase(&self, arn: &str) -> Option<Phase> {
        self.held.get(arn).map(|held| held.phase)
    }

    /// How far each task is.
    pub fn phases(&self) -> impl Iterator<Item = (&str, Phase)> {
        self.held.iter().map(|(arn, held)| (arn.as_str(), held.phase))
    }

    /// A duration between so many milliseconds.
    fn random(&mut self, least_ms: u64, most_ms: u64) -> Duration {
        spread(&mut self.rng, Duration::from_millis(least_ms), Duration::from_millis(most_ms))
    }

    fn schedule(&mut self, arn: &str, at: Instant, event: Event) {
        self.next_event += 1;
        self.events.insert((at, self.next_event), (arn.to_owned(), event));
    }

    fn say(&self, what: &str) {
        self.world.say(format_args!("{} {what}", self.node));
    }

    fn violated(&self, what: &str) {
        self.world.violated(&format!("{}: {what}", self.node));
    }
}

fn fits(free: &Resources, demand: &Resources) -> bool {
    let has_slot = free.task_slots.is_none_or(|slots| slots > 0);
    free.cpu >= demand.cpu && free.memory >= demand.memory && has_slot && free.has_ports_for(demand)
}

impl Held {
    fn of(task: &Task) -> Self {
        let interfaces = &task.elastic_network_interfaces;
        let addresses = interfaces.iter().flat_map(|it| &it.ipv4_addresses).map(|it| it.private_address.clone());
        let addresses: BTreeSet<String> = addresses.collect();
        let image = task.containers.first().map_or("", |container| &container.image);
        Self {
            demand: demand(task),
            addresses,
            containers: task.containers.iter().map(|container| container.name.clone()).collect(),
            image: Image::parse(image),
            has_check: task.containers.iter().any(|container| container.health_check_type.is_some()),
            phase: Phase::Waiting,
            health: HealthStatus::Unknown,
            is_named: true,
            accepted: None,
            exit_code: None,
            reason: None,
        }
    }

    fn end(&mut self, exit_code: Option<i32>, reason: Option<&str>) {
        self.phase = Phase::Ended;
        self.exit_code = exit_code;
        self.reason = reason.map(str::to_owned);
    }
}

/// What a task takes of its node: its own size, or else the sum of its containers'.
#[allow(clippy::cast_possible_truncation, reason = "CPU units are whole numbers")]
fn demand(task: &Task) -> Resources {
    let mut demand = Resources::default();
    for container in &task.containers {
        demand.cpu += container.cpu;
        demand.memory += container.memory;
        // An address of its own has ports of its own.
        let ports = container.port_mappings.iter().filter(|_| task.elastic_network_interfaces.is_empty());
        demand.tcp_ports.extend(ports.map(|it| it.host_port).filter(|port| *port != 0));
    }
    demand.cpu = task.cpu.map_or(demand.cpu, |cores| (cores * 1024.0) as i64);
    demand.memory = task.memory.unwrap_or(demand.memory);
    demand
}
