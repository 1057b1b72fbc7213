//! The contract of [`MappingStore`](purgefront::ports::dispatch::MappingStore): changes that wait for
//! the catalogue, at one distribution or for all.

use purgefront::domain::{
    change::{Change, MappedChange, Unmapped},
    history::RequestState,
    mapping::Mapping,
    wait::{OpenWait, Wait},
};

use super::{
    Store,
    fixtures::{ALL, keys, only, skip, target, to_items, whole},
};

stories!(
    changes_that_wait_are_no_longer_unseen,
    each_wait_is_listed_once_with_its_first_change,
    waiting_changes_come_oldest_first_up_to_a_number,
    a_change_waits_for_one_distribution_only,
    what_a_change_waits_for_may_change,
    a_change_that_waited_for_all_is_mapped_to_all,
    unmapped_counts_unseen_and_waiting_changes,
    a_request_whose_change_waits_is_not_completed,
    a_change_gets_no_item_twice,
    why_a_change_needed_nothing_is_replaced,
    thousands_of_changes_wait_for_many_things,
    a_name_may_be_of_any_length,
);

fn details(id: &str) -> Wait {
    Wait::Details(id.to_owned())
}

fn bucket() -> Wait {
    Wait::Bucket("site".to_owned())
}

fn policy(id: &str) -> Wait {
    Wait::Policy {
        distribution_id: id.to_owned(),
        policy_id: "p".to_owned(),
    }
}

fn to_wait(waits: &[Wait]) -> Mapping {
    Mapping {
        waits: waits.to_vec(),
        ..Mapping::default()
    }
}

async fn park(store: &Store, changes: &[Change], waits: &[Wait]) {
    let changes = changes.iter().cloned();
    let mapped = changes.map(|change| whole(change, to_wait(waits)));
    store.record_all(mapped.collect()).await;
}

async fn waiting(store: &Store, wait: &Wait) -> Vec<Change> {
    let waiting = store.leader.waiting_changes(wait, i64::MAX, ALL).await;
    waiting.unwrap()
}

/// What changes wait for, in an order of its own, each with the first of them.
async fn open(store: &Store) -> Vec<(Wait, i64)> {
    let open = store.leader.open_waits().await.unwrap();
    let open = open
        .into_iter()
        .map(|OpenWait { wait, first }| (wait, first));
    let mut open: Vec<_> = open.collect();
    open.sort();
    open
}

async fn unmapped(store: &Store) -> Unmapped {
    store.leader.unmapped().await.unwrap()
}

async fn changes_that_wait_are_no_longer_unseen(store: Store) {
    store.events(&["a", "b", "c"]).await;
    let changes = store.unseen().await;
    park(&store, &changes[..2], &[details("E1")]).await;
    for _ in 0..2 {
        assert_eq!(keys(&store.unseen().await), ["c"]);
        assert_eq!(waiting(&store, &details("E1")).await, changes[..2]);
        assert!(store.backlogs(None).await.is_empty());
        // To wait again changes nothing.
        park(&store, &changes[..2], &[details("E1")]).await;
    }
    let store = store.reopened().await;
    assert_eq!(waiting(&store, &details("E1")).await, changes[..2]);
    assert_eq!(waiting(&store, &details("E2")).await, []);
    assert_eq!(waiting(&store, &bucket()).await, []);
}

async fn each_wait_is_listed_once_with_its_first_change(store: Store) {
    assert_eq!(open(&store).await, []);
    store.events(&["a", "b", "c", "d"]).await;
    let all = store.unseen().await;
    park(&store, &all[1..], &[details("E1"), policy("E2")]).await;
    park(&store, &all[..1], &[bucket()]).await;
    park(
        &store,
        &all[3..],
        &[policy("E3"), Wait::Again("E1".to_owned())],
    )
    .await;
    let expected = [
        (bucket(), all[0].seq),
        (details("E1"), all[1].seq),
        (policy("E2"), all[1].seq),
        (policy("E3"), all[3].seq),
        (Wait::Again("E1".to_owned()), all[3].seq),
    ];
    let store = store.reopened().await;
    assert_eq!(open(&store).await, expected);
    let mapped = all[1..3].iter().cloned();
    let mapped = mapped.map(|change| only("E1", change, to_items(&[("E1", "/x")])));
    store.record_all(mapped.collect()).await;
    let expected = [
        (bucket(), all[0].seq),
        (policy("E2"), all[1].seq),
        (policy("E3"), all[3].seq),
        (Wait::Again("E1".to_owned()), all[3].seq),
    ];
    assert_eq!(
        open(&store).await,
        expected,
        "the last change waits for others now"
    );
}

async fn waiting_changes_come_oldest_first_up_to_a_number(store: Store) {
    store.events(&["a", "b", "c", "d"]).await;
    let changes = store.unseen().await;
    let mut shuffled = changes.clone();
    shuffled.swap(0, 2);
    for change in shuffled {
        park(&store, &[change], &[bucket()]).await;
    }
    for limit in 0..5 {
        for count in 0..4 {
            let through = changes[count].seq;
            let wait = bucket();
            let found = store.leader.waiting_changes(&wait, through, limit);
            assert_eq!(found.await.unwrap(), changes[..limit.min(count + 1)]);
        }
    }
}

