//! The contract of [`MappingStore`](purgefront::ports::dispatch::MappingStore): mapping changes again
//! to a distribution that the catalogue did not know or had outdated.

use std::time::Duration;

use purgefront::domain::{
    catalogue::Revision,
    change::{Change, Remap},
    mapping::Mapping,
    wait::Wait,
};

use super::{
    Store,
    fixtures::{ALL, FIRST, keys, only, skip, to_items, whole},
};

stories!(
    without_late_distributions_nothing_is_mapped_again,
    what_came_after_the_reading_before_is_mapped_again,
    what_comes_before_the_new_catalogue_is_in_use_is_mapped_again_too,
    what_is_mapped_with_the_new_catalogue_is_not_mapped_again,
    a_clock_set_back_hides_nothing,
    only_objects_that_were_looked_at_are_mapped_again,
    notes_are_worked_off_in_their_order,
    distributions_of_one_reading_are_one_note,
    a_note_advances_and_survives_a_restart,
    a_change_gets_its_new_items_only,
    an_item_that_was_sent_is_not_added_again,
    mapping_again_twice_adds_each_item_once,
    a_dead_letter_is_added_once,
    a_change_may_have_to_wait_again,
    a_change_that_was_skipped_may_be_taken_now,
);

async fn next(store: &Store) -> Option<Remap> {
    store.leader.next_remap().await.unwrap()
}

async fn changes(store: &Store, remap: &Remap, limit: usize) -> Vec<Change> {
    let changes = store.leader.changes_to_remap(remap, limit).await;
    changes.unwrap()
}

/// Maps these changes of a note to one distribution.
async fn record(
    store: &Store,
    remap: &Remap,
    through: Option<i64>,
    mapped: Vec<(Change, &str, Mapping)>,
) {
    let mapped = mapped.into_iter();
    let mapped = mapped.map(|(change, id, mapping)| only(id, change, mapping));
    let recorded = store.leader.record_remap(remap, through, mapped.collect());
    recorded.await.unwrap();
}

/// Deletes a note.
async fn finish(store: &Store, remap: &Remap) {
    record(store, remap, None, Vec::new()).await;
}

/// Maps all changes of the next note to these items at its only distribution, and deletes it.
async fn map_again(store: &Store, items: &[&str]) {
    let remap = next(store).await.unwrap();
    let [id] = &remap.distributions[..] else {
        panic!("one distribution, not {remap:?}");
    };
    let changes = changes(store, &remap, ALL).await;
    assert!(!changes.is_empty());
    let items: Vec<_> = items.iter().map(|item| (id.as_str(), *item)).collect();
    let mapped = changes.into_iter();
    let mapped = mapped.map(|change| (change, id.as_str(), to_items(&items)));
    record(store, &remap, None, mapped.collect()).await;
    store.assert_backlogs(&["E1", "E2"]).await;
}

async fn without_late_distributions_nothing_is_mapped_again(store: Store) {
    assert_eq!(next(&store).await, None);
    store.wait_at("E1", &["a"]).await;
    for _ in 0..2 {
        store.keep(&[]).await;
        assert_eq!(next(&store).await, None);
    }
}

async fn what_came_after_the_reading_before_is_mapped_again(store: Store) {
    store.wait_at("E1", &["a", "b"]).await;
    assert_eq!(store.keep(&[]).await, FIRST);
    let end = store.leader.journal_end().await.unwrap();
    store.wait_at("E1", &["c", "d"]).await;
    store.wait_at("E1", &["e"]).await;
    let revision = store.keep(&["E2"]).await;
    let remap = next(&store).await.unwrap();
    let expected = Remap {
        distributions: vec!["E2".to_owned()],
        after: end,
        revision,
    };
    assert_eq!(remap, expected);
    assert_eq!(keys(&changes(&store, &remap, ALL).await), ["c", "d", "e"]);
    assert_eq!(keys(&changes(&store, &remap, 2).await), ["c", "d"]);
}

async fn what_comes_before_the_new_catalogue_is_in_use_is_mapped_again_too(store: Store) {
    store.keep(&[]).await;
    let revision = store.keep(&["E2"]).await;
    let remap = next(&store).await.unwrap();
    assert_eq!(remap.revision, revision);
    assert!(changes(&store, &remap, ALL).await.is_empty());
    // Accepted after the new reading, and mapped with the old one.
    store.wait_at("E1", &["a"]).await;
    assert_eq!(keys(&changes(&store, &remap, ALL).await), ["a"]);
}

