//! Opening: the node's subnet, bridge, kernel parameters and firewall, made or adopted.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Mutex;

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::reaper::Reaper;
use super::{Engine, LOCK_FILE, State, held_addresses, lock};
use crate::config::Names;
use crate::error::Context as _;
use crate::firewall::{Firewall, Parameters};
use crate::ipam::Pool;
use crate::link::{self, Known};
use crate::namespace::{read_sysctl, sysctl};
use crate::netlink::Socket;
use crate::ports::Ports;
use crate::record::{Records, replace};
use crate::task::Mac;
use crate::{Config, Error, Subnet, subnet};

const STATE_FILE: &str = "network.json";
const PREFIXES: std::ops::RangeInclusive<u8> = 16..=26;

/// What outlives a reboot.
#[derive(Serialize, Deserialize)]
struct Persisted {
    subnet: Subnet,
}

/// What the host's network looks like before we touch it.
struct Host {
    addresses: Vec<Known>,
    routes: Vec<Known>,
    bridge: Option<u32>,
    mtu: u32,
}

impl Engine {
    /// Opens the network of the calling thread's network namespace.
    pub(crate) fn open(config: &Config) -> Result<Self, Error> {
        let names = config.names()?;
        let netns_dir = config.run_dir.join("netns");
        for directory in [&config.state_dir, &config.run_dir, &netns_dir] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .context(directory.display().to_string(), "create the directory")?;
        }
        let own_lock = lock_installation(config)?;
        let mut route = Socket::open(NETLINK_ROUTE).context("rtnetlink", "open a socket")?;
        let reaper = Socket::open(NETLINK_ROUTE).context("rtnetlink", "open a socket")?;
        let netfilter = Socket::open(NETLINK_NETFILTER).context("nfnetlink", "open a socket")?;

        // Two installations that open at once must not choose the same subnet.
        let choosing = lock_namespace()?;
        let records = Records::open(&config.run_dir)?;
        let tasks = records.load()?;
        let host = survey(&mut route, &names)?;
        let subnet = settle_subnet(config, &host, tasks.is_empty())?;
        let bridge = ensure_bridge(&mut route, &names.bridge, subnet, host.mtu)?;
        drop(choosing);

        set_parameters(&names.bridge)?;
        let mut ports = Ports::new(config.publish, config.dynamic_ports.clone());
        for record in tasks.values() {
            ports.adopt(&record.bindings);
        }
        let parameters = Parameters {
            bridge: names.bridge.clone(),
            veth_prefix: names.veth_prefix.clone(),
            subnet,
            publish: config.publish,
            uplink: config.uplink.clone().unwrap_or_else(|| names.link_prefix.clone()),
        };
        let firewall = Firewall::new(names.table.clone(), parameters, netfilter);
        let pool = Pool::new(subnet, held_addresses(&tasks));
        let engine = Self {
            names,
            subnet,
            mtu: host.mtu,
            run_dir: config.run_dir.clone(),
            netns_dir,
            records,
            state: Mutex::new(State { bridge, pool, ports, tasks, services: Vec::new() }),
            route: Mutex::new(route),
            reaper: Reaper::new(reaper),
            firewall: Mutex::new(firewall),
            whole: Mutex::new(None),
            _lock: own_lock,
        };
        engine.repair_firewall()?;
        Ok(engine)
    }

    /// Makes the bridge, its address and the kernel parameters again where they are missing.
    pub(super) fn repair_bridge(&self) -> Result<(), Error> {
        let mut state = lock(&self.state);
        state.bridge = ensure_bridge(&mut lock(&self.route), &self.names.bridge, self.subnet, self.mtu)?;
        drop(state);
        set_parameters(&self.names.bridge)
    }

    /// The kernel parameters that are not as they must be.
    pub(super) fn wrong_parameters(&self) -> Vec<String> {
        let wrong = |(name, value): &(String, &str)| read_sysctl(name).ok().as_deref() != Some(*value);
        parameters(&self.names.bridge).into_iter().filter(wrong).map(|(name, _)| name).collect()
    }
}

fn parameters(bridge: &str) -> [(String, &'static str); 2] {
    [
        // Lets an answer to 127.0.0.1, which took the gateway's address on its way out, back in.
        (format!("net/ipv4/conf/{bridge}/route_localnet"), "1"),
        ("net/ipv4/ip_forward".to_owned(), "1"),
    ]
}

/// Writes only what differs: writing `ip_forward` resets other parameters of every interface.
fn set_parameters(bridge: &str) -> Result<(), Error> {
    for (name, value) in parameters(bridge) {
        if read_sysctl(&name).context(&name, "read the kernel parameter")? != value {
            sysctl(&name, value).context(&name, "set the kernel parameter")?;
        }
    }
    // The bridge needs no IPv6 address, and making one costs multicast traffic. Absent without IPv6 in the kernel.
    match sysctl(&format!("net/ipv6/conf/{bridge}/disable_ipv6"), "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context(bridge, "disable IPv6"),
        _ => Ok(()),
    }
}

fn lock_installation(config: &Config) -> Result<Flock<File>, Error> {
    let path = config.run_dir.join(LOCK_FILE);
    let subject = path.display().to_string();
    loop {
        let file = File::create(&path).context(&subject, "create the lock file")?;
        let locked = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => Error::AlreadyOpen { installation: config.installation.clone() },
            errno => Error::Io { subject: subject.clone(), step: "lock the file", source: errno.into() },
        })?;
        // Whoever dismantled the network meanwhile took the file away: a lock on that keeps nobody out.
        if is_at(&locked, &path).context(&subject, "find the lock file")? {
            return Ok(locked);
        }
    }
}

