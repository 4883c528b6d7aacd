//! Room that many use, of which nobody may use all: a bound for everybody together, and a smaller one for each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// So many users may be known before those that use nothing are forgotten.
const USERS_KEPT: usize = 1024;

/// The room; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    all: Arc<Semaphore>,
    share: usize,
    users: Mutex<BTreeMap<String, Weak<Semaphore>>>,
}

/// What somebody uses of it, until it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    _of_all: OwnedSemaphorePermit,
    _of_share: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Room for `all` units, `share` of them for each user.
    pub fn new(all: usize, share: usize) -> Self {
        Self(Arc::new(Inner { all: Arc::new(Semaphore::new(all)), share, users: Mutex::default() }))
    }

    /// Takes units in the user's turn, at the latest after `patience`; without a user there is no bound but that for all.
    pub async fn take(&self, user: Option<&str>, units: u32, patience: Duration) -> Option<Taken> {
        let take = async {
            // First its own: who waits for itself must hold nothing of what is everybody's.
            let of_share = match user {
                None => None,
                Some(user) => Some(self.share_of(user).acquire_many_owned(units).await.ok()?),
            };
            let of_all = Arc::clone(&self.0.all).acquire_many_owned(units).await.ok()?;
            Some(Taken { _of_all: of_all, _of_share: of_share })
        };
        timeout(patience, take).await.ok().flatten()
    }

    fn share_of(&self, user: &str) -> Arc<Semaphore> {
        let mut users = self.0.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = users.get(user).and_then(Weak::upgrade) {
            return share;
        }
        if users.len() >= USERS_KEPT {
            users.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(self.0.share));
        users.insert(user.to_owned(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    #[tokio::test]
    async fn each_has_a_share_and_all_have_the_room() {
        let room = Room::new(10, 4);
        let ada = room.take(Some("ada"), 4, AT_ONCE).await.unwrap();
        assert!(room.take(Some("ada"), 1, AT_ONCE).await.is_none());
        let bob = room.take(Some("bob"), 4, AT_ONCE).await.unwrap();
        let rest = room.take(None, 2, AT_ONCE).await.unwrap();
        assert!(room.take(Some("cy"), 1, AT_ONCE).await.is_none());
        drop((ada, rest));
        let ada = room.take(Some("ada"), 4, AT_ONCE).await.unwrap();
        drop((ada, bob));
        assert!(room.take(None, 10, AT_ONCE).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_itself_keeps_nobody_waiting() {
        let room = Room::new(10, 4);
        let _ada = room.take(Some("ada"), 4, AT_ONCE).await.unwrap();
        let waiting = tokio::spawn({
            let room = room.clone();
            async move { room.take(Some("ada"), 4, Duration::from_secs(5)).await.is_some() }
        });
        tokio::task::yield_now().await;
        assert!(room.take(None, 6, AT_ONCE).await.is_some());
        assert!(!waiting.await.unwrap());
    }

    #[tokio::test]
    async fn who_uses_nothing_is_forgotten() {
        let room = Room::new(10, 4);
        for user in 0..3 * USERS_KEPT {
            room.take(Some(&user.to_string()), 1, AT_ONCE).await.unwrap();
        }
        assert!(room.0.users.lock().unwrap().len() <= USERS_KEPT);
    }
}
