//! The contract of what merging leaves behind, and of the ledger.

use jiff::{Timestamp, ToSpan as _, civil::Date};
use purgefront::{
    domain::{
        batch::{Batch, Covered, MadeWildcard, Merges},
        cdn::CdnError,
        history::Merged,
        ledger::{Ledger, OthersInvalidation},
        operations::day_of,
        resolution::NextStep,
        story::ChangeQuery,
    },
    ports::dispatch::Sweep,
};

use super::{
    Store,
    fixtures::{item, items, parts},
};

stories!(
    what_merging_did_is_kept_with_its_batch,
    parts_have_what_merging_did_to_their_items,
    wildcards_that_were_made_are_known_by_distribution_and_time,
    wildcards_are_known_until_nothing_can_come_of_them,
    a_change_says_which_wildcard_covers_it,
    what_merging_did_is_taken_with_its_batch,
    the_ledger_is_empty_at_first,
    the_ledger_sums_up_a_month_and_the_last_days,
    what_came_to_nothing_is_not_in_the_ledger,
    others_invalidations_count_once,
    an_invalidation_that_turns_out_to_be_ours_is_not_others,
    the_ledger_outlasts_history,
);

/// A wildcard that was made for two items and evicts as many objects.
fn made(text: &str, evictions: Option<usize>) -> MadeWildcard {
    MadeWildcard {
        item: item(text),
        replaces: 2,
        evictions,
    }
}

/// Freezes what waits at a distribution: all of it under the first of the items.
async fn freeze(store: &Store, id: &str, texts: &[&str], merges: Merges, shadow: bool) -> Batch {
    let waiting = store.waiting(id).await;
    let covered = waiting.iter().map(|one| Covered {
        target: one.target,
        position: 0,
    });
    let batch = Batch {
        merges,
        ..Batch::new(id, items(texts))
    };
    let covered = covered.collect();
    let frozen = store.leader.freeze(&batch, covered, shadow, store.now());
    frozen.await.unwrap();
    batch
}

/// A batch for whose only item two paths were merged.
async fn merged(store: &Store, id: &str, text: &str, shadow: bool) -> Batch {
    store.wait_at(id, &["img/a", "img/b"]).await;
    let merges = Merges {
        made: vec![made(text, Some(0))],
        prevented: Vec::new(),
    };
    freeze(store, id, &[text], merges, shadow).await
}

async fn made_since(store: &Store, id: &str, since: Timestamp) -> Vec<String> {
    let made = store.leader.made_since(id, since).await.unwrap();
    let mut made: Vec<_> = made.iter().map(ToString::to_string).collect();
    made.sort();
    made
}

async fn made_ever(store: &Store, id: &str) -> Vec<String> {
    made_since(store, id, Timestamp::UNIX_EPOCH).await
}

async fn what_merging_did_is_kept_with_its_batch(store: Store) {
    let plain = store.frozen("E1", &["c"]).await;
    store.wait_at("E1", &["img/a", "img/b"]).await;
    let merges = Merges {
        made: vec![made("/img/*", Some(3)), made("/css/%C3%A4*", None)],
        prevented: vec!["/doc/* is protected \0".to_owned()],
    };
    let texts = ["/img/*", "/css/%C3%A4*", "/c"];
    let batch = freeze(&store, "E1", &texts, merges, false).await;
    store.wait_at("E1", &["d"]).await;
    let merges = Merges {
        prevented: vec!["/* is not allowed".to_owned()],
        ..Merges::default()
    };
    let only_prevented = freeze(&store, "E1", &["/d"], merges, false).await;
    let store = store.reopened().await;
    let unresolved = store.unresolved().await.into_iter();
    let unresolved: Vec<_> = unresolved.map(|one| one.batch).collect();
    let all = [plain.clone(), batch.clone(), only_prevented.clone()];
    assert_eq!(unresolved, all);
    let detail = store.invalidation(batch.id).await;
    assert_eq!(detail.prevented, ["/doc/* is protected \0"]);
    let saving = |evictions| {
        Some(Merged {
            replaces: 2,
            evictions,
        })
    };
    let found: Vec<_> = detail.items.iter().map(|one| one.merged).collect();
    assert_eq!(found, [saving(Some(3)), saving(None), None]);
    let detail = store.invalidation(only_prevented.id).await;
    assert_eq!(detail.prevented, ["/* is not allowed"]);
    let detail = store.invalidation(plain.id).await;
    assert!(detail.prevented.is_empty() && detail.items[0].merged.is_none());
}

