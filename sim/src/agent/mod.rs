//! A simulated node: it registers, speaks the node protocol, starts and stops tasks after a while, and reports.
//!
//! [`tasks`] is what the node has on its disk and what runs on it, a machine without I/O; [`session`] takes work,
//! [`report`] tells of it. The agent can die and find its disk and its containers again, and so can the whole node,
//! which loses its containers.

mod report;
mod session;
pub mod tasks;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use estiva_api_ecs::Ecs;
use estiva_api_ecs::types as api;
use estiva_ecs::container_instance::table::{
    ENI_GATEWAY_ATTRIBUTE, ENI_RANGE_ATTRIBUTE, FARGATE_ATTRIBUTE, OWN_AGENT_ATTRIBUTE, TASK_SLOTS,
};
use estiva_planning::placement::Resources;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::meter::Component;
use crate::network::Link;
use crate::plane::{CallError, Plane, request_of};
use crate::world::{World, lock, whole_ms};
use tasks::Tasks;

/// How long a node waits for an answer that does not come.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Back-off after a fault grows by half from here to there.
const BACKOFF: (f64, f64) = (0.1, 5.0);
/// How often a node tells of its containers' health.
const HEALTH_INTERVAL: Duration = Duration::from_secs(10);

/// What a node has to offer.
#[derive(Debug, Clone)]
pub struct Offer {
    /// CPU units.
    pub cpu: i64,
    /// MiB.
    pub memory: i64,
    /// How many tasks it takes; `None`: as many as fit.
    pub task_slots: Option<i64>,
    /// Where it stands.
    pub zone: String,
    /// How many addresses it has for tasks, 255 at most; without any it takes no task that needs one.
    pub addresses: u8,
    /// Whether it is Fargate capacity too.
    pub is_fargate: bool,
}

/// A simulated node. Clones are the same.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    world: Arc<World>,
    plane: Plane,
    name: String,
    offer: Offer,
    link: Link,
    rng: Mutex<StdRng>,
    /// Its container instance's ARN, on its disk.
    instance: Mutex<Option<String>>,
    tasks: Mutex<Tasks>,
    /// Tasks have changed.
    news: Notify,
    agent: Mutex<Option<AbortHandle>>,
    power: Mutex<Power>,
}

/// Whether a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It is on.
    On,
    /// It is off, and will be back.
    Off,
    /// It will never be back.
    Gone,
}

