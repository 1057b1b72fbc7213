//! The contract of [`MappingStore`](purgefront::ports::dispatch::MappingStore), without the
//! catalogue.

use purgefront::domain::{change::Unmapped, history::RequestState, mapping::Mapping};

use super::{
    Store,
    fixtures::{keys, skip, target, to_items},
};

stories!(
    manual_changes_come_first_then_the_oldest,
    mapped_changes_wait_at_their_distributions,
    a_change_may_have_several_items,
    skipped_changes_need_nothing,
    changes_that_can_never_be_mapped_are_dead_letters,
    thousands_of_changes_are_mapped_at_once,
    nothing_to_record_changes_nothing,
    mapping_survives_a_restart,
);

async fn unmapped(store: &Store) -> Unmapped {
    store.leader.unmapped().await.unwrap()
}

async fn manual_changes_come_first_then_the_oldest(store: Store) {
    store.events(&["a", "b"]).await;
    store.manual("E1", &["/m"]).await;
    store.events(&["c"]).await;
    store.manual("E1", &["/n", "/o"]).await;
    let all = store.unseen().await;
    assert_eq!(keys(&all), ["/m", "/n", "/o", "a", "b", "c"]);
    for limit in [0, 1, 4, 6] {
        let first = store.leader.unseen_changes(limit).await.unwrap();
        assert_eq!(first, all[..limit]);
    }
}

async fn mapped_changes_wait_at_their_distributions(store: Store) {
    store.events(&["a", "b*"]).await;
    let from_events = store.now();
    store.manual("E2", &["/m/*", "#tag"]).await;
    store.map_all(&["E1", "E2"]).await;
    assert!(store.unseen().await.is_empty());
    assert_eq!(unmapped(&store).await, Unmapped::default());
    assert_eq!(store.waiting_items("E1").await, ["/a", "/b*"]);
    assert_eq!(
        store.waiting_items("E2").await,
        ["/m/*", "#tag", "/a", "/b*"]
    );
    assert!(store.waiting_items("E3").await.is_empty());
    for one in store.waiting("E2").await {
        let expected = if one.manual { store.now() } else { from_events };
        assert_eq!(one.accepted_at, expected);
        assert_eq!(one.manual, !["/a", "/b*"].contains(&one.item.as_str()));
    }
}

async fn a_change_may_have_several_items(store: Store) {
    store.events(&["index.html"]).await;
    let change = store.unseen().await.remove(0);
    let seq = change.seq;
    let mapping = to_items(&[("E1", "/index.html"), ("E1", "/"), ("E2", "/*")]);
    store.record(change, mapping).await;
    assert_eq!(store.waiting_items("E1").await, ["/index.html", "/"]);
    assert_eq!(store.waiting_items("E2").await, ["/*"]);
    let waiting = store.waiting("E1").await;
    assert!(waiting.iter().all(|one| one.change == seq));
    assert_ne!(waiting[0].target, waiting[1].target);
    store.assert_backlogs(&["E1", "E2"]).await;
}

async fn skipped_changes_need_nothing(store: Store) {
    let request = store.manual("E1", &["/m"]).await;
    let change = store.unseen().await.remove(0);
    let mapping = Mapping {
        skipped: vec![
            skip(Some("E1"), "the distribution is disabled"),
            skip(None, "ignored"),
        ],
        ..Mapping::default()
    };
    store.record(change, mapping).await;
    assert!(store.unseen().await.is_empty());
    assert!(store.backlogs(None).await.is_empty());
    let request = store.ports.request(request).await.unwrap().unwrap();
    assert_eq!(request.state, RequestState::Completed);
    let skips = request.skipped.iter();
    let mut skips: Vec<_> = skips
        .map(|one| (one.distribution_id.as_deref(), one.why.as_str()))
        .collect();
    skips.sort_unstable();
    assert_eq!(
        skips,
        [
            (None, "ignored"),
            (Some("E1"), "the distribution is disabled")
        ]
    );
}

async fn changes_that_can_never_be_mapped_are_dead_letters(store: Store) {
    store.events(&["a~b"]).await;
    let change = store.unseen().await.remove(0);
    let mapping = Mapping {
        targets: vec![target("E1", "/a*")],
        dead: vec![skip(Some("E2"), "no wildcard allowed")],
        ..Mapping::default()
    };
    store.record(change, mapping).await;
    assert!(store.unseen().await.is_empty());
    assert_eq!(store.waiting_items("E1").await, ["/a*"]);
    let letters = store.ports.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(
        (letter.kind.as_str(), letter.why.as_str()),
        ("item", "no wildcard allowed")
    );
    assert_eq!(letter.distribution_id.as_deref(), Some("E2"));
    assert_eq!(letter.bucket.as_deref(), Some("site"));
    assert_eq!(letter.key.as_deref(), Some("a~b"));
}

async fn thousands_of_changes_are_mapped_at_once(store: Store) {
    let names: Vec<_> = (0..4_500).map(|at| format!("k{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    store.events(&names).await;
    store.map_all(&["E1"]).await;
    assert!(store.unseen().await.is_empty());
    assert_eq!(store.waiting("E1").await.len(), 4_500);
    store.assert_backlogs(&["E1"]).await;
}

async fn nothing_to_record_changes_nothing(store: Store) {
    store.events(&["a"]).await;
    store.record_all(Vec::new()).await;
    assert_eq!(keys(&store.unseen().await), ["a"]);
    let change = store.unseen().await.remove(0);
    store.record(change, Mapping::default()).await;
    assert!(store.unseen().await.is_empty());
    assert!(store.backlogs(None).await.is_empty());
}

async fn mapping_survives_a_restart(store: Store) {
    store.wait_at("E1", &["a", "b*"]).await;
    store.manual("E1", &["/m"]).await;
    store.map_all(&[]).await;
    store.events(&["c"]).await;
    let before = (store.waiting("E1").await, store.backlogs(None).await);
    let store = store.reopened().await;
    let after = (store.waiting("E1").await, store.backlogs(None).await);
    assert_eq!(after, before);
    assert_eq!(keys(&store.unseen().await), ["c"]);
}
