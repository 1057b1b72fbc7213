//! The contract of [`OperationsStore`](purgefront::ports::operations::OperationsStore): pauses and
//! the daily limit.

use std::collections::BTreeSet;

use jiff::ToSpan as _;
use purgefront::domain::operations::{DaySpending, Pauses};

use super::Store;

stories!(
    nothing_is_paused_at_first,
    a_distribution_is_paused_and_resumed,
    sending_is_paused_for_all,
    pausing_twice_is_pausing_once,
    the_limit_is_lifted_for_one_day,
    lifting_the_limit_keeps_the_spending,
);

async fn pause(store: &Store, distribution_id: Option<&str>, paused: bool) {
    let set = store.ports.set_paused(distribution_id, paused).await;
    set.unwrap();
}

async fn pauses(store: &Store) -> Pauses {
    let controls = store.leader.controls(store.today()).await;
    controls.unwrap().pauses
}

async fn spending(store: &Store) -> DaySpending {
    let controls = store.leader.controls(store.today()).await;
    controls.unwrap().spending
}

fn paused(all: bool, ids: &[&str]) -> Pauses {
    Pauses {
        all,
        distributions: ids
            .iter()
            .map(|id| (*id).to_owned())
            .collect::<BTreeSet<_>>(),
    }
}

async fn nothing_is_paused_at_first(store: Store) {
    assert_eq!(pauses(&store).await, Pauses::default());
    assert_eq!(spending(&store).await, DaySpending::default());
    pause(&store, Some("E1"), false).await;
    pause(&store, None, false).await;
    assert_eq!(pauses(&store).await, Pauses::default());
}

async fn a_distribution_is_paused_and_resumed(store: Store) {
    pause(&store, Some("E1"), true).await;
    pause(&store, Some("E2"), true).await;
    let store = store.reopened().await;
    assert_eq!(pauses(&store).await, paused(false, &["E1", "E2"]));
    pause(&store, Some("E1"), false).await;
    let store = store.reopened().await;
    assert_eq!(pauses(&store).await, paused(false, &["E2"]));
}

async fn sending_is_paused_for_all(store: Store) {
    pause(&store, Some("E1"), true).await;
    pause(&store, None, true).await;
    let store = store.reopened().await;
    assert_eq!(pauses(&store).await, paused(true, &["E1"]));
    // The pause of a distribution is its own.
    pause(&store, None, false).await;
    assert_eq!(pauses(&store).await, paused(false, &["E1"]));
    pause(&store, None, true).await;
    pause(&store, Some("E1"), false).await;
    assert_eq!(pauses(&store).await, paused(true, &[]));
}

async fn pausing_twice_is_pausing_once(store: Store) {
    for id in [None, Some("E1")] {
        pause(&store, id, true).await;
        pause(&store, id, true).await;
        pause(&store, id, false).await;
    }
    assert_eq!(pauses(&store).await, Pauses::default());
}

async fn the_limit_is_lifted_for_one_day(store: Store) {
    let lifted = DaySpending {
        items: 0,
        lifted: true,
    };
    store.ports.lift_limit(store.today()).await.unwrap();
    store.ports.lift_limit(store.today()).await.unwrap();
    let store = store.reopened().await;
    assert_eq!(spending(&store).await, lifted);
    for day in [store.today() + 1.day(), store.today() - 1.day()] {
        let controls = store.leader.controls(day).await.unwrap();
        assert_eq!(controls.spending, DaySpending::default());
    }
}

async fn lifting_the_limit_keeps_the_spending(store: Store) {
    store.frozen("E1", &["a", "b"]).await;
    store.ports.lift_limit(store.today()).await.unwrap();
    let expected = |items| DaySpending {
        items,
        lifted: true,
    };
    assert_eq!(spending(&store).await, expected(2));
    store.frozen("E1", &["c"]).await;
    assert_eq!(spending(&store).await, expected(3));
}