async fn parts_have_what_merging_did_to_their_items(store: Store) {
    store.wait_at("E1", &["img/a", "img/b"]).await;
    let merges = Merges {
        made: vec![made("/img/*", Some(3)), made("/css/*", Some(0))],
        prevented: vec!["/doc/* is protected".to_owned()],
    };
    let batch = freeze(&store, "E1", &["/img/*", "/css/*"], merges, false).await;
    store.pass(10);
    let parts = parts(&batch, store.now());
    let [first, second] = parts.clone().map(|part| part.batch);
    let next = NextStep::Bisect(Box::new(parts));
    let invalid = CdnError::Invalid("a bad path".to_owned());
    store.failed(batch.id, invalid, next).await;
    let store = store.reopened().await;
    let unresolved = store.unresolved().await.into_iter();
    let unresolved: Vec<_> = unresolved.map(|one| one.batch).collect();
    assert_eq!(unresolved, [first.clone(), second]);
    assert_eq!(first.merges.made, [made("/img/*", Some(3))]);
    // Each of them once.
    assert_eq!(made_ever(&store, "E1").await, ["/css/*", "/img/*"]);
    let replaced = store.invalidation(batch.id).await;
    assert_eq!(replaced.prevented, ["/doc/* is protected"]);
    assert!(replaced.items.is_empty());
}

async fn wildcards_that_were_made_are_known_by_distribution_and_time(store: Store) {
    assert!(made_ever(&store, "E1").await.is_empty());
    let plain = store.frozen("E1", &["asked/*"]).await;
    store.created(plain.id, "I1", true).await;
    merged(&store, "E1", "/img/*", false).await;
    let first = store.now();
    store.pass(60);
    merged(&store, "E2", "/other/*", false).await;
    merged(&store, "E1", "/css/*", false).await;
    let second = store.now();
    let store = store.reopened().await;
    assert_eq!(made_ever(&store, "E1").await, ["/css/*", "/img/*"]);
    assert_eq!(
        made_since(&store, "E1", first).await,
        ["/css/*", "/img/*"],
        "from then on"
    );
    let later = first + 1.second();
    assert_eq!(made_since(&store, "E1", later).await, ["/css/*"]);
    assert_eq!(made_since(&store, "E2", later).await, ["/other/*"]);
    let later = second + 1.second();
    assert!(made_since(&store, "E1", later).await.is_empty());
}

async fn wildcards_are_known_until_nothing_can_come_of_them(store: Store) {
    let shadowed = merged(&store, "E1", "/shadowed/*", true).await;
    let failed = merged(&store, "E1", "/failed/*", false).await;
    store.rejected(failed.id).await;
    let completed = merged(&store, "E1", "/completed/*", false).await;
    store.created(completed.id, "I1", true).await;
    let dissolved = merged(&store, "E1", "/dissolved/*", false).await;
    let all = ["/completed/*", "/dissolved/*", "/failed/*", "/shadowed/*"];
    assert_eq!(made_ever(&store, "E1").await, all);
    let throttled = CdnError::Throttled("slow down".to_owned());
    store
        .failed(dissolved.id, throttled, NextStep::Requeue)
        .await;
    let left = ["/completed/*", "/failed/*", "/shadowed/*"];
    assert_eq!(made_ever(&store, "E1").await, left);
    assert!(
        store.invalidation(shadowed.id).await.items[0]
            .merged
            .is_some()
    );
}

async fn a_change_says_which_wildcard_covers_it(store: Store) {
    store.wait_at("E1", &["img/a", "img/*"]).await;
    let covered_by = async |key: &str| {
        let query = ChangeQuery {
            bucket: "site".to_owned(),
            key: key.to_owned(),
            viewer: None,
            before: None,
            limit: 10,
        };
        let mut page = store.ports.changes(&query).await.unwrap();
        let end = page.changes.remove(0).ends.remove(0);
        end.invalidation.map(|one| one.covered_by)
    };
    assert_eq!(covered_by("img/a").await, None, "it waits");
    let batch = freeze(&store, "E1", &["/img/*"], Merges::default(), false).await;
    let wildcard = Some(Some("/img/*".to_owned()));
    assert_eq!(covered_by("img/a").await, wildcard);
    assert_eq!(covered_by("img/*").await, Some(None), "it is the item");
    store.rejected(batch.id).await;
    assert_eq!(covered_by("img/a").await, wildcard);
}

