//! The control plane under test: the real store, handlers, controllers and node protocol, which can die and come back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use estiva_api_ecs::Error;
use estiva_dispatch::{Dispatch, Feeds};
use estiva_ecs::container_instance::table::{ContainerInstanceRow, key};
use estiva_ecs::scope::Scope;
use estiva_ecs::task::health::{self, TaskHealth};
use estiva_ecs::{EcsService, Options};
use estiva_model::{AccountId, Ambient, Caller, Principal, Region, Timestamp};
use estiva_schema::Request;
use estiva_store::{Schema, Snapshot, Store};
use estiva_wire::server::Upgrade;
use estiva_wire::sigv4::{SessionCredentials, SessionIssuer};
use futures_util::FutureExt;
use tokio::io::DuplexStream;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::audit::Audit;
use crate::disk::Disk;
use crate::meter::Component;
use crate::world::{World, lock};

/// Stopped tasks are kept for longer than runs last.
const TASK_RETENTION: Duration = Duration::from_secs(24 * 3600);
/// As ECS has it.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(40);
/// As `estiva server` has it unless told otherwise.
pub const LOST_NODE_AFTER: Duration = Duration::from_secs(60);
/// What one direction of a connection holds, in bytes.
const PIPE_BYTES: usize = 1 << 16;

/// A control plane and its disk. Clones are the same.
#[derive(Clone)]
pub struct Plane(Arc<Inner>);

struct Inner {
    world: Arc<World>,
    ambient: Ambient,
    disk: Disk,
    audit: Mutex<Audit>,
    life: Mutex<Option<Life>>,
}

struct Life {
    number: u64,
    store: Store,
    ecs: EcsService,
    dispatch: Dispatch,
    watch: estiva_store::Watch,
    tasks: Vec<AbortHandle>,
}

/// Why a call brought nothing.
#[derive(Debug)]
pub enum CallError {
    /// Nobody knows whether it was done: the control plane is away, or the network lost something.
    Lost,
    /// The control plane says no.
    Refused(Error),
}

/// Why a node got no session.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// The container instance was deregistered.
    Inactive,
    /// Anything else.
    Otherwise,
}

struct NoRoles;

impl SessionIssuer for NoRoles {
    fn issue(&self, _: &AccountId, _: &str, _: &str, _: Timestamp) -> Option<SessionCredentials> {
        None
    }
}

/// Who calls: `owner`, or a node.
pub fn caller(name: &str) -> Caller {
    let principal = match name {
        "owner" => Principal::Root,
        node => Principal::AssumedRole { role: "node".to_owned(), session: node.to_owned() },
    };
    let (account, region) = (AccountId::default(), Region::default());
    Caller { account, region, principal, access_key_id: name.to_owned() }
}

/// The account and region of every run.
pub fn scope() -> Scope {
    Scope::of(&caller("owner"))
}

/// The key of the container instance that an ARN names.
pub fn instance_key(instance: &str) -> String {
    let mut parts = instance.rsplit('/');
    let (id, cluster) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    key(&scope(), cluster, id)
}

/// A request of the owner's.
pub fn request<T>(input: T) -> Request<T> {
    request_of("owner", input)
}

/// A request of that caller's.
pub fn request_of<T>(name: &str, input: T) -> Request<T> {
    Request { input, caller: caller(name), request_id: "simulated".to_owned() }
}

impl Plane {
    /// A control plane that is yet to be started, with an empty disk.
    pub fn new(world: &Arc<World>) -> Self {
        Self(Arc::new(Inner {
            world: Arc::clone(world),
            ambient: world.ambient(),
            disk: Disk::new(Arc::clone(world)),
            audit: Mutex::new(Audit::new(Arc::clone(world))),
            life: Mutex::default(),
        }))
    }

    /// Its disk.
    pub fn disk(&self) -> &Disk {
        &self.0.disk
    }

    /// What is known of its transactions.
    pub fn audit<T>(&self, look: impl FnOnce(&mut Audit) -> T) -> T {
        self.catch_up();
        look(&mut lock(&self.0.audit))
    }

    /// Starts it on what its disk holds. What was acknowledged before must be there.
    pub async fn start(&self) {
        let options = estiva_store::Options { commit_inline: true, ..estiva_store::Options::default() };
        let schema = estiva_ecs::tables(Schema::new(1));
        let mounted = self.0.disk.mount();
        let number = self.0.disk.life();
        let store = Store::open_with(mounted, schema, options).expect("what a former life wrote can be read");
        let view = store.view();
        lock(&self.0.audit).check_reopened(&view);
        let watch = store.watch(view.revision());
        let ecs = EcsService::new(store.clone(), ecs_options(), self.0.ambient.clone());
        let feeds = Feeds {
            usages: ecs.usages(),
            issuer: Arc::new(NoRoles),
            ambient: self.0.ambient.clone(),
            endpoint: ecs_options().endpoint,
        };
        // It fails if its life ends while it begins.
        let Ok(dispatch) = Dispatch::open(store.clone(), feeds).await else { return };
        let mut tasks = Vec::new();
        let (controllers, sessions) = (ecs.clone(), dispatch.clone());
        tasks.push(self.spawn(Component::Controllers, async move { controllers.run().await }));
        tasks.push(self.spawn(Component::Dispatch, async move { sessions.run().await }));
        tasks.push(self.spawn(Component::Audit, self.clone().follow(store.clone(), number)));
        self.0.world.say(format_args!("plane starts, revision {}", view.revision()));
        *lock(&self.0.life) = Some(Life { number, store, ecs, dispatch, watch, tasks });
    }

