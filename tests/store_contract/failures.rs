//! The contract of failures whose dead letters are gone: what they concern has failed all the same.

use purgefront::{
    domain::{
        history::RequestState,
        mapping::Mapping,
        story::{ChangeQuery, ChangeState, ChangeStory, EndState},
    },
    ports::dispatch::Sweep,
};

use super::{
    Store,
    fixtures::{ALL, only, skip, to_items, whole},
};

stories!(
    a_change_that_cannot_be_mapped_has_failed_also_without_its_dead_letter,
    a_request_that_cannot_be_mapped_has_failed_also_without_its_dead_letter,
    a_dead_letter_that_grew_too_old_was_a_failure,
    mapping_again_replaces_a_failure,
    a_change_is_not_skipped_because_its_batch_is_forgotten,
);

async fn changes(store: &Store) -> Vec<ChangeStory> {
    let query = ChangeQuery {
        bucket: "site".to_owned(),
        key: "a".to_owned(),
        viewer: None,
        before: None,
        limit: ALL,
    };
    store.ports.changes(&query).await.unwrap().changes
}

/// Each end of the only change: its distribution and its state.
async fn ends(store: &Store) -> (ChangeState, Vec<(Option<String>, EndState)>) {
    let change = changes(store).await.remove(0);
    let ends = change.ends.iter();
    let ends = ends.map(|end| (end.distribution_id.clone(), end.state()));
    (change.state(), ends.collect())
}

fn at(id: &str, state: EndState) -> (Option<String>, EndState) {
    (Some(id.to_owned()), state)
}

/// Maps the only unseen change: a dead letter at E1, and these items.
async fn cannot_be_mapped(store: &Store, targets: &[(&str, &str)]) {
    let change = store.unseen().await.remove(0);
    let mapping = Mapping {
        dead: vec![skip(Some("E1"), "no wildcard allowed")],
        ..to_items(targets)
    };
    store.record_all(vec![whole(change, mapping)]).await;
}

async fn letters(store: &Store) -> Vec<i64> {
    let letters = store.ports.dead_letters(None, ALL).await.unwrap();
    letters.iter().map(|letter| letter.id).collect()
}

async fn a_change_that_cannot_be_mapped_has_failed_also_without_its_dead_letter(store: Store) {
    for drops_many in [false, true] {
        store.events(&["a"]).await;
        cannot_be_mapped(&store, &[]).await;
        let letters = letters(&store).await;
        if drops_many {
            let dropped = store.ports.drop_dead_letters(&letters).await.unwrap();
            assert_eq!(dropped, 1);
        } else {
            assert!(store.ports.drop_dead_letter(letters[0]).await.unwrap());
        }
        let expected = (ChangeState::Failed, vec![at("E1", EndState::Failed)]);
        assert_eq!(ends(&store).await, expected);
        let end = changes(&store).await.remove(0).ends.remove(0);
        assert_eq!(end.failure.as_deref(), Some("no wildcard allowed"));
        assert!(changes(&store).await[0].skipped.is_empty());
    }
}

async fn a_request_that_cannot_be_mapped_has_failed_also_without_its_dead_letter(store: Store) {
    let request = store.manual("E1", &["/a"]).await;
    cannot_be_mapped(&store, &[]).await;
    let id = letters(&store).await[0];
    assert!(store.ports.drop_dead_letter(id).await.unwrap());
    let view = store.ports.request(request).await.unwrap().unwrap();
    assert_eq!(view.state, RequestState::Failed);
    assert_eq!(
        view.errors,
        ["/a: no wildcard allowed; its dead letter was dropped"]
    );
    assert!(view.skipped.is_empty(), "{view:?}");
}

async fn a_dead_letter_that_grew_too_old_was_a_failure(store: Store) {
    store.events(&["a"]).await;
    cannot_be_mapped(&store, &[("E2", "/a")]).await;
    store.pass(1);
    store.sweep(store.now(), Sweep::default()).await;
    assert!(letters(&store).await.is_empty());
    let expected = vec![at("E2", EndState::Waiting), at("E1", EndState::Failed)];
    assert_eq!(ends(&store).await, (ChangeState::Waiting, expected));
}

async fn mapping_again_replaces_a_failure(store: Store) {
    store.events(&["a"]).await;
    let change = store.unseen().await.remove(0);
    let mapping = Mapping {
        dead: vec![
            skip(Some("E1"), "no wildcard allowed"),
            skip(Some("E3"), "no wildcard allowed"),
            skip(None, "no path"),
        ],
        ..to_items(&[("E2", "/a")])
    };
    store.record_all(vec![whole(change.clone(), mapping)]).await;
    let letters = letters(&store).await;
    store.ports.drop_dead_letters(&letters).await.unwrap();
    let again = to_items(&[("E1", "/a")]);
    store.record_all(vec![only("E1", change, again)]).await;
    let expected = vec![
        at("E2", EndState::Waiting),
        at("E1", EndState::Waiting),
        at("E3", EndState::Failed),
        (None, EndState::Failed),
    ];
    assert_eq!(ends(&store).await.1, expected);
}

async fn a_change_is_not_skipped_because_its_batch_is_forgotten(store: Store) {
    const BATCHES: usize = 1;
    let forget = async || {
        store.pass(1);
        let batches = Sweep {
            table: BATCHES,
            ..Sweep::default()
        };
        store.prune(store.now(), batches).await;
        assert!(store.invalidations(None).await.is_empty());
    };
    let completed = store.frozen("E1", &["a"]).await;
    store.created(completed.id, "I1", true).await;
    forget().await;
    assert_eq!(ends(&store).await, (ChangeState::Completed, Vec::new()));
    let rejected = store.frozen("E1", &["a"]).await;
    store.rejected(rejected.id).await;
    let letters = letters(&store).await;
    store.ports.drop_dead_letters(&letters).await.unwrap();
    forget().await;
    let expected = (ChangeState::Failed, vec![at("E1", EndState::Failed)]);
    assert_eq!(ends(&store).await, expected);
}