/// Where numbers of batches are given again, the next ones have nothing of it.
async fn what_merging_did_is_taken_with_its_batch(store: Store) {
    store.wait_at("E1", &["img/a"]).await;
    let merges = Merges {
        made: vec![made("/img/*", None)],
        prevented: vec!["/* is not allowed".to_owned()],
    };
    let batch = freeze(&store, "E1", &["/img/*"], merges.clone(), false).await;
    store.created(batch.id, "I1", true).await;
    store.pass(10);
    store.sweep(store.now(), Sweep::default()).await;
    assert!(store.invalidations(None).await.is_empty());
    assert!(made_ever(&store, "E1").await.is_empty());
    let plain = store.frozen("E1", &["b"]).await;
    assert!(store.invalidation(plain.id).await.prevented.is_empty());
    assert_eq!(store.unresolved().await[0].batch, plain);
    store.created(plain.id, "I2", true).await;
    store.pass(10);
    store.sweep(store.now(), Sweep::default()).await;
    store.wait_at("E1", &["img/a"]).await;
    freeze(&store, "E1", &["/img/*"], merges, false).await;
    assert_eq!(made_ever(&store, "E1").await, ["/img/*"]);
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn on(day: &str) -> Date {
    day.parse().unwrap()
}

async fn ledger(store: &Store, day: &str) -> Ledger {
    let controls = store.leader.controls(on(day)).await.unwrap();
    let other = store.ports.controls(on(day)).await.unwrap();
    assert_eq!(controls.ledger, other.ledger);
    controls.ledger
}

/// Sends so many items at a time.
async fn sent(store: &Store, time: &str, count: usize) -> Batch {
    let texts: Vec<_> = (0..count).map(|nth| format!("/p{nth}")).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    let batch = Batch::new("E1", items(&texts));
    let frozen = store.leader.freeze(&batch, Vec::new(), false, at(time));
    frozen.await.unwrap();
    batch
}

/// Others created an invalidation at a time.
async fn others(store: &Store, id: &str, time: &str, paths: usize) {
    let (distribution_id, cloudfront_id) = id.split_once('/').unwrap();
    let one = OthersInvalidation {
        distribution_id: distribution_id.to_owned(),
        cloudfront_id: cloudfront_id.to_owned(),
        created_at: at(time),
        paths,
    };
    store.leader.record_others(&one).await.unwrap();
}

async fn the_ledger_is_empty_at_first(store: Store) {
    assert_eq!(ledger(&store, "2027-01-15").await, Ledger::default());
    // What comes later is not before.
    sent(&store, "2027-03-01T00:00:00Z", 4).await;
    assert_eq!(ledger(&store, "2027-02-28").await, Ledger::default());
    assert_eq!(ledger(&store, "2027-03-01").await.days, 1);
}

async fn the_ledger_sums_up_a_month_and_the_last_days(store: Store) {
    sent(&store, "2027-01-30T12:00:00Z", 3).await;
    sent(&store, "2027-01-31T23:59:59.999999Z", 5).await;
    others(&store, "E9/O1", "2027-01-31T23:59:59Z", 70).await;
    sent(&store, "2027-02-01T00:00:00Z", 11).await;
    sent(&store, "2027-02-06T10:00:00Z", 13).await;
    sent(&store, "2027-02-06T11:00:00Z", 17).await;
    others(&store, "E1/O2", "2027-02-06T00:00:00Z", 200).await;
    let store = store.reopened().await;
    let expected = |own, others, recent, days| Ledger {
        own,
        others,
        recent,
        days,
    };
    assert_eq!(ledger(&store, "2027-01-30").await, expected(8, 70, 3, 1));
    assert_eq!(ledger(&store, "2027-01-31").await, expected(8, 70, 78, 2));
    assert_eq!(ledger(&store, "2027-02-01").await, expected(41, 200, 89, 3));
    let last = expected(41, 200, 316, 7);
    assert_eq!(ledger(&store, "2027-02-06").await, last, "from the 31st on");
    assert_eq!(ledger(&store, "2027-02-28").await, expected(41, 200, 0, 7));
    assert_eq!(ledger(&store, "2027-03-01").await, expected(0, 0, 0, 7));
    let spending = store.leader.controls(on("2027-02-06")).await.unwrap();
    assert_eq!(spending.spending.items, 30, "others' count toward no limit");
}

async fn what_came_to_nothing_is_not_in_the_ledger(store: Store) {
    let batch = sent(&store, "2027-01-15T08:00:00Z", 3).await;
    sent(&store, "2027-01-15T08:00:00Z", 4).await;
    assert_eq!(ledger(&store, "2027-01-20").await.own, 7);
    let throttled = CdnError::Throttled("slow down".to_owned());
    store.failed(batch.id, throttled, NextStep::Requeue).await;
    let left = ledger(&store, "2027-01-20").await;
    assert_eq!((left.own, left.recent), (4, 4));
}

async fn others_invalidations_count_once(store: Store) {
    others(&store, "E1/O1", "2027-01-15T08:00:00Z", 30).await;
    others(&store, "E1/O1", "2027-01-15T08:00:00Z", 30).await;
    let store = store.reopened().await;
    others(&store, "E1/O1", "2027-01-15T08:00:00Z", 30).await;
    assert_eq!(ledger(&store, "2027-01-15").await.others, 30);
    // Ids are given by distribution.
    others(&store, "E2/O1", "2027-01-15T08:00:00Z", 4).await;
    others(&store, "E1/O2", "2027-01-16T08:00:00Z", 500).await;
    let counted = ledger(&store, "2027-01-31").await;
    assert_eq!((counted.own, counted.others), (0, 534));
}

async fn an_invalidation_that_turns_out_to_be_ours_is_not_others(store: Store) {
    // The answer was lost, and somebody looked before the batch was sent again.
    let first = store.frozen("E1", &["a", "b"]).await;
    let day = day_of(store.now()).to_string();
    others(&store, "E1/I1", "2027-01-14T23:59:59Z", 2).await;
    others(&store, "E2/I1", "2027-01-15T08:00:00Z", 40).await;
    assert_eq!(ledger(&store, &day).await.others, 42);
    store.created(first.id, "I1", false).await;
    let counted = ledger(&store, &day).await;
    assert_eq!((counted.own, counted.others, counted.recent), (2, 40, 42));
    // What is known to be ours is not counted at all.
    others(&store, "E1/I1", "2027-01-14T23:59:59Z", 2).await;
    assert_eq!(ledger(&store, &day).await, counted);
}

async fn the_ledger_outlasts_history(store: Store) {
    for day in ["2027-01-01", "2027-01-02"] {
        let time = format!("{day}T00:00:00Z");
        let batch = sent(&store, &time, 3).await;
        store.created(batch.id, day, true).await;
        others(&store, &format!("E1/O{day}"), &time, 50).await;
    }
    let kept = |own, others| (own, others);
    let january = async || {
        let found = ledger(&store, "2027-01-31").await;
        (found.own, found.others)
    };
    // The last day of February, where history is kept for one day.
    let cutoff = at("2027-02-27T23:59:59Z");
    store.sweep(cutoff, Sweep::default()).await;
    assert!(store.invalidations(None).await.is_empty());
    assert_eq!(january().await, kept(6, 100));
    others(&store, "E1/O2027-01-01", "2027-01-01T00:00:00Z", 50).await;
    assert_eq!(january().await, kept(6, 100), "it is known");
    // Two months later, only the last day is left: it tells that there was something before.
    let cutoff = at("2027-04-30T00:00:00Z");
    store.sweep(cutoff, Sweep::default()).await;
    assert_eq!(january().await, kept(3, 50));
    sent(&store, "2027-04-30T00:00:00Z", 1).await;
    let days = ledger(&store, "2027-04-30").await;
    assert_eq!((days.own, days.recent, days.days), (1, 1, 7));
    others(&store, "E1/O2027-01-02", "2027-01-02T00:00:00Z", 50).await;
    assert_eq!(january().await, kept(3, 100), "it was forgotten");
}
