//! Whatever happens in whatever order, the counts agree with what is counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fastrand::Rng;
use purgefront::{
    domain::{
        batch::Usage,
        cdn::CdnError,
        change::{Change, Subject},
        mapping::Mapping,
        resolution::{NextStep, Unresolved},
        tracking::StatusPoll,
        wait::Wait,
    },
    ports::dispatch::Sweep,
};

use super::{
    Store,
    fixtures::{
        ALL, no_answer, notification, object_change, only, parts, recount, skip, target, whole,
    },
};

stories!(counts_agree_whatever_happens);

const IDS: [&str; 3] = ["E1", "E2", "E3"];
const ITEMS: [&str; 6] = ["/a", "/b", "/a/*", "/*", "#tag", "#tag*"];
const SEEDS: u64 = 30;
const STEPS: usize = 60;

async fn counts_agree_whatever_happens(first: Store) {
    for seed in 0..SEEDS {
        let mut random = Rng::with_seed(seed);
        let mut store = first.another().await;
        let mut told = Vec::new();
        for _ in 0..STEPS {
            store.pass(random.u64(0..30));
            if random.u8(0..40) == 0 {
                told.push("restart");
                store = store.reopened().await;
            } else {
                told.push(step(&store, &mut random).await);
            }
            agrees(&store, &format!("seed {seed}: {told:?}")).await;
        }
    }
}

/// The counts of the store against the rows that they count.
async fn agrees(store: &Store, told: &str) {
    let mut recounted = BTreeMap::new();
    for id in IDS {
        if let Some(backlog) = recount(&store.waiting(id).await) {
            recounted.insert(id.to_owned(), backlog);
        }
    }
    assert_eq!(store.backlogs(None).await, recounted, "{told}");

    let pending = store.unresolved().await.into_iter();
    let pending = pending.map(|one| (one.batch.distribution_id.clone(), one.batch.usage()));
    let in_progress = store.in_progress().await.into_iter();
    let in_progress = in_progress.map(|one| (one.distribution_id, one.usage));
    let mut occupied: BTreeMap<String, Usage> = BTreeMap::new();
    for (id, usage) in pending.chain(in_progress) {
        let sum = occupied.entry(id).or_default();
        *sum = sum.plus(usage);
    }
    assert_eq!(store.usages().await, occupied, "{told}");

    let mut unmapped: BTreeSet<_> = store.unseen().await.iter().map(|one| one.seq).collect();
    for open in store.leader.open_waits().await.unwrap() {
        let waiting = store.leader.waiting_changes(&open.wait, i64::MAX, ALL);
        let waiting: Vec<_> = waiting.await.unwrap().iter().map(|one| one.seq).collect();
        assert_eq!(waiting.first(), Some(&open.first), "{told}");
        unmapped.extend(waiting);
    }
    let counted = store.leader.unmapped().await.unwrap();
    assert_eq!(counted.changes, unmapped.len() as u64, "{told}");
}

async fn step(store: &Store, random: &mut Rng) -> &'static str {
    match random.u8(0..20) {
        0..=2 => accept(store, random).await,
        3 => ask(store, random).await,
        4..=7 => map(store, random).await,
        8..=10 => freeze(store, random).await,
        11..=15 => resolve(store, random).await,
        16 => poll(store, random).await,
        17..=18 => operate(store, random).await,
        _ if random.bool() => remap(store, random).await,
        _ => prune(store, random).await,
    }
}

async fn accept(store: &Store, random: &mut Rng) -> &'static str {
    let keys: Vec<_> = (0..random.usize(1..6)).map(|at| format!("k{at}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let message = store.message(notification(&keys));
    store.ports.accept_message(message).await.unwrap();
    "accept"
}

async fn ask(store: &Store, random: &mut Rng) -> &'static str {
    let mut texts = ITEMS;
    random.shuffle(&mut texts);
    let id = random.choice(IDS).unwrap();
    let request = store.new_request(id, &texts[..random.usize(1..=3)]);
    store.ports.accept_request(request).await.unwrap();
    "ask"
}

fn any_mapping(random: &mut Rng, change: &Change) -> Mapping {
    let mut mapping = Mapping::default();
    match &change.subject {
        Subject::Item {
            distribution_id,
            item,
        } => mapping.targets.push(target(distribution_id, item.as_str())),
        Subject::Object { .. } => {
            for id in IDS {
                any_mapping_at(random, id, &mut mapping);
            }
            if random.bool() {
                mapping.targets.clear();
            }
            if random.u8(0..8) == 0 {
                mapping.waits.push(Wait::Bucket("site".to_owned()));
            }
        }
    }
    mapping
}

fn any_mapping_at(random: &mut Rng, id: &str, mapping: &mut Mapping) {
    let why = "no";
    match random.u8(0..8) {
        0 => mapping.skipped.push(skip(Some(id), why)),
        1 => mapping.dead.push(skip(Some(id), why)),
        2 => mapping.waits.push(Wait::Details(id.to_owned())),
        3 => mapping.waits.push(Wait::Policy {
            distribution_id: id.to_owned(),
            policy_id: "policy".to_owned(),
        }),
        _ => {
            let text = random.choice(ITEMS).unwrap();
            mapping.targets.push(target(id, text));
        }
    }
}

