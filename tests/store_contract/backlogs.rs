//! The contract of the verb `backlogs`: it always returns what a count of the waiting items gives.

use std::time::Duration;

use purgefront::domain::{
    batch::{Backlog, Group},
    cdn::CdnError,
    mapping::Mapping,
    resolution::NextStep,
};

use super::{
    Store,
    fixtures::{parts, skip, to_items},
};

stories!(
    a_backlog_counts_wildcards_and_manual_items,
    a_backlog_has_the_oldest_and_the_newest_time,
    all_backlogs_are_those_with_waiting_items,
    chosen_backlogs_are_those_of_the_given_ids,
    freezing_takes_what_it_covers,
    a_requeued_batch_gives_back_what_it_covers,
    a_bisected_batch_gives_nothing_back,
    a_rejected_item_waits_again_once_it_is_replayed,
    a_replayed_mapping_waits_once_it_is_mapped_again,
    backlogs_survive_a_restart,
);

const IDS: &[&str] = &["E1", "E2", "E3"];

/// Waiting items of each kind at E1, an automatic path at E2.
async fn mixed(store: &Store) {
    store.wait_at("E1", &["a", "b*", "a"]).await;
    store.manual("E1", &["/m", "/n/*", "#tag", "#tag*"]).await;
    store.map_all(&[]).await;
    store.wait_at("E2", &["a"]).await;
}

async fn a_backlog_counts_wildcards_and_manual_items(store: Store) {
    let before = store.now();
    mixed(&store).await;
    let backlogs = store.backlogs(None).await;
    let group = |items, after| {
        let accepted_at = before + Duration::from_secs(after);
        Some(Group {
            items,
            oldest: accepted_at,
            newest: accepted_at,
        })
    };
    let expected = Backlog {
        // A tag that ends in `*` is no wildcard.
        manual_paths: group(3, 2),
        manual_wildcards: group(1, 2),
        paths: group(2, 1),
        wildcards: group(1, 1),
    };
    assert_eq!(backlogs["E1"], expected);
    assert_eq!((backlogs["E1"].items(), backlogs["E1"].wildcards()), (7, 2));
    assert_eq!((backlogs["E2"].items(), backlogs["E2"].wildcards()), (1, 0));
    store.assert_backlogs(IDS).await;
}

async fn a_backlog_has_the_oldest_and_the_newest_time(store: Store) {
    // Manual items are the newest first, then the oldest.
    store.wait_at("E1", &["a", "b"]).await;
    let first = store.now();
    store.manual("E1", &["/m"]).await;
    store.map_all(&[]).await;
    let backlog = store.backlogs(None).await["E1"];
    let paths = backlog.paths.unwrap();
    assert_eq!((paths.oldest, paths.newest), (first, first));
    assert_eq!(backlog.manual_paths.unwrap().newest, store.now());
    let waiting = store.waiting("E1").await;
    store.freeze("E1", &waiting[..2], false).await;
    store.assert_backlogs(IDS).await;
    store.wait_at("E1", &["c"]).await;
    let backlog = store.backlogs(None).await["E1"];
    let paths = backlog.paths.unwrap();
    assert_eq!((paths.oldest, paths.newest), (first, store.now()));
    // Changes may be mapped in another order than they were accepted in.
    store.events(&["d", "e"]).await;
    let mut changes = store.unseen().await;
    let (d, e) = (changes.remove(0), changes.remove(0));
    store.record(e, to_items(&[("E2", "/e")])).await;
    store.record(d, to_items(&[("E2", "/d")])).await;
    store.assert_backlogs(IDS).await;
}

async fn all_backlogs_are_those_with_waiting_items(store: Store) {
    assert!(store.backlogs(None).await.is_empty());
    mixed(&store).await;
    store.freeze_all("E2").await;
    let ids: Vec<_> = store.backlogs(None).await.into_keys().collect();
    assert_eq!(ids, ["E1"]);
    store.freeze_all("E1").await;
    assert!(store.backlogs(None).await.is_empty());
    store.wait_at("E2", &["b*"]).await;
    store.assert_backlogs(IDS).await;
}

