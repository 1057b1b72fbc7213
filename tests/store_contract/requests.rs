//! The contract of manual requests: for keys, and repeated with an idempotency key.

use futures_util::future::join_all;
use purgefront::{
    domain::{
        change::{Asked, Effect, Idempotency, NewRequest, RequestAcceptance, Source, Subject},
        history::Why,
    },
    ports::dispatch::Sweep,
};
use uuid::Uuid;

use super::{
    Store,
    fixtures::{keys, only, to_items},
};

stories!(
    each_key_of_a_request_becomes_a_change,
    a_key_is_mapped_again_like_an_event,
    an_item_says_which_key_was_asked_for,
    the_same_key_and_body_are_the_same_request,
    a_key_is_good_for_a_day,
    two_at_once_make_one_request,
    a_key_outlives_short_history,
);

impl Store {
    fn for_keys(&self, keys: &[&str], distributions: Option<&[&str]>) -> NewRequest {
        NewRequest {
            asked: Asked::Keys {
                bucket: "site".to_owned(),
                keys: keys.iter().map(|key| (*key).to_owned()).collect(),
                distributions: distributions
                    .map(|ids| ids.iter().map(|id| (*id).to_owned()).collect()),
            },
            ..self.new_request("E1", &[])
        }
    }

    fn keyed(&self, token: &str, key: &str, body: u8) -> NewRequest {
        NewRequest {
            token: token.to_owned(),
            idempotency: Some(Idempotency {
                key: key.to_owned(),
                body: [body; 32],
            }),
            ..self.new_request("E1", &["/a"])
        }
    }

    async fn ask(&self, request: &NewRequest) -> RequestAcceptance {
        let accepted = self.ports.accept_request(request.clone()).await;
        accepted.unwrap()
    }
}

async fn each_key_of_a_request_becomes_a_change(store: Store) {
    store.events(&["event"]).await;
    let everywhere = store.for_keys(&["ä b", "a\nb"], None);
    assert_eq!(store.ask(&everywhere).await, RequestAcceptance::New);
    let somewhere = store.for_keys(&["c"], Some(&["E1", "E2"]));
    store.ask(&somewhere).await;
    let changes = store.unseen().await;
    assert_eq!(
        keys(&changes),
        ["ä b", "a\nb", "c", "event"],
        "people first"
    );
    for (change, request) in changes.iter().zip([&everywhere, &everywhere, &somewhere]) {
        assert_eq!(change.source, Source::Request(request.id));
        assert!(change.is_manual());
        let Subject::Object { bucket, effect, .. } = &change.subject else {
            panic!("an object, not {change:?}");
        };
        // Nobody said what became of it.
        assert_eq!((bucket.as_str(), *effect), ("site", Effect::Appears));
    }
    let concerned = |at: usize, id| changes[at].concerns(id);
    assert!(concerned(0, "E9") && concerned(2, "E2") && !concerned(2, "E9"));
    assert!(!changes[3].is_manual() && concerned(3, "E9"));
    let view = async |request: &NewRequest| {
        let view = store.ports.request(request.id).await.unwrap();
        view.unwrap().distributions
    };
    assert_eq!(view(&everywhere).await, None, "they may reach all");
    assert_eq!(view(&somewhere).await.unwrap(), ["E1", "E2"]);
}

async fn a_key_is_mapped_again_like_an_event(store: Store) {
    let first = store.keep(&[]).await;
    store.manual("E1", &["/item"]).await;
    store.ask(&store.for_keys(&["k"], None)).await;
    store.map_all(&["E1"]).await;
    assert_eq!(store.unseen().await, []);
    let second = store.keep(&["E2"]).await;
    assert!(second > first);
    let remap = store.leader.next_remap().await.unwrap().unwrap();
    let late = store.leader.changes_to_remap(&remap, 10).await.unwrap();
    assert_eq!(keys(&late), ["k"], "an item stays where it was asked for");
    let again = only("E2", late[0].clone(), to_items(&[("E2", "/k")]));
    let recorded = store.leader.record_remap(&remap, None, vec![again]);
    recorded.await.unwrap();
    let waiting = store.waiting("E2").await;
    assert!(waiting.len() == 1 && waiting[0].manual);
}

