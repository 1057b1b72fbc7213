//! The contract of [`MappingStore`](purgefront::ports::dispatch::MappingStore): mapping changes again
//! to a distribution that the catalogue did not know or had outdated.

use std::time::Duration;

use jiff::Timestamp;
use purgefront::domain::{
    change::{Change, LateDistribution, MappedChange, MappingOutcome, Remap, RemappedChange},
    mapping::Mapping,
};

use super::{
    Store,
    fixtures::{ALL, keys, skip, snapshot, to_items},
};

stories!(
    without_late_distributions_nothing_is_mapped_again,
    what_comes_before_the_new_catalogue_is_in_use_is_mapped_again_too,
    the_changes_since_then_are_mapped_again,
    only_mapped_objects_are_mapped_again,
    notes_are_worked_off_in_their_order,
    a_note_advances_and_survives_a_restart,
    a_change_gets_its_new_items_only,
    an_item_that_was_sent_is_not_added_again,
    mapping_again_twice_adds_each_item_once,
    a_dead_letter_is_added_once,
    items_of_other_distributions_are_not_added,
    a_change_that_was_skipped_may_be_taken_now,
);

async fn late(store: &Store, distributions: &[(&str, Timestamp)]) {
    let late = |(id, since): &(&str, Timestamp)| LateDistribution {
        distribution_id: (*id).to_owned(),
        since: *since,
    };
    let late: Vec<_> = distributions.iter().map(late).collect();
    let snapshot = snapshot(&["E1", "E2"], store.now());
    store.leader.keep_catalogue(&snapshot, &late).await.unwrap();
}

async fn next(store: &Store) -> Option<Remap> {
    store.leader.next_remap().await.unwrap()
}

async fn changes(store: &Store, remap: &Remap, limit: usize) -> Vec<Change> {
    let changes = store.leader.changes_to_remap(remap, limit).await;
    changes.unwrap()
}

async fn record(store: &Store, remap: &Remap, mapped: Vec<(Change, Mapping)>) {
    let remapped = |(change, mapping)| RemappedChange { change, mapping };
    let mapped = mapped.into_iter().map(remapped).collect();
    store.leader.record_remap(remap, mapped).await.unwrap();
}

/// Maps all changes of the next note to these items, and deletes the note.
async fn map_again(store: &Store, targets: &[(&str, &str)]) {
    let remap = next(store).await.unwrap();
    let changes = changes(store, &remap, ALL).await;
    assert!(!changes.is_empty());
    let mapped = changes
        .into_iter()
        .map(|change| (change, to_items(targets)));
    record(store, &remap, mapped.collect()).await;
    let remap = next(store).await.unwrap();
    record(store, &remap, Vec::new()).await;
    store.assert_backlogs(&["E1", "E2"]).await;
}

async fn without_late_distributions_nothing_is_mapped_again(store: Store) {
    assert_eq!(next(&store).await, None);
    store.wait_at("E1", &["a"]).await;
    late(&store, &[]).await;
    assert_eq!(next(&store).await, None);
}

async fn what_comes_before_the_new_catalogue_is_in_use_is_mapped_again_too(store: Store) {
    late(&store, &[("E2", store.now())]).await;
    store.wait_at("E1", &["a"]).await;
    let remap = next(&store).await.unwrap();
    assert_eq!(keys(&changes(&store, &remap, ALL).await), ["a"]);
    let saved = store.ports.kept_catalogue(None).await.unwrap();
    assert_eq!(remap.revision, saved.unwrap().revision);
}

async fn the_changes_since_then_are_mapped_again(store: Store) {
    for key in ["a", "b", "c", "d"] {
        store.pass(60);
        store.wait_at("E1", &[key]).await;
    }
    let since = store.waiting("E1").await[1].accepted_at;
    late(&store, &[("E2", since)]).await;
    let remap = next(&store).await.unwrap();
    assert_eq!(remap.distribution_id, "E2");
    assert_eq!(remap.since, since);
    assert_eq!(keys(&changes(&store, &remap, ALL).await), ["b", "c", "d"]);
    assert_eq!(keys(&changes(&store, &remap, 2).await), ["b", "c"]);
}

async fn only_mapped_objects_are_mapped_again(store: Store) {
    store.events(&["mapped", "parked", "unseen"]).await;
    let since = store.now();
    store.manual("E1", &["/m"]).await;
    let mut unseen = store.unseen().await;
    assert_eq!(keys(&unseen), ["/m", "mapped", "parked", "unseen"]);
    let parked = MappedChange {
        change: unseen.remove(2),
        outcome: MappingOutcome::Parked,
    };
    store.leader.record_mapping(vec![parked]).await.unwrap();
    let (manual, mapped) = (unseen.remove(0), unseen.remove(0));
    store.record(manual, to_items(&[("E1", "/m")])).await;
    store.record(mapped, Mapping::default()).await;
    late(&store, &[("E2", since)]).await;
    let remap = next(&store).await.unwrap();
    assert_eq!(keys(&changes(&store, &remap, ALL).await), ["mapped"]);
}