async fn a_change_waits_for_one_distribution_only(store: Store) {
    store.events(&["a"]).await;
    let change = store.unseen().await.remove(0);
    let mapping = Mapping {
        targets: vec![target("E1", "/a")],
        skipped: vec![skip(Some("E4"), "disabled")],
        dead: vec![skip(Some("E5"), "no wildcard allowed")],
        waits: vec![details("E2"), policy("E3")],
    };
    store.record(change.clone(), mapping).await;
    assert_eq!(store.waiting_items("E1").await, ["/a"], "it goes at once");
    assert_eq!(store.ports.dead_letters(None, ALL).await.unwrap().len(), 1);
    assert_eq!(unmapped(&store).await.changes, 1);
    let mapped = only("E2", change.clone(), to_items(&[("E2", "/a")]));
    store.record_all(vec![mapped]).await;
    assert_eq!(open(&store).await, [(policy("E3"), change.seq)]);
    assert_eq!(unmapped(&store).await.changes, 1);
    let mapping = Mapping {
        skipped: vec![skip(Some("E3"), "never cached")],
        ..Mapping::default()
    };
    store.record_all(vec![only("E3", change, mapping)]).await;
    assert_eq!(open(&store).await, []);
    assert_eq!(unmapped(&store).await, Unmapped::default());
    assert!(store.unseen().await.is_empty());
    for (id, items) in [("E1", vec!["/a"]), ("E2", vec!["/a"]), ("E3", vec![])] {
        assert_eq!(store.waiting_items(id).await, items);
    }
    store.assert_backlogs(&["E1", "E2", "E3"]).await;
}

async fn what_a_change_waits_for_may_change(store: Store) {
    store.events(&["a"]).await;
    let changes = store.unseen().await;
    let change = &changes[0];
    park(&store, &changes, &[details("E1"), details("E2")]).await;
    let next = only("E1", change.clone(), to_wait(&[policy("E1")]));
    store.record_all(vec![next]).await;
    let seq = change.seq;
    assert_eq!(
        open(&store).await,
        [(details("E2"), seq), (policy("E1"), seq)]
    );
    assert_eq!(waiting(&store, &details("E1")).await, []);
    assert_eq!(waiting(&store, &policy("E1")).await, changes);
}

async fn a_change_that_waited_for_all_is_mapped_to_all(store: Store) {
    store.events(&["a"]).await;
    let change = store.unseen().await.remove(0);
    park(&store, std::slice::from_ref(&change), &[bucket()]).await;
    store
        .record(change.clone(), to_items(&[("E1", "/a"), ("E2", "/a")]))
        .await;
    assert_eq!(open(&store).await, []);
    assert_eq!(unmapped(&store).await, Unmapped::default());
    assert_eq!(store.waiting_items("E1").await, ["/a"]);
    assert_eq!(store.waiting_items("E2").await, ["/a"]);
}

async fn unmapped_counts_unseen_and_waiting_changes(store: Store) {
    assert_eq!(unmapped(&store).await, Unmapped::default());
    store.events(&["a"]).await;
    let oldest = store.now();
    store.events(&["b"]).await;
    store.manual("E1", &["/m"]).await;
    let expected = |changes, oldest| Unmapped {
        changes,
        oldest: Some(oldest),
    };
    assert_eq!(unmapped(&store).await, expected(3, oldest));
    let changes = store.unseen().await;
    assert_eq!(keys(&changes), ["/m", "a", "b"]);
    let a = &changes[1];
    // Once, however much it waits for.
    park(
        &store,
        std::slice::from_ref(a),
        &[details("E1"), details("E2")],
    )
    .await;
    assert_eq!(unmapped(&store).await, expected(3, oldest));
    let mapped = only("E1", a.clone(), to_items(&[("E1", "/a")]));
    store.record_all(vec![mapped]).await;
    assert_eq!(unmapped(&store).await, expected(3, oldest));
    let mapped = only("E2", a.clone(), to_items(&[("E2", "/a")]));
    store.record_all(vec![mapped]).await;
    assert_eq!(unmapped(&store).await, expected(2, changes[2].accepted_at));
    store.record(changes[2].clone(), Mapping::default()).await;
    assert_eq!(unmapped(&store).await, expected(1, changes[0].accepted_at));
    store.map_all(&["E1"]).await;
    assert_eq!(unmapped(&store).await, Unmapped::default());
}