/// Whether the file is the one that the path leads to.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A lock for all of the machine that shares this network namespace: on the namespace's own file.
pub(crate) fn lock_namespace() -> Result<Flock<File>, Error> {
    let file = File::open("/proc/thread-self/ns/net").context("network namespace", "open its file")?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).context("network namespace", "lock it")
}

fn survey(route: &mut Socket, names: &Names) -> Result<Host, Error> {
    let links = link::links(route).context("host", "list links")?;
    // In a namespace that was made for this node it is down, and nothing could be published on 127.0.0.1.
    route.transact(&[link::loopback_up()]).context("host", "bring the loopback interface up")?;
    let addresses = link::addresses(route).context("host", "list addresses")?;
    let routes = link::routes(route).context("host", "list routes")?;
    let mtu = link::mtu_outwards(&links, &routes);
    let bridge = links.iter().find(|link| link.name == names.bridge).map(|link| link.index);
    Ok(Host { addresses, routes, bridge, mtu })
}

/// The subnet in use if the bridge is there; else the configured or remembered one; else one that is free.
fn settle_subnet(config: &Config, host: &Host, no_tasks: bool) -> Result<Subnet, Error> {
    let file = config.state_dir.join(STATE_FILE);
    let live = host.bridge.and_then(|bridge| {
        let on_bridge = |known: &&Known| known.interface == Some(bridge) && PREFIXES.contains(&known.subnet.prefix());
        host.addresses.iter().find(on_bridge).map(|known| known.subnet)
    });
    let remembered = remembered_subnet(&file)?;
    let occupied: Vec<Subnet> = host
        .addresses
        .iter()
        .chain(&host.routes)
        .filter(|known| host.bridge.is_none() || known.interface != host.bridge)
        .map(|known| known.subnet)
        .filter(|subnet| subnet.is_network())
        .collect();
    let is_free = |subnet: Subnet| !occupied.iter().any(|taken| taken.overlaps(subnet));

    let subnet = match (config.subnet, live, remembered) {
        (Some(wanted), Some(live), _) if wanted != live => {
            let reason = format!("this installation's bridge is in {live}");
            return Err(Error::SubnetConflict { subnet: wanted, reason });
        }
        (_, Some(live), _) => live,
        (Some(wanted), None, _) if !PREFIXES.contains(&wanted.prefix()) => {
            return Err(Error::SubnetConflict { subnet: wanted, reason: "not between /16 and /26".into() });
        }
        (Some(wanted), None, _) if is_free(wanted) => wanted,
        (Some(wanted), None, _) => {
            let reason = "the host has an address or a route in it".into();
            return Err(Error::SubnetConflict { subnet: wanted, reason });
        }
        // Tasks that run have addresses in it: then it stays, whatever the host joined since.
        (None, None, Some(remembered)) if is_free(remembered) || !no_tasks => remembered,
        (None, None, _) => subnet::choose(&occupied).ok_or(Error::NoFreeSubnet)?,
    };
    if remembered != Some(subnet) {
        replace(&file, &Persisted { subnet }, true).context(file.display().to_string(), "remember the subnet")?;
    }
    Ok(subnet)
}

fn remembered_subnet(file: &Path) -> Result<Option<Subnet>, Error> {
    match fs::read(file) {
        Ok(bytes) => {
            let persisted = serde_json::from_slice::<Persisted>(&bytes).inspect_err(|error| {
                let error: &dyn std::error::Error = error;
                tracing::warn!(file = %file.display(), error, "the file is broken; the subnet is the bridge's, or a new one");
            });
            Ok(persisted.ok().map(|it| it.subnet).filter(|subnet| PREFIXES.contains(&subnet.prefix())))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(file.display().to_string(), "read the remembered subnet"),
    }
}

/// The bridge's number, after making what is missing of the bridge and its address.
fn ensure_bridge(route: &mut Socket, name: &str, subnet: Subnet, mtu: u32) -> Result<u32, Error> {
    let find = |route: &mut Socket| {
        let links = link::links(route).context(name, "list links")?;
        Ok::<_, Error>(links.into_iter().find(|link| link.name == name))
    };
    let mut bridge = find(route)?;
    if bridge.is_none() {
        let request = link::new_bridge(name, Mac::of(subnet.gateway()), mtu);
        route.transact(&[request]).context(name, "create the bridge")?;
        bridge = find(route)?;
    }
    let bridge = bridge
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the bridge vanished"))
        .context(name, "find the bridge")?;
    let addresses = link::addresses(route).context(name, "list addresses")?;
    let has = |known: &Known| known.interface == Some(bridge.index) && known.address == Some(subnet.gateway());
    let mut missing = Vec::new();
    if !bridge.up {
        missing.push(link::set_up(bridge.index));
    }
    if !addresses.iter().any(has) {
        missing.push(link::new_address(bridge.index, subnet.gateway(), subnet));
    }
    route.transact(&missing).context(name, "configure the bridge")?;
    Ok(bridge.index)
}
