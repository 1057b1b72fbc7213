//! The contract of [`CatalogueStore`](purgefront::ports::catalogue::CatalogueStore), and of the verb
//! `keep_catalogue`.

use std::collections::HashMap;

use purgefront::{
    domain::{
        catalogue::{CacheKey, CachePolicy, Revision, Snapshot},
        change::Source,
    },
    ports::catalogue::KeptCatalogue,
};

use super::{Store, fixtures::snapshot};

stories!(
    there_is_no_catalogue_until_one_is_kept,
    a_kept_catalogue_is_the_same_after_a_restart,
    a_catalogue_replaces_the_one_before,
    each_kept_catalogue_has_a_higher_revision,
    the_known_catalogue_is_not_read_again,
    a_catalogue_may_be_empty,
    p3_requests_come_into_the_journal_with_a_catalogue,
);

async fn kept(store: &Store, known: Option<Revision>) -> Option<KeptCatalogue> {
    store.ports.kept_catalogue(known).await.unwrap()
}

async fn keep(store: &Store, snapshot: &Snapshot) -> Revision {
    store
        .leader
        .keep_catalogue(snapshot, &[], vec![])
        .await
        .unwrap();
    kept(store, None).await.unwrap().revision
}

/// A snapshot with its distributions in the order of their ids.
fn sorted(mut snapshot: Snapshot) -> Snapshot {
    let distributions = &mut snapshot.distributions;
    distributions.sort_by(|one, other| one.id.cmp(&other.id));
    snapshot
}

async fn there_is_no_catalogue_until_one_is_kept(store: Store) {
    assert_eq!(kept(&store, None).await, None);
    assert_eq!(kept(&store, Some(Revision(1))).await, None);
    let store = store.reopened().await;
    assert_eq!(kept(&store, None).await, None);
}

async fn a_kept_catalogue_is_the_same_after_a_restart(store: Store) {
    let key = CacheKey {
        caches: true,
        query_strings: true,
    };
    let snapshot = Snapshot {
        cache_policies: HashMap::from([
            ("p1".to_owned(), CachePolicy::Denied),
            ("p2".to_owned(), CachePolicy::Read(key)),
        ]),
        journal_end: 7,
        ..snapshot(&["E2", "E1", "E3"], store.now())
    };
    let revision = keep(&store, &snapshot).await;
    let store = store.reopened().await;
    let read = kept(&store, None).await.unwrap();
    assert_eq!(read.revision, revision);
    assert_eq!(sorted(read.snapshot), sorted(snapshot));
}

async fn a_catalogue_replaces_the_one_before(store: Store) {
    let first = snapshot(&["E1", "E2"], store.now());
    keep(&store, &first).await;
    store.pass(600);
    let second = snapshot(&["E3", "E2"], store.now());
    keep(&store, &second).await;
    let read = kept(&store, None).await.unwrap();
    assert_eq!(sorted(read.snapshot), sorted(second));
}

async fn each_kept_catalogue_has_a_higher_revision(store: Store) {
    let snapshot = snapshot(&["E1"], store.now());
    let mut revisions = Vec::new();
    for _ in 0..3 {
        revisions.push(keep(&store, &snapshot).await);
    }
    let store = store.reopened().await;
    revisions.push(keep(&store, &snapshot).await);
    assert!(revisions.is_sorted_by(|one, next| one < next));
}

async fn the_known_catalogue_is_not_read_again(store: Store) {
    let first = keep(&store, &snapshot(&["E1"], store.now())).await;
    assert_eq!(kept(&store, Some(first)).await, None);
    let second = keep(&store, &snapshot(&["E2"], store.now())).await;
    assert_eq!(kept(&store, Some(second)).await, None);
    let read = kept(&store, Some(first)).await.unwrap();
    assert_eq!(read.revision, second);
    assert_eq!(read.snapshot.distributions[0].id, "E2");
    let store = store.reopened().await;
    assert_eq!(kept(&store, Some(second)).await, None);
    assert!(kept(&store, Some(first)).await.is_some());
}

async fn a_catalogue_may_be_empty(store: Store) {
    keep(&store, &snapshot(&["E1"], store.now())).await;
    let empty = snapshot(&[], store.now());
    keep(&store, &empty).await;
    assert_eq!(kept(&store, None).await.unwrap().snapshot, empty);
}

async fn p3_requests_come_into_the_journal_with_a_catalogue(store: Store) {
    let request = store.new_request("E1", &["/*"]);
    let id = request.id;
    let snapshot = snapshot(&["E1"], store.now());
    let keep = store.leader.keep_catalogue(&snapshot, &[], vec![request]);
    keep.await.unwrap();
    let unseen = store.unseen().await;
    assert_eq!(unseen.len(), 1);
    assert_eq!(unseen[0].source, Source::Request(id));
    let end = store.leader.journal_end().await.unwrap();
    assert_eq!(end, unseen[0].seq);
}