async fn a_request_whose_change_waits_is_not_completed(store: Store) {
    let request = store.manual("E1", &["/m"]).await;
    let state = async || store.ports.request(request).await.unwrap().unwrap().state;
    let changes = store.unseen().await;
    park(&store, &changes, &[details("E1")]).await;
    assert_eq!(state().await, RequestState::Accepted);
    let oldest = Some(store.now());
    assert_eq!(unmapped(&store).await, Unmapped { changes: 1, oldest });
    let skipped = Mapping {
        skipped: vec![skip(Some("E1"), "disabled")],
        ..Mapping::default()
    };
    store
        .record_all(vec![only("E1", changes[0].clone(), skipped)])
        .await;
    assert_eq!(state().await, RequestState::Completed);
}

/// Whatever the item's state: if it was sent, that was after the change was accepted.
async fn a_change_gets_no_item_twice(store: Store) {
    store.events(&["a"]).await;
    let change = store.unseen().await.remove(0);
    let first = Mapping {
        dead: vec![skip(Some("E2"), "no wildcard allowed")],
        waits: vec![bucket()],
        ..to_items(&[("E1", "/a")])
    };
    store.record(change.clone(), first).await;
    let batch = store.freeze_all("E1").await;
    store.created(batch.id, "I1", true).await;
    let again = || Mapping {
        dead: vec![skip(Some("E2"), "no wildcard allowed")],
        skipped: vec![skip(Some("E1"), "disabled"), skip(Some("E2"), "disabled")],
        ..to_items(&[("E1", "/a"), ("E1", "/a*"), ("E2", "/a")])
    };
    for scope in [None, Some("E1"), Some("E2")] {
        let mapped = MappedChange {
            change: change.clone(),
            only: scope.map(str::to_owned),
            mapping: again(),
        };
        store.record_all(vec![mapped]).await;
        assert_eq!(store.waiting_items("E1").await, ["/a*"], "{scope:?}");
        assert_eq!(store.waiting_items("E2").await, ["/a"], "{scope:?}");
        assert_eq!(store.ports.dead_letters(None, ALL).await.unwrap().len(), 1);
    }
    store.assert_backlogs(&["E1", "E2"]).await;
}

async fn why_a_change_needed_nothing_is_replaced(store: Store) {
    let request = store.manual("E1", &["/m"]).await;
    let change = store.unseen().await.remove(0);
    let whys = async || {
        let request = store.ports.request(request).await.unwrap().unwrap();
        let mut whys: Vec<_> = request.skipped.into_iter().map(|one| one.why).collect();
        whys.sort();
        whys
    };
    let skipped = |skips: &[(Option<&str>, &str)]| Mapping {
        skipped: skips.iter().map(|(id, why)| skip(*id, why)).collect(),
        ..Mapping::default()
    };
    store
        .record(
            change.clone(),
            skipped(&[(None, "nobody's"), (Some("E2"), "disabled")]),
        )
        .await;
    assert_eq!(whys().await, ["disabled", "nobody's"]);
    let mapped = only(
        "E1",
        change.clone(),
        skipped(&[(Some("E1"), "never cached")]),
    );
    store.record_all(vec![mapped]).await;
    assert_eq!(whys().await, ["disabled", "never cached"]);
    let mapped = only("E2", change.clone(), to_items(&[("E2", "/m")]));
    store.record_all(vec![mapped]).await;
    assert_eq!(whys().await, ["never cached"]);
    store
        .record(change, skipped(&[(Some("E1"), "ignored")]))
        .await;
    assert_eq!(whys().await, ["ignored"]);
}

async fn thousands_of_changes_wait_for_many_things(store: Store) {
    let names: Vec<_> = (0..4_500).map(|at| format!("k{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    store.events(&names).await;
    let ids: Vec<_> = (0..300).map(|at| format!("E{at}")).collect();
    let unseen = store.unseen().await.into_iter().enumerate();
    let mapped = unseen.map(|(at, change)| whole(change, to_wait(&[details(&ids[at % 300])])));
    store.record_all(mapped.collect()).await;
    assert_eq!(open(&store).await.len(), 300);
    assert_eq!(unmapped(&store).await.changes, 4_500);
    let changes = waiting(&store, &details("E7")).await;
    assert_eq!(changes.len(), 15);
    let mapped = changes.into_iter();
    let mapped = mapped.map(|change| only("E7", change, to_items(&[("E7", "/a")])));
    store.record_all(mapped.collect()).await;
    assert_eq!(open(&store).await.len(), 299);
    assert_eq!(unmapped(&store).await.changes, 4_485);
}

/// Whoever may publish to a topic names the bucket.
async fn a_name_may_be_of_any_length(store: Store) {
    store.events(&["a", "b"]).await;
    let names = ["b", "c"].map(|end| Wait::Bucket("bucket".repeat(20_000) + end));
    for (change, name) in store.unseen().await.iter().zip(&names) {
        park(
            &store,
            std::slice::from_ref(change),
            std::slice::from_ref(name),
        )
        .await;
    }
    assert_eq!(open(&store).await.len(), 2);
    assert_eq!(keys(&waiting(&store, &names[0]).await), ["a"]);
    assert_eq!(keys(&waiting(&store, &names[1]).await), ["b"]);
}