async fn what_is_mapped_with_the_new_catalogue_is_not_mapped_again(store: Store) {
    store.keep(&[]).await;
    store.events(&["a", "b", "c"]).await;
    let [a, b, c]: [Change; 3] = store.unseen().await.try_into().unwrap();
    let mapped = |change: &Change| vec![whole(change.clone(), to_items(&[("E1", "/x")]))];
    store.record_all(mapped(&a)).await;
    let waits = Mapping {
        waits: vec![Wait::Details("E1".to_owned())],
        ..Mapping::default()
    };
    store.record(c.clone(), waits).await;
    let revision = store.keep(&["E2"]).await;
    let leader = &store.leader;
    leader.record_mapping(revision, mapped(&b)).await.unwrap();
    // To one distribution alone: the others still have to be looked at.
    let at_one = only("E1", c, to_items(&[("E1", "/x")]));
    leader.record_mapping(revision, vec![at_one]).await.unwrap();
    let store = store.reopened().await;
    let remap = next(&store).await.unwrap();
    assert_eq!(keys(&changes(&store, &remap, ALL).await), ["a", "c"]);
    let Revision(number) = revision;
    let mapped = mapped(&a);
    let newer = store.leader.record_mapping(Revision(number + 1), mapped);
    newer.await.unwrap();
    assert_eq!(keys(&changes(&store, &remap, ALL).await), ["c"]);
}

async fn a_clock_set_back_hides_nothing(store: Store) {
    store.keep(&[]).await;
    store.clock.set_back(Duration::from_hours(3));
    store.wait_at("E1", &["a"]).await;
    store.keep(&["E2"]).await;
    store.clock.set_back(Duration::from_hours(3));
    store.wait_at("E1", &["b"]).await;
    let remap = next(&store).await.unwrap();
    assert_eq!(keys(&changes(&store, &remap, ALL).await), ["a", "b"]);
}

async fn only_objects_that_were_looked_at_are_mapped_again(store: Store) {
    store.keep(&[]).await;
    store.events(&["mapped", "waits", "unseen"]).await;
    store.manual("E1", &["/m"]).await;
    let [manual, mapped, waits, unseen]: [Change; 4] = store.unseen().await.try_into().unwrap();
    let to_wait = Mapping {
        waits: vec![Wait::Details("E1".to_owned())],
        ..Mapping::default()
    };
    store.record(waits, to_wait).await;
    store.record(manual, to_items(&[("E1", "/m")])).await;
    store.record(mapped, Mapping::default()).await;
    store.keep(&["E2"]).await;
    let remap = next(&store).await.unwrap();
    assert_eq!(
        keys(&changes(&store, &remap, ALL).await),
        ["mapped", "waits"]
    );
    assert_eq!(store.unseen().await, [unseen]);
}

async fn notes_are_worked_off_in_their_order(store: Store) {
    store.keep(&[]).await;
    store.wait_at("E1", &["a"]).await;
    let first = store.keep(&["E3"]).await;
    store.wait_at("E1", &["b"]).await;
    let second = store.keep(&["E2"]).await;
    for (revision, id, expected) in [(first, "E3", &["a", "b"][..]), (second, "E2", &["b"])] {
        let remap = next(&store).await.unwrap();
        assert_eq!(
            (remap.revision, &remap.distributions[..]),
            (revision, &[id.to_owned()][..])
        );
        assert_eq!(keys(&changes(&store, &remap, ALL).await), expected);
        finish(&store, &remap).await;
    }
    assert_eq!(next(&store).await, None);
}

async fn distributions_of_one_reading_are_one_note(store: Store) {
    store.keep(&[]).await;
    store.wait_at("E1", &["a", "b"]).await;
    store.keep(&["E3", "E2"]).await;
    let remap = next(&store).await.unwrap();
    assert_eq!(remap.distributions, ["E3", "E2"]);
    let change = changes(&store, &remap, 1).await.remove(0);
    let through = Some(change.seq);
    let mapped = ["E2", "E3"].map(|id| (change.clone(), id, to_items(&[(id, "/a")])));
    record(&store, &remap, through, mapped.into()).await;
    for id in ["E1", "E2", "E3"] {
        assert_eq!(store.waiting_items(id).await[0], "/a");
    }
    let remap = next(&store).await.unwrap();
    assert_eq!(remap.distributions, ["E3", "E2"]);
    assert_eq!(keys(&changes(&store, &remap, ALL).await), ["b"]);
    finish(&store, &remap).await;
    assert_eq!(next(&store).await, None);
}

async fn a_note_advances_and_survives_a_restart(store: Store) {
    store.keep(&[]).await;
    store.wait_at("E1", &["a", "b", "c"]).await;
    store.keep(&["E2"]).await;
    let before = next(&store).await;
    let mut store = store.reopened().await;
    assert_eq!(next(&store).await, before);
    for page in [&["a", "b"][..], &["c"]] {
        let remap = next(&store).await.unwrap();
        let changes = changes(&store, &remap, 2).await;
        assert_eq!(keys(&changes), page);
        let through = changes.last().map(|one| one.seq);
        let mapped = changes.into_iter().zip(page);
        let mapped =
            mapped.map(|(change, key)| (change, "E2", to_items(&[("E2", &format!("/{key}"))])));
        record(&store, &remap, through, mapped.collect()).await;
        store = store.reopened().await;
    }
    let remap = next(&store).await.unwrap();
    assert!(changes(&store, &remap, 2).await.is_empty());
    finish(&store, &remap).await;
    let store = store.reopened().await;
    assert_eq!(next(&store).await, None);
    assert_eq!(store.waiting_items("E2").await, ["/a", "/b", "/c"]);
}

