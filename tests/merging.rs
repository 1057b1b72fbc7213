//! Paths are merged into wildcards where that costs less: behind the 2xx, with buckets that can be listed, on a
//! clock that jumps.

use std::{sync::Arc, time::Duration};

use purgefront::{
    dispatch::Settings,
    domain::{
        economy::Economy,
        mapping::{MappingPolicy, WildcardPolicy},
        path::Item,
    },
    ports::operations::OperationsStore as _,
};

use crate::support::{
    buckets::Buckets,
    inside::settings,
    nature::Nature,
    simulation::{Input, World, nature},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

/// Renditions of photos, nine of each.
fn renditions(photos: std::ops::Range<usize>) -> Vec<String> {
    photos
        .flat_map(|photo| (0..9).map(move |size| format!("img/photo-{photo:03}-{size}.jpg")))
        .collect()
}

fn events(keys: &[String]) -> Input {
    Input::Events("E1".to_owned(), keys.to_vec())
}

/// What was sent to a distribution, call by call.
fn sent(world: &World, id: &str) -> Vec<Vec<String>> {
    let made = world.cdn.made().into_iter();
    let made = made.filter(|made| made.distribution_id == id);
    made.map(|made| made.items).collect()
}

async fn world(settings: Settings) -> (World, Arc<Buckets>) {
    World::start_beside_buckets(nature(&["E1", "E2"]), settings).await
}

fn listing() -> Settings {
    economical(Economy::default())
}

fn economical(economy: Economy) -> Settings {
    Settings {
        economy,
        ..settings()
    }
}

#[tokio::test]
async fn all_renditions_of_a_photo_are_one_path() {
    let (world, buckets) = world(listing()).await;
    buckets.put("bucket-e1", renditions(0..200));
    let inputs = [(Duration::ZERO, events(&renditions(3..5)))];
    world.play_to_the_end(&inputs, 5 * MINUTE).await;
    let mut items = sent(&world, "E1").concat();
    items.sort_unstable();
    assert_eq!(items, ["/img/photo-003-*", "/img/photo-004-*"]);
    assert_eq!(buckets.asked(), ["bucket-e1/img/photo-00"]);
    let made = world.inside.leader.made_since("E1", jiff::Timestamp::MIN);
    assert_eq!(made.await.unwrap().len(), 2);
    world.end().await;
}

#[tokio::test]
async fn a_wildcard_that_cloudfront_refuses_takes_nothing_with_it() {
    let nature = Nature {
        bad: vec!["/img/photo-003-*".to_owned()],
        ..nature(&["E1"])
    };
    let (world, buckets) = World::start_beside_buckets(nature, listing()).await;
    buckets.put("bucket-e1", renditions(0..200));
    let inputs = [
        (Duration::ZERO, events(&renditions(3..5))),
        (5 * MINUTE, events(&renditions(3..4))),
    ];
    world.play_to_the_end(&inputs, 20 * MINUTE).await;
    world.holds().await;
    let items = sent(&world, "E1").concat();
    assert_eq!(items.len(), 1 + 9 + 9, "{items:?}");
    // It is tried once.
    let attempts = world.cdn.attempts().into_iter();
    let refused = attempts.filter(|one| one.answer == "invalid");
    assert_eq!(refused.count(), 2);
    let letters = world.inside.store.dead_letters(None, 10).await.unwrap();
    assert!(letters.is_empty(), "{letters:?}");
    world.end().await;
}

#[tokio::test]
async fn what_comes_while_a_bucket_is_listed_does_not_keep_the_rest_from_being_merged() {
    let (world, buckets) = world(listing()).await;
    buckets.put("bucket-e1", renditions(0..9));
    buckets.slow_down("bucket-e1", 5 * SECOND);
    let inputs = [
        (Duration::ZERO, events(&renditions(3..4))),
        (3 * SECOND, events(&["elsewhere".to_owned()])),
    ];
    world.play_to_the_end(&inputs, 5 * MINUTE).await;
    let mut items = sent(&world, "E1").concat();
    items.sort_unstable();
    assert_eq!(items, ["/elsewhere", "/img/photo-003-*"]);
    world.end().await;
}

#[tokio::test]
async fn nothing_is_merged_that_costs_more_than_it_saves() {
    let (world, buckets) = world(listing()).await;
    buckets.put(
        "bucket-e1",
        (0..5_000).map(|page| format!("docs/{page:04}")),
    );
    let keys = ["docs/0001", "docs/2000", "docs/4999"].map(str::to_owned);
    let inputs = [(Duration::ZERO, events(&keys))];
    world.play_to_the_end(&inputs, 5 * MINUTE).await;
    assert_eq!(
        sent(&world, "E1"),
        [["/docs/0001", "/docs/2000", "/docs/4999"]]
    );
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_listed_is_sent_as_it_is_and_asked_for_again_later() {
    let (world, buckets) = world(listing()).await;
    buckets.deny();
    let inputs = [
        (Duration::ZERO, events(&renditions(0..1))),
        (MINUTE, events(&renditions(1..2))),
        (11 * MINUTE, events(&renditions(2..3))),
    ];
    world.play_to_the_end(&inputs, 20 * MINUTE).await;
    let calls: Vec<_> = sent(&world, "E1").iter().map(Vec::len).collect();
    assert_eq!(calls, [9, 9, 9]);
    assert_eq!(buckets.asked().len(), 2);
    world.end().await;
}

/// A person's wildcard does not wait for those of merging.
#[tokio::test]
async fn people_soon_have_their_wildcards_beside_those_of_merging() {
    let (world, buckets) = world(listing()).await;
    buckets.put("bucket-e1", renditions(0..200));
    let asked = "/anything/*".to_owned();
    let photos: Vec<_> = (0..13)
        .flat_map(|nth| renditions(10 * nth..10 * nth + 1))
        .collect();
    let inputs = [
        (Duration::ZERO, events(&photos)),
        (
            4 * SECOND,
            Input::Request("E2".to_owned(), vec![asked.clone()]),
        ),
    ];
    world.play_to_the_end(&inputs, 5 * MINUTE).await;
    let attempts = world.cdn.attempts();
    let mut attempts = attempts.iter();
    let first = attempts.find(|one| one.order.items.contains(&asked));
    let at = first.unwrap().at;
    assert!(at < 9 * SECOND, "{at:?}");
    // All of them are merged, as their rate permits.
    assert_eq!(sent(&world, "E1").concat().len(), 13);
    assert!(sent(&world, "E1").iter().all(|items| items.len() <= 3));
    world.end().await;
}

#[tokio::test]
async fn what_would_wait_for_too_long_for_a_wildcard_is_sent_by_itself() {
    let settings = Settings {
        wildcards_per_second: 0.01,
        ..listing()
    };
    let (world, buckets) = world(settings).await;
    buckets.put("bucket-e1", renditions(0..200));
    let photos: Vec<_> = (0..3)
        .flat_map(|nth| renditions(10 * nth..10 * nth + 1))
        .collect();
    let inputs = [
        (
            Duration::ZERO,
            Input::Request("E1".to_owned(), vec!["/x/*".to_owned()]),
        ),
        (2 * SECOND, events(&photos)),
    ];
    world.play_to_the_end(&inputs, 10 * MINUTE).await;
    let log = world.cdn.log();
    assert_eq!(sent(&world, "E1").concat().len(), 1 + 27);
    let last = log.last().unwrap().0;
    assert!(last < 90 * SECOND, "{log:?}");
    world.end().await;
}

#[tokio::test]
async fn what_a_deploy_window_has_gathered_is_merged() {
    let (world, buckets) = world(listing()).await;
    buckets.put("bucket-e1", renditions(0..200));
    let photos: Vec<_> = (0..8)
        .flat_map(|nth| renditions(10 * nth..10 * nth + 1))
        .collect();
    let inputs = [
        (Duration::ZERO, Input::Hold("E1".to_owned(), 10 * MINUTE)),
        (SECOND, events(&photos)),
    ];
    world.play_to_the_end(&inputs, 30 * MINUTE).await;
    assert_eq!(sent(&world, "E1").concat().len(), 8);
    world.end().await;
}

#[tokio::test]
async fn another_folder_is_listed_although_the_root_was() {
    let (world, buckets) = world(listing()).await;
    for folder in ["a", "b"] {
        buckets.put("bucket-e1", (0..300).map(|nth| format!("{folder}/{nth}")));
    }
    buckets.put("bucket-e1", (0..30_000).map(|nth| format!("old/{nth}")));
    let folder = |name: &str| {
        let mut keys: Vec<_> = (0..300).map(|nth| format!("{name}/{nth}")).collect();
        keys.push("index.html".to_owned());
        events(&keys)
    };
    let inputs = [(Duration::ZERO, folder("a")), (12 * SECOND, folder("b"))];
    world.play_to_the_end(&inputs, 5 * MINUTE).await;
    let mut items = sent(&world, "E1").concat();
    items.sort_unstable();
    assert_eq!(items, ["/a/*", "/b/*", "/index.html", "/index.html"]);
    world.end().await;
}

#[tokio::test]
async fn keys_that_change_again_and_again_need_no_further_listing() {
    let (world, buckets) = world(listing()).await;
    buckets.put("bucket-e1", renditions(0..3));
    let keys = &renditions(0..1)[..2];
    let again: Vec<_> = (0..30).flat_map(|_| keys.to_vec()).collect();
    let inputs = [
        (Duration::ZERO, events(keys)),
        (20 * SECOND, events(&again)),
    ];
    world.play_to_the_end(&inputs, 5 * MINUTE).await;
    assert_eq!(buckets.asked().len(), 1);
    world.end().await;
}

#[tokio::test]
async fn a_service_that_may_not_list_asks_nothing() {
    let economy = Economy {
        list_objects: false,
        ..Economy::default()
    };
    let (world, buckets) = world(economical(economy)).await;
    buckets.put("bucket-e1", renditions(0..3));
    let inputs = [(Duration::ZERO, events(&renditions(0..1)))];
    world.play_to_the_end(&inputs, 5 * MINUTE).await;
    assert_eq!(sent(&world, "E1").concat().len(), 9);
    assert_eq!(buckets.asked(), Vec::<String>::new());
    world.end().await;
}

#[tokio::test]
async fn people_get_what_they_ask_for_and_do_not_wait_for_a_listing() {
    let (world, buckets) = world(listing()).await;
    buckets.put("bucket-e1", renditions(0..3));
    buckets.slow_down("bucket-e1", 10 * SECOND);
    let keys = renditions(0..2);
    let paths: Vec<_> = keys[..9].iter().map(|key| format!("/{key}")).collect();
    let inputs = [
        (Duration::ZERO, events(&keys[9..])),
        (3 * SECOND, Input::Request("E1".to_owned(), paths.clone())),
    ];
    world.play_to_the_end(&inputs, 5 * MINUTE).await;
    assert_eq!(
        sent(&world, "E1"),
        [paths, vec!["/img/photo-001-*".to_owned()]]
    );
    let at: Vec<_> = world.cdn.log().into_iter().map(|(at, ..)| at).collect();
    assert!(at[0] < 5 * SECOND, "{at:?}");
    assert!(at[1] > 10 * SECOND && at[1] < 15 * SECOND, "{at:?}");
    world.end().await;
}

/// How long each change of another distribution waited for its call, while each page of a listing took so long.
async fn waits_of_others(page: Duration) -> Vec<Duration> {
    let (world, buckets) = world(listing()).await;
    buckets.put("bucket-e1", renditions(0..20));
    buckets.slow_down("bucket-e1", page);
    let arrivals = |nth: u32| nth * SECOND;
    let mut inputs: Vec<_> = (0..40)
        .map(|nth| {
            let key = format!("page/{nth}");
            let input = Input::Events("E2".to_owned(), vec![key]);
            (arrivals(nth), input)
        })
        .collect();
    for nth in 0..4 {
        let photos = renditions(4 * nth..4 * nth + 4);
        inputs.push((u32::try_from(nth).unwrap() * 9 * SECOND, events(&photos)));
    }
    inputs.sort_by_key(|(at, _)| *at);
    world.play_to_the_end(&inputs, 10 * MINUTE).await;
    assert!(!buckets.asked().is_empty());
    let attempts = world.cdn.attempts();
    let wait = |nth: u32| {
        let path = format!("/page/{nth}");
        let mut calls = attempts.iter();
        let call = calls.find(|call| call.order.items.contains(&path));
        call.unwrap().at - arrivals(nth)
    };
    let waits = (0..40).map(wait).collect();
    world.end().await;
    waits
}

#[tokio::test]
async fn a_listing_that_takes_twenty_seconds_delays_nobody_else() {
    let usual = waits_of_others(Duration::ZERO).await;
    let beside_slow = waits_of_others(20 * SECOND).await;
    let longest = |waits: &[Duration]| waits.iter().copied().max();
    let all = |waits: &[Duration]| waits.iter().sum::<Duration>();
    assert!(
        longest(&beside_slow) <= longest(&usual),
        "{usual:?} {beside_slow:?}"
    );
    assert!(
        all(&beside_slow) <= all(&usual),
        "{usual:?} {beside_slow:?}"
    );
}

#[tokio::test]
async fn automatic_work_waits_for_a_listing_only_so_long() {
    let (world, buckets) = world(listing()).await;
    buckets.put("bucket-e1", renditions(0..3));
    buckets.slow_down("bucket-e1", 20 * SECOND);
    let inputs = [(Duration::ZERO, events(&renditions(0..1)))];
    world.play_to_the_end(&inputs, 5 * MINUTE).await;
    assert_eq!(sent(&world, "E1").concat().len(), 9);
    let at = world.cdn.log()[0].0;
    assert!(at > 15 * SECOND && at < 18 * SECOND, "{at:?}");
    world.end().await;
}

#[tokio::test]
async fn the_guard_binds_what_is_merged() {
    let policy = WildcardPolicy {
        protected: vec![Item::parse("/img/photo-001*").unwrap()],
        ..WildcardPolicy::default()
    };
    let mapping = MappingPolicy {
        wildcards: policy,
        ..MappingPolicy::default()
    };
    let settings = Settings {
        mapping: Arc::new(mapping),
        ..listing()
    };
    let (world, buckets) = world(settings).await;
    buckets.put("bucket-e1", renditions(0..3));
    let inputs = [(Duration::ZERO, events(&renditions(0..2)))];
    world.play_to_the_end(&inputs, 5 * MINUTE).await;
    let items = sent(&world, "E1").concat();
    assert_eq!(items.len(), 10, "{items:?}");
    assert!(items.contains(&"/img/photo-000-*".to_owned()));
    world.end().await;
}

#[tokio::test]
async fn the_same_wildcard_is_not_sent_again_and_again() {
    let (world, buckets) = world(listing()).await;
    buckets.put("bucket-e1", renditions(0..3));
    let keys = renditions(0..1);
    let inputs = [
        // All but one: it evicts that.
        (Duration::ZERO, events(&keys[1..])),
        (30 * SECOND, events(&keys[1..])),
        (90 * SECOND, events(&keys[1..])),
        // All of them: it evicts nothing.
        (100 * SECOND, events(&keys)),
    ];
    world.play_to_the_end(&inputs, 10 * MINUTE).await;
    let calls = sent(&world, "E1");
    let calls: Vec<_> = calls.iter().map(Vec::len).collect();
    assert_eq!(calls, [1, 8, 1, 1]);
    world.end().await;
}

#[tokio::test]
async fn a_backlog_that_would_take_too_long_is_merged_further() {
    let economy = Economy {
        evictions_per_path: 1.0,
        max_delay: Duration::from_secs(2),
        ..Economy::default()
    };
    let (world, buckets) = world(economical(economy)).await;
    let all: Vec<_> = (0..4_000)
        .map(|page| format!("d{}/{page:04}", page / 1_000))
        .collect();
    buckets.put("bucket-e1", all.clone());
    let changed: Vec<_> = all.into_iter().step_by(5).collect();
    let inputs = [(Duration::ZERO, events(&changed))];
    world.play_to_the_end(&inputs, 10 * MINUTE).await;
    let items = sent(&world, "E1").concat();
    // 800 paths would take more than five seconds.
    assert!(items.len() <= 300 + 2, "{}", items.len());
    let covered = |key: &String| {
        let path = format!("/{key}");
        let mut items = items.iter();
        items.any(|item| match item.strip_suffix('*') {
            Some(stem) => path.starts_with(stem),
            None => path == *item,
        })
    };
    assert!(changed.iter().all(covered));
    world.end().await;
}

#[tokio::test]
async fn what_is_not_listed_is_widened_only_where_that_was_chosen() {
    for (widen_unlisted, most) in [(false, 800), (true, 300 + 2)] {
        let economy = Economy {
            max_delay: Duration::from_secs(2),
            list_objects: false,
            widen_unlisted,
            ..Economy::default()
        };
        let (world, _) = world(economical(economy)).await;
        let changed: Vec<_> = (0..800).map(|page| format!("d/{page:04}")).collect();
        let inputs = [(Duration::ZERO, events(&changed))];
        world.play_to_the_end(&inputs, 10 * MINUTE).await;
        let items = sent(&world, "E1").concat().len();
        assert!(items <= most && (widen_unlisted || items == 800), "{items}");
        world.end().await;
    }
}