    /// Everything of it is gone at once, as with SIGKILL. Its disk stays.
    pub fn crash(&self) {
        self.catch_up();
        self.0.disk.end_life();
        let Some(life) = lock(&self.0.life).take() else { return };
        self.0.world.say(format_args!("plane dies, revision {}", life.store.view().revision()));
        life.tasks.iter().for_each(AbortHandle::abort);
    }

    /// Whether it is there and can write.
    pub fn is_up(&self) -> bool {
        lock(&self.0.life).as_ref().is_some_and(|life| life.number == self.0.disk.life())
    }

    /// What its store shows, while it is there.
    pub fn view(&self) -> Option<Snapshot> {
        lock(&self.0.life).as_ref().map(|life| life.store.view())
    }

    /// Calls an operation. A call during which the control plane dies is lost.
    pub async fn call<T, F>(&self, operation: impl FnOnce(EcsService) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (ecs, number) = {
            let life = lock(&self.0.life);
            let life = life.as_ref().ok_or(CallError::Lost)?;
            (life.ecs.clone(), life.number)
        };
        let answer = self.0.world.meter.measured(Component::Operations, operation(ecs)).await;
        if self.0.disk.life() != number {
            return Err(CallError::Lost);
        }
        answer.map_err(|error| match error {
            Error::ServerException(_) => CallError::Lost,
            error => CallError::Refused(error),
        })
    }

    /// Takes what a node tells of its tasks' health, as telemetry does.
    pub async fn take_health(&self, instance: &str, tasks: Vec<TaskHealth>) {
        let Some(store) = lock(&self.0.life).as_ref().map(|life| life.store.clone()) else { return };
        let Some(row) = store.view().get::<ContainerInstanceRow>(&instance_key(instance)) else { return };
        // What is lost is told again.
        let _ = health::take(&store, &row, tasks, self.0.ambient.now()).await;
    }

    /// Opens a session for a node: its end of the connection, and, should it be refused, why.
    pub fn connect(&self, node: &str, instance: &str) -> Option<(DuplexStream, oneshot::Receiver<Refused>)> {
        let mut life = lock(&self.0.life);
        let life = life.as_mut()?;
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let (refused, refusal) = oneshot::channel();
        let upgrade = Upgrade {
            path: "/acs/ws".to_owned(),
            query: vec![("containerInstanceArn".to_owned(), instance.to_owned())],
            caller: caller(node),
            request_id: "simulated".to_owned(),
        };
        let dispatch = life.dispatch.clone();
        let session = self.spawn(Component::Dispatch, async move {
            if let Err(refusal) = dispatch.attach(upgrade, far).await {
                let is_inactive = refusal.body.contains("InactiveInstanceException");
                // A node that is gone need not know.
                let _ = refused.send(if is_inactive { Refused::Inactive } else { Refused::Otherwise });
            }
        });
        life.tasks.retain(|task| !task.is_finished());
        life.tasks.push(session);
        Some((near, refusal))
    }

    fn spawn(&self, component: Component, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let world = Arc::clone(&self.0.world);
        tokio::spawn(async move { world.meter.measured(component, work).await }).abort_handle()
    }

    /// Hands every transaction to the audit.
    async fn follow(self, store: Store, number: u64) {
        let mut news = store.watch(store.view().revision());
        drop(store);
        // What was written before the watch began.
        self.catch_up();
        while news.next().await.is_ok() && self.0.disk.life() == number {
            self.catch_up();
        }
    }

    fn catch_up(&self) {
        if !self.0.world.is_audited {
            return;
        }
        let mut life = lock(&self.0.life);
        let Some(life) = life.as_mut() else { return };
        while let Some(news) = life.watch.next().now_or_never() {
            match news {
                Ok(changes) => lock(&self.0.audit).take(&changes),
                Err(error) => return self.0.world.violated(&format!("the audit lost the thread: {error}")),
            }
        }
    }
}

fn ecs_options() -> Options {
    Options {
        endpoint: "http://simulated".to_owned(),
        task_retention: TASK_RETENTION,
        healthy_after: HEALTHY_AFTER,
        lost_node_after: LOST_NODE_AFTER,
    }
}