impl Node {
    /// A node whose agent is yet to be started.
    pub fn new(world: &Arc<World>, plane: &Plane, name: String, offer: Offer) -> Self {
        let rng = world.rng(&name);
        let (cpu, memory, task_slots) = (offer.cpu, offer.memory, offer.task_slots);
        let total = Resources { cpu, memory, task_slots, ..Resources::default() };
        Self(Arc::new(Inner {
            world: Arc::clone(world),
            plane: plane.clone(),
            link: Link::default(),
            rng: Mutex::new(rng),
            instance: Mutex::default(),
            tasks: Mutex::new(Tasks::new(world, &name, total)),
            news: Notify::new(),
            agent: Mutex::default(),
            power: Mutex::new(Power::On),
            name,
            offer,
        }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its container instance's ARN, once it is registered.
    pub fn instance(&self) -> Option<String> {
        lock(&self.0.instance).clone()
    }

    /// Whether the control plane could hear of it: it is on, its agent runs, and its network works both ways.
    pub fn is_reachable(&self) -> bool {
        let runs = lock(&self.0.agent).as_ref().is_some_and(|agent| !agent.is_finished());
        runs && self.power() == Power::On && !self.0.link.is_deaf() && !self.0.link.is_mute()
    }

    /// Its network.
    pub fn link(&self) -> &Link {
        &self.0.link
    }

    /// Whether it is there.
    pub fn power(&self) -> Power {
        *lock(&self.0.power)
    }

    /// Looks at its tasks.
    pub fn tasks<T>(&self, look: impl FnOnce(&mut Tasks) -> T) -> T {
        look(&mut lock(&self.0.tasks))
    }

    /// Starts the agent, unless it runs.
    pub fn start_agent(&self) {
        let mut agent = lock(&self.0.agent);
        if agent.as_ref().is_none_or(AbortHandle::is_finished) {
            self.say("agent starts");
            let node = self.clone();
            let running = async move { node.0.world.meter.measured(Component::Nodes, node.clone().run()).await };
            *agent = Some(tokio::spawn(running).abort_handle());
        }
    }

    /// The agent is gone as after SIGKILL; containers run on.
    pub fn kill_agent(&self) {
        if let Some(agent) = lock(&self.0.agent).take() {
            self.say("agent dies");
            agent.abort();
        }
    }

    /// The node loses its power, for a while or for good: nobody is told, and no container is left.
    pub fn power_off(&self, until: Power) {
        self.say(if until == Power::Gone { "power off for good" } else { "power off" });
        *lock(&self.0.power) = until;
        self.0.link.block(true, true);
        self.kill_agent();
        lock(&self.0.tasks).lose_power();
    }

    /// The node boots.
    pub fn power_on(&self) {
        if self.power() == Power::Off {
            *lock(&self.0.power) = Power::On;
            self.0.link.cut();
            self.0.link.block(false, false);
            self.start_agent();
        }
    }

    /// Kills a container that runs, if there is one.
    pub fn kill_container(&self) {
        if let Some(task) = lock(&self.0.tasks).kill_one(Instant::now()) {
            self.say(&format!("container of {} is killed", short(&task)));
            self.0.news.notify_waiters();
        }
    }

    fn say(&self, what: &str) {
        self.0.world.say(format_args!("{} {what}", self.0.name));
    }

    async fn run(self) {
        tokio::join!(self.drive(), self.take_work(), report::run(&self), self.tell_health());
    }

    /// Lets tasks start, end and stop in time.
    async fn drive(&self) {
        loop {
            let changed = self.0.news.notified();
            let (has_changed, next) = {
                let mut tasks = lock(&self.0.tasks);
                (tasks.fire(Instant::now()), tasks.next())
            };
            if has_changed {
                self.0.news.notify_waiters();
                continue;
            }
            match next {
                // Whichever is first.
                Some(next) => drop(timeout_at(next, changed).await),
                None => changed.await,
            }
        }
    }

    /// Registers, and keeps a session open.
    async fn take_work(&self) {
        let mut backoff = Backoff::default();
        let mut is_registered = false;
        loop {
            is_registered = is_registered || self.register().await.is_some();
            if is_registered {
                match session::run(self).await {
                    session::Ended::Inactive => {
                        is_registered = false;
                        *lock(&self.0.instance) = None;
                    }
                    session::Ended::Worked => backoff = Backoff::default(),
                    session::Ended::Failed => {}
                }
            }
            backoff.wait(self).await;
        }
    }

    /// Registers the node, again if it was before.
    async fn register(&self) -> Option<()> {
        let known = self.instance();
        let input = self.registration(known.clone());
        let name = self.0.name.clone();
        let answer =
            self.call(|ecs| async move { ecs.register_container_instance(request_of(&name, input)).await }).await;
        match answer {
            Ok(answer) => {
                let instance = answer.container_instance?.container_instance_arn?;
                if known.is_none() {
                    self.say(&format!("is {}", short(&instance)));
                }
                *lock(&self.0.instance) = Some(instance);
                Some(())
            }
            Err(CallError::Refused(_)) => {
                // It was deregistered: from now on it is another one.
                *lock(&self.0.instance) = None;
                None
            }
            Err(CallError::Lost) => None,
        }
    }

    fn registration(&self, known: Option<String>) -> api::RegisterContainerInstanceRequest {
        let integer = |name: &str, value: i64| api::Resource {
            name: Some(name.to_owned()),
            r#type: Some("INTEGER".to_owned()),
            integer_value: i32::try_from(value).ok(),
            ..api::Resource::default()
        };
        let attribute = |name: &str, value: Option<&str>| api::Attribute {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            ..api::Attribute::default()
        };
        let mut attributes = vec![
            attribute(OWN_AGENT_ATTRIBUTE, None),
            attribute("ecs.availability-zone", Some(&self.0.offer.zone)),
            attribute("ecs.capability.container-health-check", None),
            attribute("ecs.capability.task-cpu-mem-limit", None),
        ];
        if self.0.offer.addresses > 0 {
            let range = format!("10.0.0.1-10.0.0.{}", self.0.offer.addresses);
            attributes.push(attribute("ecs.capability.task-eni", None));
            attributes.push(attribute(ENI_RANGE_ATTRIBUTE, Some(&range)));
            attributes.push(attribute(ENI_GATEWAY_ATTRIBUTE, Some("10.0.0.0/24")));
        }
        if self.0.offer.is_fargate {
            attributes.push(attribute(FARGATE_ATTRIBUTE, None));
        }
        let mut resources = vec![integer("CPU", self.0.offer.cpu), integer("MEMORY", self.0.offer.memory)];
        resources.extend(self.0.offer.task_slots.map(|slots| integer(TASK_SLOTS, slots)));
        api::RegisterContainerInstanceRequest {
            cluster: Some("default".to_owned()),
            container_instance_arn: known,
            total_resources: Some(resources),
            attributes: Some(attributes),
            ..api::RegisterContainerInstanceRequest::default()
        }
    }

    /// Calls the control plane over the network as it is at the moment.
    async fn call<T, F>(&self, operation: impl FnOnce(estiva_ecs::EcsService) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, estiva_api_ecs::Error>>,
    {
        let latency = Duration::from_millis(self.random(1..30));
        sleep(latency).await;
        if !self.gets_through(Link::is_mute).await || self.chance(self.0.world.weather().loss / 2.0) {
            return Err(CallError::Lost);
        }
        let answer = self.0.plane.call(operation).await;
        if !self.gets_through(Link::is_deaf).await || self.chance(self.0.world.weather().loss / 2.0) {
            return Err(CallError::Lost);
        }
        answer
    }

    /// Waits until the network lets something pass, but not for ever.
    async fn gets_through(&self, is_blocked: fn(&Link) -> bool) -> bool {
        let opened = async {
            while is_blocked(&self.0.link) {
                self.0.link.changed().await;
            }
        };
        timeout(CALL_TIMEOUT, opened).await.is_ok()
    }

    async fn tell_health(&self) {
        loop {
            sleep(HEALTH_INTERVAL).await;
            let news = lock(&self.0.tasks).health();
            let can = !self.0.link.is_mute() && !self.chance(self.0.world.weather().loss);
            if let Some(instance) = self.instance().filter(|_| can && !news.is_empty()) {
                self.0.plane.take_health(&instance, news).await;
            }
        }
    }

    fn random(&self, range: std::ops::Range<u64>) -> u64 {
        lock(&self.0.rng).random_range(range)
    }

    fn chance(&self, probability: f64) -> bool {
        lock(&self.0.rng).random_bool(probability)
    }
}

/// How long a node waits before it tries again.
struct Backoff(f64);

impl Default for Backoff {
    fn default() -> Self {
        Self(BACKOFF.0)
    }
}

impl Backoff {
    async fn wait(&mut self, node: &Node) {
        let spread = lock(&node.0.rng).random_range(0.8..1.2);
        let wait = whole_ms(self.0 * spread);
        self.0 = (self.0 * 1.5).min(BACKOFF.1);
        sleep(wait).await;
    }
}

/// The end of an ARN: enough to tell tasks apart.
pub fn short(arn: &str) -> &str {
    let id = arn.rsplit('/').next().unwrap_or(arn);
    id.get(..8).unwrap_or(id)
}