async fn an_item_says_which_key_was_asked_for(store: Store) {
    let request = store.for_keys(&["k"], None);
    store.ask(&request).await;
    store.map_all(&["E1"]).await;
    let batch = store.freeze_all("E1").await;
    let why = Why::Manual {
        request_id: request.id,
        token: request.token,
        reason: request.reason,
        bucket: Some("site".to_owned()),
        key: Some("k".to_owned()),
        time: request.accepted_at,
        because: "because of /k".to_owned(),
        asked: None,
    };
    assert_eq!(store.invalidation(batch.id).await.items[0].why, [why]);
    let view = store.ports.request(request.id).await.unwrap().unwrap();
    assert_eq!(view.invalidations[0].id, batch.id);
}

async fn the_same_key_and_body_are_the_same_request(store: Store) {
    let first = store.keyed("editor", "k", 1);
    assert_eq!(store.ask(&first).await, RequestAcceptance::New);
    let repeated = RequestAcceptance::Repeated(first.id);
    assert_eq!(store.ask(&store.keyed("editor", "k", 1)).await, repeated);
    let other = store.keyed("editor", "k", 2);
    assert_eq!(store.ask(&other).await, RequestAcceptance::OtherBody);
    for (token, key) in [("deploy", "k"), ("editor", "K")] {
        let request = store.keyed(token, key, 2);
        assert_eq!(store.ask(&request).await, RequestAcceptance::New);
    }
    assert_eq!(
        store.ask(&store.new_request("E1", &["/a"])).await,
        RequestAcceptance::New
    );
    let store = store.reopened().await;
    assert_eq!(store.ask(&store.keyed("editor", "k", 1)).await, repeated);
    assert_eq!(store.unseen().await.len(), 4, "repeats add nothing");
    let none: Option<Uuid> = store
        .ports
        .request(other.id)
        .await
        .unwrap()
        .map(|one| one.id);
    assert_eq!(none, None);
}

async fn a_key_is_good_for_a_day(store: Store) {
    let first = store.keyed("editor", "k", 1);
    store.ask(&first).await;
    store.pass(24 * 3_600 - 1);
    let repeated = RequestAcceptance::Repeated(first.id);
    assert_eq!(store.ask(&store.keyed("editor", "k", 1)).await, repeated);
    store.pass(1);
    let second = store.keyed("editor", "k", 2);
    assert_eq!(store.ask(&second).await, RequestAcceptance::New);
    let repeated = RequestAcceptance::Repeated(second.id);
    assert_eq!(store.ask(&store.keyed("editor", "k", 2)).await, repeated);
}

async fn two_at_once_make_one_request(store: Store) {
    let requests: Vec<_> = (0..20).map(|_| store.keyed("editor", "k", 1)).collect();
    let answers = join_all(requests.iter().map(|request| store.ask(request))).await;
    let new = |answer: &&RequestAcceptance| **answer == RequestAcceptance::New;
    assert_eq!(answers.iter().filter(new).count(), 1);
    let at = answers.iter().position(|answer| new(&answer)).unwrap();
    let repeated = RequestAcceptance::Repeated(requests[at].id);
    assert_eq!(
        answers.iter().filter(|answer| **answer == repeated).count(),
        19
    );
    assert_eq!(store.unseen().await.len(), 1);
}

async fn a_key_outlives_short_history(store: Store) {
    let prune = async || {
        let mut sweep = Some(Sweep::default());
        while let Some(at) = sweep {
            sweep = store.leader.prune(store.now(), at).await.unwrap();
        }
    };
    let first = store.keyed("editor", "k", 1);
    store.ask(&first).await;
    // Nothing needs it: its change ends without an item.
    let change = store.unseen().await.remove(0);
    store.record(change, to_items(&[])).await;
    store.pass(3_600);
    prune().await;
    let repeated = RequestAcceptance::Repeated(first.id);
    assert_eq!(store.ask(&store.keyed("editor", "k", 1)).await, repeated);
    assert!(store.ports.request(first.id).await.unwrap().is_some());
    store.pass(24 * 3_600);
    prune().await;
    assert!(store.ports.request(first.id).await.unwrap().is_none());
}