async fn map(store: &Store, random: &mut Rng) -> &'static str {
    let limit = random.usize(1..8);
    let open = store.leader.open_waits().await.unwrap();
    let mapped = if let Some(open) = random.choice(&open).filter(|_| random.bool()) {
        let changes = store.leader.waiting_changes(&open.wait, i64::MAX, limit);
        let changes = changes.await.unwrap().into_iter();
        let mapped = changes.map(|change| match open.wait.distribution_id() {
            Some(id) => {
                let mut mapping = Mapping::default();
                any_mapping_at(random, id, &mut mapping);
                only(id, change, mapping)
            }
            None => whole(change.clone(), any_mapping(random, &change)),
        });
        mapped.collect()
    } else {
        let unseen = store.leader.unseen_changes(limit).await.unwrap();
        let unseen = unseen.into_iter();
        let mapped = unseen.map(|change| whole(change.clone(), any_mapping(random, &change)));
        mapped.collect()
    };
    store.record_all(mapped).await;
    "map"
}

async fn freeze(store: &Store, random: &mut Rng) -> &'static str {
    let id = random.choice(IDS).unwrap();
    let mut waiting = store.waiting(id).await;
    waiting.retain(|_| random.u8(0..4) > 0);
    if waiting.is_empty() {
        return "freeze nothing";
    }
    let shadow = random.u8(0..6) == 0;
    store.freeze(id, &waiting, shadow).await;
    "freeze"
}

async fn resolve(store: &Store, random: &mut Rng) -> &'static str {
    let unresolved = store.unresolved().await;
    let Some(one) = random.choice(&unresolved) else {
        return "resolve nothing";
    };
    let (id, now) = (one.batch.id, store.now());
    if random.bool() {
        store.leader.record_attempt(id, now).await.unwrap();
    }
    let again = Unresolved {
        failures: one.failures + 1,
        due_at: now + Duration::from_secs(random.u64(0..100)),
        ..one.clone()
    };
    let refused = || CdnError::Refused("no".to_owned());
    match random.u8(0..8) {
        0..=1 => {
            let cloudfront_id = format!("I{:x}", random.u64(..));
            let completed = random.u8(0..4) == 0;
            store.created(id, &cloudfront_id, completed).await;
            "created"
        }
        2 => {
            let next = NextStep::Retry(Box::new(again));
            store.failed(id, no_answer(), next).await;
            "retry"
        }
        3 => {
            let mut again = again;
            again.batch.caller_reference = format!("{:x}", random.u64(..));
            again.has_new_reference = true;
            let next = NextStep::NewReference(Box::new(again));
            store.failed(id, refused(), next).await;
            "new reference"
        }
        4..=5 => {
            store.failed(id, refused(), NextStep::Requeue).await;
            "requeue"
        }
        _ if one.batch.items.len() > 1 => {
            let halves = parts(&one.batch, now);
            let next = NextStep::Bisect(Box::new(halves));
            store.failed(id, refused(), next).await;
            "bisect"
        }
        _ => {
            store.rejected(id).await;
            "dead letter"
        }
    }
}

async fn poll(store: &Store, random: &mut Rng) -> &'static str {
    let mut due = store.in_progress().await;
    due.retain(|one| one.due_at <= store.now());
    for one in due {
        let poll = if random.bool() {
            StatusPoll::Completed
        } else {
            StatusPoll::Again(store.now() + Duration::from_secs(20))
        };
        let recorded = store.leader.record_poll(one.batch, poll, store.now()).await;
        recorded.unwrap();
    }
    "poll"
}

async fn operate(store: &Store, random: &mut Rng) -> &'static str {
    let letters = store.ports.dead_letters(None, ALL).await.unwrap();
    let Some(letter) = random.choice(&letters) else {
        return "operate on nothing";
    };
    match random.u8(0..4) {
        0 => {
            assert!(store.ports.drop_dead_letter(letter.id).await.unwrap());
            "drop"
        }
        1 => {
            let change = object_change("k0");
            store.ports.replay_record(letter.id, change).await.unwrap();
            "replay record"
        }
        _ => {
            store.ports.replay_item(letter.id).await.unwrap();
            "replay item"
        }
    }
}

async fn remap(store: &Store, random: &mut Rng) -> &'static str {
    let id = random.choice(IDS).unwrap();
    store.keep(&[id]).await;
    while let Some(remap) = store.leader.next_remap().await.unwrap() {
        let changes = store.leader.changes_to_remap(&remap, 5).await.unwrap();
        let through = changes.last().map(|one| one.seq);
        let mapped = changes.into_iter().map(|change| {
            let mut mapping = Mapping::default();
            any_mapping_at(random, id, &mut mapping);
            only(id, change, mapping)
        });
        let mapped = mapped.collect();
        let recorded = store.leader.record_remap(&remap, through, mapped).await;
        recorded.unwrap();
    }
    "remap"
}

async fn prune(store: &Store, random: &mut Rng) -> &'static str {
    let cutoff = store.now() - Duration::from_secs(random.u64(0..300));
    store.sweep(cutoff, Sweep::default()).await;
    "prune"
}
