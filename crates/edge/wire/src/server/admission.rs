//! Who may keep a connection: a share for each source, so that a source that opens many takes nothing from others.
//!
//! A connection is unproven until a request on it shows who sends it. Unproven connections count for their source, which is
//! the address that they come from, proven ones for their holder, such as a task's role. When a share is used up, its own least recently active
//! connection is closed; when all unproven connections together are too many, that of the source that has most of them. A
//! client that asks at once so gets in however many connections others hold open.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// How many connections may be open at a time.
#[derive(Debug, Clone, Copy)]
pub struct Shares {
    /// Unproven ones of one source. The machine's own address, behind which are its owner and the tasks with its network, may
    /// use the whole pool.
    pub source: usize,
    /// Unproven ones of all sources together.
    pub unproven: usize,
    /// Proven ones of one holder whose share is bounded.
    pub holder: usize,
}

/// What an unproven connection counts for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Where it comes from.
    Address(IpAddr),
    /// What it is for, where that says more than an address.
    Subject(String),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }
}

impl Source {
    fn is_this_machine(&self) -> bool {
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        matches!(self, Self::Address(address) if addresses.contains(address))
    }
}

/// The connections of one listener.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    shares: Shares,
    connections: Mutex<Connections>,
}

/// By when each was last active: the first is the least recent.
type Group = BTreeMap<u64, u64>;

#[derive(Debug, Default)]
struct Connections {
    /// Counts what happens, for want of a clock that never shows the same time twice.
    now: u64,
    by_id: HashMap<u64, Connection>,
    unproven: usize,
    sources: BTreeMap<Source, Group>,
    holders: BTreeMap<String, Group>,
}

#[derive(Debug)]
struct Connection {
    owner: Owner,
    active_at: u64,
    /// Requests under way.
    requests: usize,
    evicted: Arc<Notify>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    Source(Source),
    Holder(String),
}

/// A connection's place; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    standing: Standing,
    evicted: Arc<Notify>,
}

/// What a request knows of its connection's place.
#[derive(Debug, Clone)]
pub struct Standing {
    admission: Admission,
    id: u64,
}

/// A request under way: its connection is not idle.
#[derive(Debug)]
pub struct Underway(Standing);

impl Admission {
    /// Without connections.
    pub fn new(shares: Shares) -> Self {
        Self(Arc::new(Shared { shares, connections: Mutex::default() }))
    }

    /// A place for a new connection. Another one may be told to leave for it.
    pub fn enter(&self, source: impl Into<Source>) -> Place {
        let from = source.into();
        let Shares { source, unproven, .. } = self.0.shares;
        let evicted = Arc::new(Notify::new());
        let mut connections = self.lock();
        let share = if from.is_this_machine() { unproven } else { source };
        if connections.sources.get(&from).is_some_and(|group| group.len() >= share) {
            connections.evict_from(&from);
        } else if connections.unproven >= unproven
            && let Some(heaviest) = connections.heaviest()
        {
            connections.evict_from(&heaviest);
        }
        let id = connections.tick();
        let connection =
            Connection { owner: Owner::Source(from), active_at: id, requests: 0, evicted: Arc::clone(&evicted) };
        connections.insert(id, connection);
        drop(connections);
        Place { standing: Standing { admission: self.clone(), id }, evicted }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        // Each change is whole before anything could panic.
        self.0.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn group(&mut self, owner: &Owner) -> &mut Group {
        match owner {
            Owner::Source(source) => self.sources.entry(source.clone()).or_default(),
            Owner::Holder(holder) => self.holders.entry(holder.clone()).or_default(),
        }
    }

    fn insert(&mut self, id: u64, connection: Connection) {
        self.unproven += usize::from(matches!(connection.owner, Owner::Source(_)));
        self.group(&connection.owner).insert(connection.active_at, id);
        self.by_id.insert(id, connection);
    }

    fn remove(&mut self, id: u64) -> Option<Connection> {
        let connection = self.by_id.remove(&id)?;
        let group = self.group(&connection.owner);
        group.remove(&connection.active_at);
        let is_empty = group.is_empty();
        match &connection.owner {
            Owner::Source(source) => {
                self.unproven -= 1;
                if is_empty {
                    self.sources.remove(source);
                }
            }
            Owner::Holder(holder) if is_empty => drop(self.holders.remove(holder)),
            Owner::Holder(_) => {}
        }
        Some(connection)
    }

    /// Changes a connection that has a place still, which is active with that.
    fn act(&mut self, id: u64, change: impl FnOnce(&mut Connection)) {
        let now = self.tick();
        let Some(mut connection) = self.remove(id) else { return };
        change(&mut connection);
        connection.active_at = now;
        self.insert(id, connection);
    }

    fn evict(&mut self, id: u64) {
        if let Some(connection) = self.remove(id) {
            connection.evicted.notify_one();
        }
    }

    fn evict_from(&mut self, source: &Source) {
        let oldest = self.sources.get(source).and_then(|group| group.values().next().copied());
        if let Some(oldest) = oldest {
            self.evict(oldest);
        }
    }

    fn heaviest(&self) -> Option<Source> {
        // Of two as heavy ones, the one whose connection was silent for longer.
        let weight = |group: &Group| (group.len(), group.keys().next().map(|active_at| u64::MAX - active_at));
        self.sources.iter().max_by_key(|(_, group)| weight(group)).map(|(source, _)| source.clone())
    }

    /// The holder's connection that is idle for the longest.
    fn idle_of(&self, holder: &str) -> Option<u64> {
        let idle = |id: &&u64| self.by_id.get(id).is_some_and(|connection| connection.requests == 0);
        self.holders.get(holder)?.values().find(idle).copied()
    }
}

impl Place {
    /// For requests on the connection.
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Ends when the connection has to leave.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.standing.admission.lock().remove(self.standing.id);
    }
}

