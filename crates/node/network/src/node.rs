//! The asynchronous face of the node's network: it orders the operations and keeps the blocking work off the runtime.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};

use crate::engine::{Demand, Engine};
use crate::{Adoption, Config, Eni, Error, Fault, HostService, PortMapping, Subnet, TaskNetwork};

/// The permits there are. Whoever has all of them is alone.
const PERMITS: u32 = 64;
/// What a creation takes: four run at once. The kernel makes one link at a time whatever we do; a few more keep it busy
/// while others write files and make namespaces.
const CREATION_PERMITS: u32 = 16;
/// What a deletion takes: many run at once, as they mostly wait for the kernel, together.
const DELETION_PERMITS: u32 = 1;
/// Operations on tasks of the same stripe follow one another, so those on one task do.
const STRIPES: usize = 64;

/// The network of a node. Cheap to clone. Dropping it leaves everything as it is; see the crate's description.
///
/// An operation that was begun goes on to its end in the background when its future is dropped.
#[derive(Debug, Clone)]
pub struct NodeNetwork {
    engine: Arc<Engine>,
    permits: Arc<Semaphore>,
    stripes: Arc<[Arc<Mutex<()>>]>,
}

impl NodeNetwork {
    /// Opens the network, adopting what there is of it: bridge, firewall, tasks. Call [`adopt`](Self::adopt) next.
    ///
    /// # Errors
    /// [`Error::AlreadyOpen`] while another process has it, [`Error::NoFreeSubnet`] and [`Error::SubnetConflict`] when
    /// no subnet can be had, and whatever the kernel refuses.
    pub async fn open(config: Config) -> Result<Self, Error> {
        let subject = config.installation.clone();
        let engine = blocking(subject, move || Engine::open(&config)).await?;
        Ok(Self {
            engine: Arc::new(engine),
            permits: Arc::new(Semaphore::new(PERMITS as usize)),
            stripes: (0..STRIPES).map(|_| Arc::default()).collect(),
        })
    }

    /// The node's subnet.
    pub fn subnet(&self) -> Subnet {
        self.engine.subnet()
    }

    /// The address of the bridge: the tasks' gateway.
    pub fn gateway(&self) -> Ipv4Addr {
        self.subnet().gateway()
    }

    /// First and last address that the control plane may give to network interfaces (ENIs) of this node.
    pub fn eni_range(&self) -> (Ipv4Addr, Ipv4Addr) {
        self.subnet().eni_range()
    }

    /// Makes the network of a bridge-mode task: a private address, and its ports published on the host.
    ///
    /// # Errors
    /// [`Error::PortInUse`], [`Error::PortsExhausted`], [`Error::TooManyPorts`], [`Error::InvalidContainerPort`],
    /// [`Error::AddressesExhausted`], [`Error::TaskExists`], [`Error::InvalidTaskId`], and whatever the kernel refuses.
    /// Nothing is left of a failed creation.
    pub async fn create_bridge(&self, task_id: &str, ports: &[PortMapping]) -> Result<TaskNetwork, Error> {
        self.create(task_id, Demand::Bridge(ports.to_vec())).await
    }

    /// Makes the network of an awsvpc task: an interface with the address and MAC of `eni`.
    ///
    /// # Errors
    /// [`Error::InvalidEni`], [`Error::AddressInUse`], [`Error::TaskExists`], [`Error::InvalidTaskId`], and whatever
    /// the kernel refuses.
    pub async fn create_awsvpc(&self, task_id: &str, eni: Eni) -> Result<TaskNetwork, Error> {
        self.create(task_id, Demand::Awsvpc(eni)).await
    }

    /// Makes a namespace with the loopback interface only.
    ///
    /// # Errors
    /// [`Error::TaskExists`], [`Error::InvalidTaskId`], and whatever the kernel refuses.
    pub async fn create_none(&self, task_id: &str) -> Result<TaskNetwork, Error> {
        self.create(task_id, Demand::None).await
    }

    /// Removes everything of a task; succeeds if there is nothing.
    ///
    /// # Errors
    /// Whatever the kernel refuses; the task then keeps what it holds until a later call succeeds.
    pub async fn delete(&self, task_id: &str) -> Result<(), Error> {
        let id = task_id.to_owned();
        self.on_task(task_id, DELETION_PERMITS, move |engine| engine.delete(&id)).await
    }