async fn chosen_backlogs_are_those_of_the_given_ids(store: Store) {
    mixed(&store).await;
    let all = store.backlogs(None).await;
    let chosen = async |ids: &[&str]| {
        let ids: Vec<_> = ids.iter().map(|id| (*id).to_owned()).collect();
        let found = store.leader.backlogs(Some(&ids)).await.unwrap();
        for one in &found {
            assert!(
                ids.contains(&one.distribution_id),
                "only what was asked for"
            );
        }
        store.backlogs(Some(&ids)).await
    };
    assert!(chosen(&[]).await.is_empty());
    assert!(chosen(&["E9"]).await.is_empty());
    let one = chosen(&["E2", "E9"]).await;
    assert_eq!(one.keys().collect::<Vec<_>>(), ["E2"]);
    assert_eq!(one["E2"], all["E2"]);
    assert_eq!(chosen(&["E1", "E2"]).await, all);
    store.freeze_all("E2").await;
    assert!(chosen(&["E2"]).await.is_empty());
}

async fn freezing_takes_what_it_covers(store: Store) {
    mixed(&store).await;
    for _ in 0..7 {
        let waiting = store.waiting("E1").await;
        store.freeze("E1", &waiting[..1], false).await;
        store.assert_backlogs(IDS).await;
    }
    assert!(store.waiting("E1").await.is_empty());
    store.wait_at("E1", &["b*", "c"]).await;
    let waiting = store.waiting("E1").await;
    store.freeze("E1", &waiting, true).await;
    store.assert_backlogs(IDS).await;
}

async fn a_requeued_batch_gives_back_what_it_covers(store: Store) {
    mixed(&store).await;
    let before = (store.waiting("E1").await, store.backlogs(None).await);
    let batch = store.freeze_all("E1").await;
    let throttled = CdnError::Throttled("slow down".to_owned());
    store.failed(batch.id, throttled, NextStep::Requeue).await;
    let after = (store.waiting("E1").await, store.backlogs(None).await);
    assert_eq!(after, before);
    store.assert_backlogs(IDS).await;
}

async fn a_bisected_batch_gives_nothing_back(store: Store) {
    mixed(&store).await;
    let batch = store.freeze_all("E1").await;
    let before = store.backlogs(None).await;
    let halves = parts(&batch, store.now());
    let too_large = CdnError::TooLarge("split it".to_owned());
    let next = NextStep::Bisect(Box::new(halves.clone()));
    store.failed(batch.id, too_large.clone(), next).await;
    assert_eq!(store.backlogs(None).await, before);
    // A half that is requeued gives back its own items only.
    let [first, second] = halves.map(|half| half.batch);
    store.failed(first.id, too_large, NextStep::Requeue).await;
    store.assert_backlogs(IDS).await;
    store.rejected(second.id).await;
    store.assert_backlogs(IDS).await;
}

async fn a_rejected_item_waits_again_once_it_is_replayed(store: Store) {
    mixed(&store).await;
    let batch = store.freeze_all("E1").await;
    store.rejected(batch.id).await;
    store.assert_backlogs(IDS).await;
    let letters = store.ports.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), batch.items.len());
    for letter in letters {
        assert!(store.ports.replay_item(letter.id).await.unwrap());
        store.assert_backlogs(IDS).await;
    }
    assert_eq!(store.waiting("E1").await.len(), 7);
}

async fn a_replayed_mapping_waits_once_it_is_mapped_again(store: Store) {
    store.events(&["a"]).await;
    let change = store.unseen().await.remove(0);
    let mapping = Mapping {
        dead: vec![skip(Some("E1"), "no wildcard allowed")],
        ..Mapping::default()
    };
    store.record(change, mapping).await;
    let letter = store.ports.dead_letters(None, 1).await.unwrap().remove(0);
    assert!(store.ports.replay_item(letter.id).await.unwrap());
    assert!(store.backlogs(None).await.is_empty());
    store.map_all(&["E1", "E2"]).await;
    store.assert_backlogs(IDS).await;
    assert_eq!(store.backlogs(None).await.len(), 2);
}

async fn backlogs_survive_a_restart(store: Store) {
    mixed(&store).await;
    let waiting = store.waiting("E1").await;
    store.freeze("E1", &waiting[2..4], false).await;
    let before = store.backlogs(None).await;
    let store = store.reopened().await;
    assert_eq!(store.backlogs(None).await, before);
    store.assert_backlogs(IDS).await;
}