async fn a_change_gets_its_new_items_only(store: Store) {
    store.keep(&[]).await;
    store.wait_at("E1", &["a"]).await;
    let before = store.waiting("E1").await;
    store.keep(&["E1"]).await;
    store.pass(60);
    map_again(&store, &["/a", "/b*"]).await;
    let waiting = store.waiting("E1").await;
    assert_eq!(waiting[..1], before);
    assert_eq!(store.waiting_items("E1").await, ["/a", "/b*"]);
    // The new item has waited as long as its change.
    assert_eq!(waiting[1].accepted_at, before[0].accepted_at);
    assert_eq!(waiting[1].change, before[0].change);
}

async fn an_item_that_was_sent_is_not_added_again(store: Store) {
    store.keep(&[]).await;
    let batch = store.frozen("E1", &["a"]).await;
    store.created(batch.id, "I1", true).await;
    store.frozen("E1", &["b"]).await;
    store.keep(&["E1"]).await;
    map_again(&store, &["/a", "/b"]).await;
    let items = store.waiting_items("E1").await;
    assert_eq!(items, ["/b", "/a"], "the other item of each change");
}

async fn mapping_again_twice_adds_each_item_once(store: Store) {
    store.keep(&[]).await;
    store.wait_at("E1", &["a"]).await;
    for _ in 0..2 {
        store.keep(&["E2"]).await;
        let remap = next(&store).await.unwrap();
        let change = store.waiting("E1").await[0].change;
        // However it came into the note.
        let remap = Remap {
            after: change - 1,
            ..remap
        };
        let change = changes(&store, &remap, ALL).await.remove(0);
        for _ in 0..2 {
            let mapping = to_items(&[("E2", "/a"), ("E2", "/b")]);
            record(&store, &remap, None, vec![(change.clone(), "E2", mapping)]).await;
        }
    }
    assert_eq!(store.waiting_items("E2").await, ["/a", "/b"]);
    assert_eq!(store.waiting_items("E1").await, ["/a"]);
    store.assert_backlogs(&["E1", "E2"]).await;
}

async fn a_dead_letter_is_added_once(store: Store) {
    store.keep(&[]).await;
    store.wait_at("E1", &["a"]).await;
    store.keep(&["E2"]).await;
    let remap = next(&store).await.unwrap();
    for _ in 0..2 {
        let change = changes(&store, &remap, ALL).await.remove(0);
        let mapping = Mapping {
            dead: vec![skip(Some("E2"), "no wildcard allowed")],
            ..Mapping::default()
        };
        record(&store, &remap, None, vec![(change, "E2", mapping)]).await;
    }
    let letters = store.ports.dead_letters(None, ALL).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].distribution_id.as_deref(), Some("E2"));
    assert_eq!(letters[0].key.as_deref(), Some("a"));
}

async fn a_change_may_have_to_wait_again(store: Store) {
    store.keep(&[]).await;
    store.wait_at("E1", &["a"]).await;
    store.keep(&["E2"]).await;
    let remap = next(&store).await.unwrap();
    let change = changes(&store, &remap, ALL).await.remove(0);
    let wait = Wait::Details("E2".to_owned());
    let mapping = Mapping {
        waits: vec![wait.clone()],
        ..Mapping::default()
    };
    record(&store, &remap, None, vec![(change.clone(), "E2", mapping)]).await;
    assert_eq!(next(&store).await, None);
    let waiting = store.leader.waiting_changes(&wait, i64::MAX, ALL).await;
    assert_eq!(waiting.unwrap(), [change]);
    assert_eq!(store.leader.unmapped().await.unwrap().changes, 1);
    assert!(store.unseen().await.is_empty());
    assert_eq!(store.waiting_items("E1").await, ["/a"]);
}

async fn a_change_that_was_skipped_may_be_taken_now(store: Store) {
    store.keep(&[]).await;
    store.events(&["a"]).await;
    let change = store.unseen().await.remove(0);
    let skipped = Mapping::left_alone("no distribution has this bucket as an origin");
    store.record(change, skipped).await;
    store.keep(&["E1"]).await;
    map_again(&store, &["/a"]).await;
    let batch = store.freeze_all("E1").await;
    assert_eq!(store.unresolved().await[0].batch, batch);
    store.created(batch.id, "I1", true).await;
}
