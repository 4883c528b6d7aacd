//! Seats, inboxes and generations, without a socket.

use estiva_store::Schema;
use estiva_store::backend::Memory;

use super::*;
use crate::feeds::Feeds;

fn sessions() -> Arc<Sessions> {
    let store = Store::open(Memory::new(), estiva_ecs::tables(Schema::new(1))).unwrap();
    Arc::new(Sessions::new(store, Feeds::none(), SESSIONS_MAX))
}

#[tokio::test]
async fn a_session_begins_by_looking_at_everything() {
    let seat = sessions().enter("i").unwrap();
    assert_eq!(seat.inbox.take().await, Dirty { all: true, ..Dirty::default() });
}

#[tokio::test]
async fn what_is_marked_while_nobody_looks_is_kept_once() {
    let sessions = sessions();
    let seat = sessions.enter("i").unwrap();
    seat.inbox.take().await;
    for task in ["b", "a", "b"] {
        sessions.mark("i", |dirty| dirty.add(task));
    }
    sessions.mark("another", |dirty| dirty.add("c"));
    let tasks = ["a", "b"].map(str::to_owned).into();
    assert_eq!(seat.inbox.take().await, Dirty { tasks, ..Dirty::default() });
}

#[tokio::test]
async fn too_many_tasks_to_name_are_all_tasks() {
    let sessions = sessions();
    let seat = sessions.enter("i").unwrap();
    seat.inbox.take().await;
    for task in 0..DIRTY_TASKS_MAX {
        sessions.mark("i", |dirty| dirty.add(&task.to_string()));
    }
    assert!(!lock(&seat.inbox.dirty).all);
    sessions.mark("i", |dirty| dirty.add("one more"));
    sessions.mark("i", |dirty| dirty.add("and another"));
    assert_eq!(seat.inbox.take().await, Dirty { all: true, ..Dirty::default() });
}

#[tokio::test]
async fn the_end_of_a_former_session_leaves_the_current_one() {
    let sessions = sessions();
    let former = sessions.enter("i").unwrap();
    let current = sessions.enter("i").unwrap();
    assert!(former.inbox.take().await.superseded);
    drop(former);
    assert!(sessions.has("i"));
    drop(current);
    assert!(!sessions.has("i"));
}

/// A store that comes from a backup has fewer changes than its nodes have heard of.
#[tokio::test]
async fn generations_go_on_above_those_of_a_store_that_was_lost() {
    use estiva_ecs::container_instance::table::ConnectionRow;
    use estiva_model::{Ambient, Timestamp};

    let at = |millis: i64| {
        let store = Store::open(Memory::new(), estiva_ecs::tables(Schema::new(1))).unwrap();
        let feeds = Feeds { ambient: Ambient::simulated(move || Timestamp(millis), 1), ..Feeds::none() };
        Sessions::new(store, feeds, SESSIONS_MAX)
    };
    let lost = at(1_796_077_641_000);
    for number in 0..100 {
        let row = ConnectionRow { instance: number.to_string(), connected: false, changed_at: Timestamp(0) };
        let put = lost.store.update(|tx| {
            tx.put(row.clone());
            Ok::<_, std::convert::Infallible>(())
        });
        put.await.unwrap();
    }
    let heard = lost.next_generation();
    // Restored a moment later: no generation of the former life is given out again.
    assert!(at(1_796_077_642_000).next_generation() > heard);
}

#[test]
fn generations_only_grow() {
    let sessions = sessions();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let sessions = Arc::clone(&sessions);
            std::thread::spawn(move || (0..1000).map(|_| sessions.next_generation()).collect::<Vec<_>>())
        })
        .collect();
    let mut all = BTreeSet::new();
    for thread in threads {
        let given = thread.join().unwrap();
        assert!(given.is_sorted_by(|a, b| a < b));
        all.extend(given);
    }
    assert_eq!(all.len(), 4000);
}
