//! Events: what is news, and how many are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use estiva_model::{Ambient, Timestamp};
use estiva_store::{Row, Store};

use crate::container_instance::tests::bench::Bench;
use crate::service::ServiceEventRow;
use crate::service::event::{KEPT_MAX, Kind, newest};
use crate::service::rollout_table::RolloutRow;

const SERVICE: &str = "000000000000/us-east-1/default/web";

/// Tells with a clock that the test sets.
struct Teller {
    store: Store,
    now: Arc<AtomicI64>,
    ambient: Ambient,
}

impl Teller {
    fn new() -> Self {
        let now = Arc::new(AtomicI64::new(0));
        let clock = Arc::clone(&now);
        let ambient = Ambient::simulated(move || Timestamp(clock.load(Ordering::Relaxed)), 1);
        Self { store: Bench::new().ecs.store, now, ambient }
    }

    async fn change(&self, change: impl FnOnce(&mut RolloutRow, &mut estiva_store::Tx<'_>)) {
        let update = self.store.update(|tx| {
            let known = tx.get::<RolloutRow>(SERVICE).map(|row| (*row).clone());
            let mut row = known.unwrap_or_else(|| RolloutRow { service: SERVICE.to_owned(), ..RolloutRow::default() });
            change(&mut row, tx);
            tx.put(row);
            Ok::<_, std::convert::Infallible>(())
        });
        update.await.unwrap();
    }

    async fn tell(&self, kind: Kind, message: &str) {
        self.change(|row, tx| row.tell(tx, kind, message, &self.ambient)).await;
    }

    fn told(&self) -> Vec<String> {
        newest(&self.store.view(), SERVICE).into_iter().map(|event| event.message.unwrap()).collect()
    }
}

#[tokio::test]
async fn the_same_is_said_again_after_six_hours() {
    let teller = Teller::new();
    for (hour, message, count) in [
        (0, "no room", 1),
        (1, "no room", 1),
        (2, "less room", 2),
        (3, "no room", 3),
        (8, "no room", 3),
        (9, "no room", 4),
    ] {
        teller.now.store(hour * 3_600_000, Ordering::Relaxed);
        teller.tell(Kind::Unplaced, message).await;
        assert_eq!(teller.told().len(), count, "{hour} {message}");
    }
    assert_eq!(teller.told()[0], "(service web) no room");
}

#[tokio::test]
async fn kinds_are_told_apart_and_happenings_always_told() {
    let teller = Teller::new();
    for kind in
        [Kind::Steady, Kind::Unplaced, Kind::Impaired, Kind::Stuck, Kind::Happening, Kind::Happening, Kind::Steady]
    {
        teller.tell(kind, "so").await;
    }
    assert_eq!(teller.told().len(), 6);
    teller.change(|row, _| row.is_over(Kind::Steady)).await;
    teller.tell(Kind::Steady, "so").await;
    assert_eq!(teller.told().len(), 7, "what was over is news when it comes again");
}

#[tokio::test]
async fn a_hundred_are_shown_and_a_thousand_kept() {
    let teller = Teller::new();
    let all = usize::try_from(KEPT_MAX).unwrap() + 50;
    for number in 0..all {
        teller.tell(Kind::Happening, &number.to_string()).await;
    }
    let told = teller.told();
    let expected: Vec<String> = (0..all).rev().take(100).map(|number| format!("(service web) {number}")).collect();
    assert_eq!(told, expected);
    let kept: Vec<_> = teller.store.view().scan::<ServiceEventRow>("").collect();
    assert_eq!(kept.len(), all - 50);
    assert!(kept.iter().all(|row| row.number >= 50 && row.key().starts_with(SERVICE)));
}