impl Standing {
    /// The connection is active.
    pub fn touch(&self) {
        self.admission.lock().act(self.id, |_| {});
    }

    /// A request begins.
    pub fn begin(&self) -> Underway {
        self.admission.lock().act(self.id, |connection| connection.requests += 1);
        Underway(self.clone())
    }

    /// The connection is the holder's from now on; one that is someone's stays so. False when the holder's share is used up
    /// and none of its connections is idle. The share of a trusted holder has no bound.
    pub fn prove(&self, holder: &str, is_trusted: bool) -> bool {
        let mut connections = self.admission.lock();
        let is_unproven =
            connections.by_id.get(&self.id).is_some_and(|connection| matches!(connection.owner, Owner::Source(_)));
        if !is_unproven {
            return true;
        }
        let held = connections.holders.get(holder).map_or(0, BTreeMap::len);
        if !is_trusted && held >= self.admission.0.shares.holder {
            let Some(idle) = connections.idle_of(holder) else { return false };
            connections.evict(idle);
        }
        connections.act(self.id, |connection| connection.owner = Owner::Holder(holder.to_owned()));
        true
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut connections = self.0.admission.lock();
        connections.act(self.0.id, |connection| connection.requests = connection.requests.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const SHARES: Shares = Shares { source: 3, unproven: 8, holder: 2 };

    fn task(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    const OWNER: [u8; 4] = [127, 0, 0, 1];

    fn evicted(places: &[Place]) -> Vec<usize> {
        let gone = |(at, place): (usize, &Place)| place.evicted().now_or_never().map(|()| at);
        places.iter().enumerate().filter_map(gone).collect()
    }

    fn enter(admission: &Admission, from: impl Into<IpAddr>, count: usize) -> Vec<Place> {
        let from = from.into();
        (0..count).map(|_| admission.enter(from)).collect()
    }

    #[test]
    fn an_address_that_has_its_share_gives_up_its_own_oldest() {
        let admission = Admission::new(SHARES);
        let other = enter(&admission, task(9), 3);
        let mut places = enter(&admission, task(1), 3);
        places[0].standing().touch();
        places.push(admission.enter(task(1)));
        assert_eq!((evicted(&places), evicted(&other)), (vec![1], vec![]));
        // What is evicted holds nothing any more, and its drop takes nothing from others.
        drop(places.remove(1));
        places.push(admission.enter(task(1)));
        assert_eq!((evicted(&places), evicted(&other)), (vec![1], vec![]));
    }

    #[test]
    fn when_all_places_are_taken_the_heaviest_address_gives_way() {
        let admission = Admission::new(SHARES);
        let local = enter(&admission, OWNER, 4);
        let tasks: Vec<_> = (1..=2).flat_map(|number| enter(&admission, task(number), 2)).collect();
        let late = admission.enter(task(3));
        assert_eq!((evicted(&local), evicted(&tasks)), (vec![0], vec![]));
        drop(late);
        // Many addresses with one connection each do no better.
        let scattered: Vec<_> = (10..30).map(|number| admission.enter(IpAddr::from([127, 0, 0, number]))).collect();
        let owner = admission.enter(IpAddr::from(OWNER));
        assert_eq!(evicted(std::slice::from_ref(&owner)), Vec::<usize>::new());
        assert!(evicted(&scattered).len() > 10);
    }

    #[test]
    fn a_proven_connection_stays_whatever_strangers_do() {
        let admission = Admission::new(SHARES);
        let owner = enter(&admission, OWNER, 20);
        assert!(owner[19].standing().prove("owner", true));
        let strangers = enter(&admission, OWNER, 50);
        assert_eq!(evicted(&owner), (0..19).collect::<Vec<_>>());
        assert_eq!(evicted(&strangers).len(), 42);
    }

    #[test]
    fn a_holder_loses_idle_connections_and_no_call_under_way() {
        let admission = Admission::new(SHARES);
        let places = enter(&admission, OWNER, 4);
        let standing = |at: usize| places[at].standing();
        let busy = [standing(0).begin(), standing(1).begin()];
        assert!(standing(0).prove("role", false) && standing(1).prove("role", false));
        assert!(!standing(2).prove("role", false), "both are at work");
        assert!(standing(3).prove("other", false), "another holder has its own share");
        assert!(standing(0).prove("other", false), "a connection stays its holder's");
        drop(busy);
        assert!(standing(2).prove("role", false));
        assert_eq!(evicted(&places), [0]);
    }

    #[test]
    fn nothing_is_kept_of_connections_that_are_gone() {
        let admission = Admission::new(SHARES);
        let places = enter(&admission, task(1), 10);
        let standing = places[9].standing();
        let underway = standing.begin();
        assert!(standing.prove("role", false));
        drop(places);
        standing.touch();
        drop(underway);
        let connections = admission.lock();
        assert!(connections.by_id.is_empty() && connections.sources.is_empty() && connections.holders.is_empty());
        assert_eq!(connections.unproven, 0);
    }
}
