//! The further nodes of one host: each a network namespace of its own, as a machine would be, with a link to the host.
//!
//! A node's agent and all that it starts live within the namespace, and have there a [`NodeNetwork`](crate::NodeNetwork)
//! as on any machine. The host routes to the node's own address and to its tasks', between the nodes, and outwards.
//! An installation has one block of addresses, chosen and remembered; it leads nowhere but to the nodes there are.
//!
//! What is there is told by the kernel alone: [`Fleet::join`] makes what is missing, whatever a crash has left.

mod rules;
mod seat;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::net::if_::if_nametoindex;
use serde::{Deserialize, Serialize};

pub use seat::{SLOTS, Seat};

use crate::config::Names;
use crate::engine::lock_namespace;
use crate::error::Context as _;
use crate::link::{self, Known};
use crate::namespace::{self, read_sysctl, sysctl};
use crate::netlink::{NetlinkError, Request, Socket};
use crate::record::{check_task_id, replace};
use crate::{Error, Subnet, nft, subnet};

/// The interface of a node that leads to the host, and so to everything.
pub const UPLINK: &str = link::TASK_INTERFACE;
const STATE_FILE: &str = "fleet.json";
const FORWARDING: &str = "net/ipv4/ip_forward";

/// Of an installation's block; see [`subnet::choose_block`].
const BLOCK_PREFIX: u8 = 16;

/// What outlives a reboot.
#[derive(Serialize, Deserialize)]
struct Persisted {
    block: Subnet,
}

/// The links to the further nodes of an installation. Dropping it leaves everything as it is. Everything here blocks.
#[derive(Debug)]
pub struct Fleet {
    names: Names,
    block: Subnet,
    mtu: u32,
    netns_dir: PathBuf,
    route: Socket,
    netfilter: Socket,
    /// The generation of the host's tables when the firewall was last found whole.
    whole: Option<u32>,
}

