//! The contract of the holds of [`OperationsStore`](purgefront::ports::operations::OperationsStore).

use jiff::{SignedDuration, Timestamp};
use purgefront::{
    domain::{
        change::Idempotency,
        hold::{DeployHold, HoldAcceptance, KEPT, MOST_OPEN, Place},
    },
    ports::Clock as _,
};
use uuid::Uuid;

use super::Store;

stories!(
    a_hold_is_kept_as_it_is,
    a_hold_is_ended_once,
    a_hold_that_expired_cannot_be_ended,
    a_call_with_the_same_key_begins_one_hold,
    holds_are_bounded,
    what_ended_is_forgotten_in_time,
);

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn hold(place: Place, now: Timestamp) -> DeployHold {
    DeployHold {
        id: Uuid::now_v7(),
        place,
        token: "deploy".to_owned(),
        reason: Some("release \u{e4}\u{0} 'x'".to_owned()),
        created_at: now,
        expires_at: now + MINUTE * 10,
        ended_at: None,
    }
}

fn distribution(id: &str) -> Place {
    Place::Distribution(id.to_owned())
}

async fn kept(store: &Store) -> Vec<DeployHold> {
    let controls = store.leader.controls(store.today()).await.unwrap();
    assert_eq!(store.ports.holds().await.unwrap(), controls.holds);
    controls.holds
}

async fn creates(store: &Store, hold: &DeployHold) -> bool {
    let accepted = store.ports.create_hold(hold.clone(), None).await.unwrap();
    accepted == HoldAcceptance::New
}

async fn a_hold_is_kept_as_it_is(store: Store) {
    assert_eq!(kept(&store).await, []);
    let bucket = |only: Option<&[&str]>| Place::Bucket {
        bucket: "site".to_owned(),
        only: only.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect()),
    };
    let places = [
        distribution("E1"),
        bucket(None),
        bucket(Some(&["E1", "E2"])),
    ];
    let now = store.clock.now();
    let holds = places.map(|place| hold(place, now));
    for one in &holds {
        assert!(creates(&store, one).await);
    }
    let store = store.reopened().await;
    assert_eq!(kept(&store).await, holds);
}

async fn a_hold_is_ended_once(store: Store) {
    let now = store.clock.now();
    let holds = [hold(distribution("E1"), now), hold(distribution("E1"), now)];
    for one in &holds {
        creates(&store, one).await;
    }
    let ends = async |id, minutes: i32| {
        let at = now + MINUTE * minutes;
        store.ports.end_hold(id, at).await.unwrap()
    };
    assert!(ends(holds[0].id, 1).await);
    assert!(!ends(holds[0].id, 2).await);
    assert!(!ends(Uuid::nil(), 2).await);
    let ended: Vec<_> = kept(&store).await.iter().map(|one| one.ended_at).collect();
    assert_eq!(ended, [Some(now + MINUTE), None]);
    let end = store.leader.end_hold(holds[1].id, now + MINUTE).await;
    assert!(end.unwrap(), "the leader may end one as well");
}

async fn a_hold_that_expired_cannot_be_ended(store: Store) {
    let now = store.clock.now();
    let one = hold(distribution("E1"), now);
    creates(&store, &one).await;
    let ended = store.ports.end_hold(one.id, one.expires_at).await;
    assert!(!ended.unwrap());
    assert_eq!(kept(&store).await, [one]);
}

async fn a_call_with_the_same_key_begins_one_hold(store: Store) {
    let now = store.clock.now();
    let call = |key: &str, body: u8| Idempotency {
        key: key.to_owned(),
        body: [body; 32],
    };
    let create = async |hold: &DeployHold, call| {
        let created = store.ports.create_hold(hold.clone(), Some(call)).await;
        created.unwrap()
    };
    let [first, again] = [1, 2].map(|_| hold(distribution("E1"), now));
    assert_eq!(create(&first, call("k", 1)).await, HoldAcceptance::New);
    let repeated = HoldAcceptance::Repeated(first.clone());
    assert_eq!(create(&again, call("k", 1)).await, repeated);
    let other = create(&again, call("k", 2)).await;
    assert_eq!(other, HoldAcceptance::OtherBody);
    let other_token = DeployHold {
        token: "other".to_owned(),
        ..again.clone()
    };
    assert_eq!(
        create(&other_token, call("k", 2)).await,
        HoldAcceptance::New
    );
    assert_eq!(kept(&store).await, [first, other_token]);
}

async fn holds_are_bounded(store: Store) {
    let now = store.clock.now();
    let mut last = None;
    for _ in 0..MOST_OPEN {
        let one = hold(distribution("E1"), now);
        assert!(creates(&store, &one).await);
        last = Some(one.id);
    }
    let more = hold(distribution("E1"), now);
    assert!(!creates(&store, &more).await);
    let other_token = DeployHold {
        token: "other".to_owned(),
        ..more.clone()
    };
    assert!(creates(&store, &other_token).await, "each has its own");
    let more = hold(distribution("E1"), now);
    let ended = store.ports.end_hold(last.unwrap(), now + MINUTE).await;
    assert!(ended.unwrap());
    assert!(creates(&store, &more).await);
    assert_eq!(kept(&store).await.len(), MOST_OPEN + 2);
    // Those that are over do not count, but do not become more without end.
    for _ in 0..1_000 {
        let one = DeployHold {
            token: "other".to_owned(),
            ..hold(distribution("E1"), now)
        };
        assert!(creates(&store, &one).await);
        store.ports.end_hold(one.id, now + MINUTE).await.unwrap();
    }
    let one = DeployHold {
        token: "other".to_owned(),
        ..hold(distribution("E1"), now)
    };
    assert!(creates(&store, &one).await);
    assert_eq!(kept(&store).await.len(), MOST_OPEN + 1_002);
}

async fn what_ended_is_forgotten_in_time(store: Store) {
    let now = store.clock.now();
    let [ended, expired] = [1, 2].map(|_| hold(distribution("E1"), now));
    for one in [&ended, &expired] {
        creates(&store, one).await;
    }
    let ended_at = now + MINUTE;
    store.ports.end_hold(ended.id, ended_at).await.unwrap();
    let later = hold(distribution("E1"), ended_at + KEPT + MINUTE);
    creates(&store, &later).await;
    assert_eq!(kept(&store).await, [expired.clone(), later.clone()]);
    let last = hold(distribution("E1"), expired.expires_at + KEPT + MINUTE);
    creates(&store, &last).await;
    assert_eq!(kept(&store).await, [later, last]);
}
