//! Deletes links, many with one wait.
//!
//! The kernel makes whoever deletes a link wait for RCU grace periods, some 30 ms, and lets nobody else change links for
//! most of that time. Links that are put into one group are deleted by one request with one wait. So whoever finds a
//! deletion under way queues behind it, and the first of the queue deletes for all of them (a group commit).

use std::mem;
use std::sync::{Arc, Mutex, OnceLock};

use super::lock;
use crate::link;
use crate::netlink::{NetlinkError, Socket};

/// A dump of acknowledgements must fit the socket's receive buffer.
const LINKS_MAX: usize = 100;

/// Names to be deleted, and whether they were, once that is known.
type Order = (Vec<String>, Arc<OnceLock<bool>>);

/// Has a socket of its own, lest the making of links waits for its turn here.
#[derive(Debug)]
pub(super) struct Reaper {
    socket: Mutex<Socket>,
    queue: Mutex<Vec<Order>>,
}

impl Reaper {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket: Mutex::new(socket), queue: Mutex::default() }
    }

    /// Deletes those of the links that are there.
    pub(super) fn delete(&self, names: &[String]) -> Result<(), NetlinkError> {
        let outcome = Arc::new(OnceLock::new());
        lock(&self.queue).push((names.to_vec(), Arc::clone(&outcome)));
        let mut socket = lock(&self.socket);
        // Whoever held the socket before us may have taken our order along.
        let done = *outcome.get_or_init(|| {
            let (mut all, mut others) = (Vec::new(), Vec::new());
            for (names, waiting) in mem::take(&mut *lock(&self.queue)) {
                all.extend(names);
                others.push(waiting);
            }
            let done = delete_together(&mut socket, &all).is_ok();
            for waiting in others.iter().filter(|waiting| !Arc::ptr_eq(waiting, &outcome)) {
                waiting.get_or_init(|| done);
            }
            done
        });
        if done {
            return Ok(());
        }
        // One of many failed: find out whether ours do, and why.
        names.iter().try_for_each(|name| tolerate_absence(socket.transact(&[link::delete(name)])))
    }
}

fn delete_together(socket: &mut Socket, names: &[String]) -> Result<(), NetlinkError> {
    for names in names.chunks(LINKS_MAX) {
        let doom = names.iter().map(|name| link::doom(name));
        let requests: Vec<_> = doom.chain([link::delete_doomed()]).collect();
        for refusal in socket.transact_each(&requests)? {
            tolerate_absence(Err(refusal))?;
        }
    }
    Ok(())
}

fn tolerate_absence(result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match result {
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(()),
        other => other,
    }
}