impl Fleet {
    /// Opens the fleet of an installation in the calling thread's network namespace: its block and its firewall, made or
    /// adopted. `state_dir` remembers the block over reboots, `run_dir` holds the namespaces.
    ///
    /// # Errors
    /// [`Error::NoFreeSubnet`] when no block can be had, and whatever the kernel refuses.
    pub fn open(installation: &str, state_dir: &Path, run_dir: &Path) -> Result<Self, Error> {
        for directory in [state_dir, run_dir] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.context(directory.display().to_string(), "create the directory")?;
        }
        let names = Names::new(installation);
        let mut route = Socket::open(NETLINK_ROUTE).context("rtnetlink", "open a socket")?;
        let netfilter = Socket::open(NETLINK_NETFILTER).context("nfnetlink", "open a socket")?;
        // Two installations that open at once must not choose the same block.
        let choosing = lock_namespace()?;
        let links = link::links(&mut route).context("host", "list links")?;
        let routes = link::routes(&mut route).context("host", "list routes")?;
        let addresses = link::addresses(&mut route).context("host", "list addresses")?;
        let ours: BTreeSet<u32> =
            links.iter().filter(|link| link.name.starts_with(&names.link_prefix)).map(|link| link.index).collect();
        let known: Vec<Known> = routes.iter().chain(&addresses).copied().collect();
        let block = settle_block(&state_dir.join(STATE_FILE), &known, &ours)?;
        route.transact(&[link::replace_unreachable_route(block)]).context(&names.prefix, "reserve the nodes' block")?;
        drop(choosing);
        let mtu = link::mtu_outwards(&links, &routes);
        let mut fleet = Self { names, block, mtu, netns_dir: run_dir.to_owned(), route, netfilter, whole: None };
        fleet.guard()?;
        Ok(fleet)
    }

    /// What the node of that slot has, of [`SLOTS`].
    pub fn seat(&self, slot: u8) -> Seat {
        Seat::new(self.block, slot)
    }

    /// The file that holds a node's network namespace.
    pub fn namespace(&self, name: &str) -> PathBuf {
        self.netns_dir.join(name)
    }

    /// Makes what is missing of a node's namespace and its link. `local`, an address of the host's, is within the node
    /// one of the node's own: what is to answer there can listen on it.
    ///
    /// # Errors
    /// [`Error::InvalidTaskId`] for a name that cannot be a file's, and whatever the kernel refuses.
    pub fn join(&mut self, name: &str, slot: u8, local: Ipv4Addr) -> Result<Seat, Error> {
        check_task_id(name)?;
        let (seat, link, path) = (self.seat(slot), self.link(slot), self.namespace(name));
        if !namespace::is_held(&path) {
            // A link to a namespace that nobody can find any more.
            self.unlink(&link)?;
            namespace::remove(name, &path)?;
            namespace::create(name, &path, |_| namespace::disable_ipv6(name))?;
        }
        if if_nametoindex(link.as_str()).is_err() {
            let inside = File::open(&path).context(name, "open the node's namespace")?;
            self.route.transact(&[link::new_pair(&link, self.mtu, &inside)]).context(name, "create the node's link")?;
            disable_ipv6(&link)?;
        }
        let index = if_nametoindex(link.as_str()).context(name, "find the node's link")?;
        let near_end = [link::new_address(index, seat.gateway, seat.link()), link::set_up(index)];
        settle(&mut self.route, &near_end).context(name, "configure the node's link")?;
        namespace::within(&path, || configure(name, seat, local))??;
        let route = link::replace_route(seat.subnet, index, seat.address);
        self.route.transact(&[route]).context(name, "lead to the node's tasks")?;
        Ok(seat)
    }

    /// Takes a node's link and namespace away; fine if there is none.
    ///
    /// # Errors
    /// Whatever the kernel refuses; call again then.
    pub fn leave(&mut self, name: &str, slot: u8) -> Result<(), Error> {
        check_task_id(name)?;
        let link = self.link(slot);
        self.unlink(&link)?;
        namespace::remove(name, &self.namespace(name))
    }

    /// Takes away what belongs to none of these nodes, given by name and slot.
    ///
    /// # Errors
    /// Whatever the kernel refuses; call again then.
    pub fn sweep(&mut self, known: &[(&str, u8)]) -> Result<(), Error> {
        let kept: BTreeSet<String> = known.iter().map(|(_, slot)| self.link(*slot)).collect();
        let links = link::links(&mut self.route).context(&self.names.prefix, "list links")?;
        let prefix = self.names.link_prefix.clone();
        for link in links.iter().filter(|link| link.name.starts_with(&prefix) && !kept.contains(&link.name)) {
            self.unlink(&link.name)?;
        }
        let directory = self.netns_dir.display().to_string();
        for entry in fs::read_dir(&self.netns_dir).context(&directory, "list the directory")? {
            let entry = entry.context(&directory, "list the directory")?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !known.iter().any(|(kept, _)| *kept == name) {
                namespace::remove(&name, &entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes the firewall again if somebody has flushed it, and forwarding if somebody has turned it off; gives whether
    /// anything was damaged. As long as nobody touches either it costs one question to the kernel.
    ///
    /// # Errors
    /// Whatever the kernel refuses; call again then.
    pub fn mend(&mut self) -> Result<bool, Error> {
        let table = self.names.table.clone();
        let generation = nft::generation(&mut self.netfilter).context(&table, "ask for the firewall's generation")?;
        let is_forwarding = read_sysctl(FORWARDING).context(FORWARDING, "read the kernel parameter")? == "1";
        if is_forwarding && self.whole == Some(generation) {
            return Ok(false);
        }
        let are_whole = rules::are_whole(&mut self.netfilter, &self.names, self.block);
        if is_forwarding && are_whole.context(&table, "inspect the nodes' firewall")? {
            self.whole = Some(generation);
            return Ok(false);
        }
        self.guard()?;
        Ok(true)
    }

    /// Takes everything away that the kernel has of the fleet.
    ///
    /// # Errors
    /// Whatever the kernel refuses; call again then.
    pub fn dismantle(mut self) -> Result<(), Error> {
        self.sweep(&[])?;
        rules::uninstall(&mut self.netfilter, &self.names).context(&self.names.table, "remove the nodes' firewall")?;
        let removed = self.route.transact(&[link::delete_unreachable_route(self.block)]);
        tolerate(removed, libc::ESRCH).context(&self.names.prefix, "give the nodes' block back")?;
        // What is not empty is somebody else's.
        let _ = fs::remove_dir(&self.netns_dir);
        Ok(())
    }

    fn guard(&mut self) -> Result<(), Error> {
        rules::install(&mut self.netfilter, &self.names, self.block)
            .context(&self.names.table, "install the nodes' firewall")?;
        if read_sysctl(FORWARDING).context(FORWARDING, "read the kernel parameter")? != "1" {
            sysctl(FORWARDING, "1").context(FORWARDING, "set the kernel parameter")?;
        }
        Ok(())
    }

    fn unlink(&mut self, link: &str) -> Result<(), Error> {
        let deleted = self.route.transact(&[link::delete(link)]);
        tolerate(deleted, libc::ENODEV).context(link, "delete the node's link")
    }

    fn link(&self, slot: u8) -> String {
        format!("{}{slot:02x}", self.names.link_prefix)
    }
}

/// Runs within the node's namespace.
fn configure(name: &str, seat: Seat, local: Ipv4Addr) -> Result<(), Error> {
    let mut route = Socket::open(NETLINK_ROUTE).context(name, "open a socket in the node's namespace")?;
    let index = if_nametoindex(UPLINK).context(name, "find the node's end of its link")?;
    let mut requests = vec![
        link::loopback_up(),
        link::new_address(index, seat.address, seat.link()),
        link::set_up(index),
        link::new_default_route(index, seat.gateway),
    ];
    if !local.is_loopback() {
        requests.push(link::new_loopback_address(local));
    }
    settle(&mut route, &requests).context(name, "configure the node's end of its link")
}

/// Carries requests out of which some may be fulfilled already.
fn settle(route: &mut Socket, requests: &[Request]) -> Result<(), NetlinkError> {
    let refused = route.transact_each(requests)?;
    refused.into_iter().find(|refusal| refusal.errno() != Some(libc::EEXIST)).map_or(Ok(()), Err)
}

fn tolerate(result: Result<(), NetlinkError>, errno: i32) -> Result<(), NetlinkError> {
    match result {
        Err(error) if error.errno() == Some(errno) => Ok(()),
        other => other,
    }
}

fn disable_ipv6(link: &str) -> Result<(), Error> {
    match sysctl(&format!("net/ipv6/conf/{link}/disable_ipv6"), "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context(link, "disable IPv6"),
        _ => Ok(()),
    }
}

/// The block in use if a node has a link; else the remembered one if it is free; else one that is.
fn settle_block(file: &Path, known: &[Known], ours: &BTreeSet<u32>) -> Result<Subnet, Error> {
    let of_ours = |known: &&Known| known.interface.is_some_and(|interface| ours.contains(&interface));
    let written = remembered_block(file)?;
    let of_links = || known.iter().find(of_ours).map(|known| Subnet::new(known.subnet.address(), BLOCK_PREFIX));
    let remembered = written.or_else(of_links);
    // The route that keeps the block leads nowhere: no interface.
    let is_own_route = |known: &&Known| known.interface.is_none() && Some(known.subnet) == remembered;
    let others = known.iter().filter(|known| !of_ours(known) && !is_own_route(known));
    let occupied: Vec<Subnet> = others.map(|known| known.subnet).filter(|subnet| subnet.is_network()).collect();
    let is_free = |block: Subnet| !occupied.iter().any(|taken| taken.overlaps(block));
    let kept = remembered.filter(|block| is_free(*block) || !ours.is_empty());
    let block = kept.or_else(|| subnet::choose_block(&occupied)).ok_or(Error::NoFreeSubnet)?;
    if written != Some(block) {
        replace(file, &Persisted { block }, true).context(file.display().to_string(), "remember the nodes' block")?;
    }
    Ok(block)
}

fn remembered_block(file: &Path) -> Result<Option<Subnet>, Error> {
    let subject = file.display().to_string();
    match fs::read(file) {
        Ok(json) => {
            let persisted = serde_json::from_slice::<Persisted>(&json).inspect_err(|error| {
                let error: &dyn std::error::Error = error;
                tracing::warn!(
                    file = subject,
                    error,
                    "the file is broken; the nodes' block is that of their links, or a new one"
                );
            });
            Ok(persisted.ok().map(|it| it.block))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(subject, "read the nodes' block"),
    }
}