    /// Lets a task use the services of the host that are for clients. It stays so for the task's life, whoever opens the
    /// network; a task without an address, or one that is not there, has nothing to use them by.
    ///
    /// # Errors
    /// Whatever the kernel refuses.
    pub async fn make_client(&self, task_id: &str) -> Result<(), Error> {
        let id = task_id.to_owned();
        self.on_task(task_id, CREATION_PERMITS, move |engine| engine.make_client(&id)).await
    }

    /// The networks there are, by task id.
    pub fn list(&self) -> Vec<TaskNetwork> {
        self.engine.list()
    }

    /// The network of a task.
    pub fn get(&self, task_id: &str) -> Option<TaskNetwork> {
        self.engine.get(task_id)
    }

    /// After a restart of the agent: keeps the networks of these tasks, removes every other of this installation.
    ///
    /// # Errors
    /// Whatever the kernel refuses; call again then.
    pub async fn adopt(&self, known: impl IntoIterator<Item = String>) -> Result<Adoption, Error> {
        let known: BTreeSet<String> = known.into_iter().collect();
        self.exclusively(move |engine| engine.adopt(&known)).await
    }

    /// Lets tasks reach a service of the host. Forgotten when the network is opened anew: offer it again then.
    ///
    /// # Errors
    /// Whatever the kernel refuses.
    pub async fn offer(&self, service: HostService) -> Result<(), Error> {
        self.exclusively(move |engine| engine.offer(service)).await
    }

    /// Takes back what [`offer`](Self::offer) gave.
    ///
    /// # Errors
    /// Whatever the kernel refuses.
    pub async fn withdraw(&self, service: HostService) -> Result<(), Error> {
        self.exclusively(move |engine| engine.withdraw(service)).await
    }

    /// Finds what was damaged from outside, for example by `nft flush ruleset`.
    ///
    /// # Errors
    /// Whatever the kernel refuses.
    pub async fn verify(&self) -> Result<Vec<Fault>, Error> {
        self.exclusively(Engine::verify).await
    }

    /// Makes again what was damaged, and returns what cannot be: tasks that lost their namespace or interface.
    ///
    /// # Errors
    /// Whatever the kernel refuses.
    pub async fn repair(&self) -> Result<Vec<Fault>, Error> {
        self.exclusively(Engine::repair).await
    }

    /// Makes again what was damaged, and returns the damage that there was. As long as nobody touches the firewall it costs one
    /// question to the kernel, so it can be called every few seconds.
    ///
    /// # Errors
    /// Whatever the kernel refuses.
    pub async fn mend(&self) -> Result<Vec<Fault>, Error> {
        let engine = Arc::clone(&self.engine);
        if blocking("node".to_owned(), move || engine.looks_whole()).await? {
            return Ok(Vec::new());
        }
        self.exclusively(Engine::mend).await
    }

    /// Removes everything of this installation from the kernel, all tasks included, and the run directory if nobody else
    /// has something in it. The network is of no use then, until a new [`open`](Self::open).
    ///
    /// # Errors
    /// Whatever the kernel refuses; call again then.
    pub async fn dismantle(&self) -> Result<(), Error> {
        self.exclusively(Engine::dismantle).await
    }

    async fn create(&self, task_id: &str, demand: Demand) -> Result<TaskNetwork, Error> {
        let id = task_id.to_owned();
        self.on_task(task_id, CREATION_PERMITS, move |engine| engine.create(&id, &demand)).await
    }

    async fn on_task<T: Send + 'static>(
        &self,
        id: &str,
        permits: u32,
        work: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let stripe = usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or_default();
        let turn = Arc::clone(&self.stripes[stripe]).lock_owned().await;
        self.with_permits(permits, id.to_owned(), move |engine| {
            let _turn = turn;
            work(engine)
        })
        .await
    }

    async fn exclusively<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.with_permits(PERMITS, "node".to_owned(), work).await
    }

    async fn with_permits<T: Send + 'static>(
        &self,
        count: u32,
        subject: String,
        work: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        // Fails only on a closed semaphore, and nobody closes it.
        let permits = Arc::clone(&self.permits).acquire_many_owned(count).await;
        let permits = permits.map_err(|_| Error::WorkerDied { subject: subject.clone() })?;
        let engine = Arc::clone(&self.engine);
        blocking(subject, move || {
            let _permits = permits;
            work(&engine)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    subject: String,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Error::WorkerDied { subject }))
}