async fn notes_are_worked_off_in_their_order(store: Store) {
    store.wait_at("E1", &["a"]).await;
    let since = store.now();
    late(&store, &[("E3", since), ("E2", since)]).await;
    late(&store, &[("E3", since)]).await;
    for id in ["E3", "E2", "E3"] {
        let remap = next(&store).await.unwrap();
        assert_eq!(remap.distribution_id, id);
        record(&store, &remap, Vec::new()).await;
    }
    assert_eq!(next(&store).await, None);
}

async fn a_note_advances_and_survives_a_restart(store: Store) {
    store.wait_at("E1", &["a", "b", "c"]).await;
    late(&store, &[("E2", store.now())]).await;
    let before = next(&store).await;
    let mut store = store.reopened().await;
    assert_eq!(next(&store).await, before);
    for page in [&["a", "b"][..], &["c"]] {
        let remap = next(&store).await.unwrap();
        let changes = changes(&store, &remap, 2).await;
        assert_eq!(keys(&changes), page);
        let mapped = changes.into_iter().zip(page);
        let mapped = mapped.map(|(change, key)| (change, to_items(&[("E2", &format!("/{key}"))])));
        record(&store, &remap, mapped.collect()).await;
        store = store.reopened().await;
    }
    let remap = next(&store).await.unwrap();
    assert!(changes(&store, &remap, 2).await.is_empty());
    record(&store, &remap, Vec::new()).await;
    let store = store.reopened().await;
    assert_eq!(next(&store).await, None);
    assert_eq!(store.waiting_items("E2").await, ["/a", "/b", "/c"]);
}

async fn a_change_gets_its_new_items_only(store: Store) {
    store.wait_at("E1", &["a"]).await;
    let before = store.waiting("E1").await;
    late(&store, &[("E1", store.now())]).await;
    store.pass(60);
    map_again(&store, &[("E1", "/a"), ("E1", "/b*")]).await;
    let waiting = store.waiting("E1").await;
    assert_eq!(waiting[..1], before);
    assert_eq!(store.waiting_items("E1").await, ["/a", "/b*"]);
    // The new item has waited as long as its change.
    assert_eq!(waiting[1].accepted_at, before[0].accepted_at);
    assert_eq!(waiting[1].change, before[0].change);
}

async fn an_item_that_was_sent_is_not_added_again(store: Store) {
    let batch = store.frozen("E1", &["a"]).await;
    store.created(batch.id, "I1", true).await;
    store.frozen("E1", &["b"]).await;
    let since = store.now() - Duration::from_secs(1);
    late(&store, &[("E1", since)]).await;
    map_again(&store, &[("E1", "/a"), ("E1", "/b")]).await;
    let items = store.waiting_items("E1").await;
    assert_eq!(items, ["/b", "/a"], "the other item of each change");
}

async fn mapping_again_twice_adds_each_item_once(store: Store) {
    store.wait_at("E1", &["a"]).await;
    for _ in 0..2 {
        let since = store.now();
        late(&store, &[("E2", since), ("E2", since)]).await;
        map_again(&store, &[("E2", "/a"), ("E2", "/b")]).await;
        map_again(&store, &[("E2", "/a"), ("E2", "/b")]).await;
    }
    assert_eq!(store.waiting_items("E2").await, ["/a", "/b"]);
    assert_eq!(store.waiting_items("E1").await, ["/a"]);
}

async fn a_dead_letter_is_added_once(store: Store) {
    store.wait_at("E1", &["a"]).await;
    for _ in 0..2 {
        late(&store, &[("E2", store.now())]).await;
        let remap = next(&store).await.unwrap();
        let change = changes(&store, &remap, ALL).await.remove(0);
        let mapping = Mapping {
            dead: vec![skip(Some("E2"), "no wildcard allowed")],
            ..Mapping::default()
        };
        record(&store, &remap, vec![(change, mapping)]).await;
        let remap = next(&store).await.unwrap();
        record(&store, &remap, Vec::new()).await;
    }
    let letters = store.ports.dead_letters(None, ALL).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].distribution_id.as_deref(), Some("E2"));
    assert_eq!(letters[0].key.as_deref(), Some("a"));
}

async fn items_of_other_distributions_are_not_added(store: Store) {
    store.wait_at("E1", &["a"]).await;
    late(&store, &[("E2", store.now())]).await;
    map_again(&store, &[("E1", "/other"), ("E2", "/a")]).await;
    assert_eq!(store.waiting_items("E1").await, ["/a"]);
    assert_eq!(store.waiting_items("E2").await, ["/a"]);
}

async fn a_change_that_was_skipped_may_be_taken_now(store: Store) {
    store.events(&["a"]).await;
    let change = store.unseen().await.remove(0);
    let skipped = Mapping::left_alone("no distribution has this bucket as an origin");
    store.record(change, skipped).await;
    late(&store, &[("E1", store.now())]).await;
    map_again(&store, &[("E1", "/a")]).await;
    let batch = store.freeze_all("E1").await;
    assert_eq!(store.unresolved().await[0].batch, batch);
    store.created(batch.id, "I1", true).await;
}
