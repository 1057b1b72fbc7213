//! Nobody's trouble, and nobody's stream, delays others: distributions take turns at the account's
//! calls, on a clock that jumps.

use std::time::Duration;

use purgefront::dispatch::Settings;

use crate::support::{
    inside::settings,
    nature::{FOR_EVER, Ill, Nature, Trouble},
    simulation::{Input, World, nature},
    turns::Delay,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
/// The longest pause after a refusal.
const ONE_BACKOFF: Duration = Duration::from_mins(15);

fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|nth| format!("{prefix}{nth}")).collect()
}

/// So many keys of a distribution, which no other has.
fn keys(id: &str, count: usize) -> Input {
    let keys = (0..count).map(|nth| format!("{id}/{nth}"));
    Input::Events(id.to_owned(), keys.collect())
}

fn path(id: &str, path: &str) -> Input {
    Input::Request(id.to_owned(), vec![path.to_owned()])
}

/// How many items of these distributions CloudFront has taken.
fn taken(world: &World, ids: &[String]) -> usize {
    let made = world.cdn.made().into_iter();
    let made = made.filter(|made| ids.contains(&made.distribution_id));
    made.map(|made| made.items.len()).sum()
}

/// When CloudFront was first asked for an item.
fn sent(world: &World, item: &str) -> Option<Duration> {
    let mut attempts = world.cdn.attempts().into_iter();
    let first = attempts.find(|one| one.order.items.iter().any(|sent| sent == item));
    first.map(|one| one.at)
}

/// An account of 300 distributions with 200,000 changes: a tenth of its distributions at a tenth of
/// the calls, with a tenth of the items in each call.
const BROKEN: usize = 24;
const HEALTHY: usize = 6;
const ITEMS_OF_BROKEN: usize = 60;
const ITEMS_OF_HEALTHY: usize = 500;

fn slow_account() -> Settings {
    Settings {
        calls_per_second: 0.05,
        call_burst: 1,
        paths_per_second: 1.5,
        items_per_call: 100,
        ..settings()
    }
}

/// How broken distributions are broken.
#[derive(Debug, Clone, Copy)]
enum Broken {
    /// Every call for them is answered so.
    By(Trouble),
    /// A tenth of their items is bad.
    Items,
}

fn account(broken: &[String], healthy: &[String], how: Broken) -> Nature {
    let all: Vec<_> = broken.iter().chain(healthy).map(String::as_str).collect();
    let mut nature = nature(&all);
    match how {
        Broken::By(trouble) => nature.ills = Ill::all(broken, trouble, &FOR_EVER),
        Broken::Items => {
            let of_one = |id: &String| {
                let bad = (0..ITEMS_OF_BROKEN).step_by(10);
                bad.map(|nth| format!("/{id}/{nth}")).collect::<Vec<_>>()
            };
            nature.bad = broken.iter().flat_map(of_one).collect();
        }
    }
    nature
}

/// How long the healthy ones take, and who waited for too long for a turn. `known`: the broken ones
/// have been refused before, and a healthy one has been heard of every minute.
async fn drained(broken: &[String], how: Broken, known: bool) -> (Duration, Vec<Delay>) {
    let healthy = ids("H", HEALTHY);
    let world = World::start_with(account(broken, &healthy, how), slow_account()).await;
    let mut inputs: Vec<_> = broken
        .iter()
        .map(|id| (Duration::ZERO, keys(id, ITEMS_OF_BROKEN)))
        .collect();
    if known {
        let minutes = (0..20).map(|nth| (MINUTE * nth, path("H0", &format!("/known-{nth}"))));
        inputs.extend(minutes);
        inputs.sort_by_key(|(at, _)| *at);
        let refused = |world: &World| {
            let attempts = world.cdn.attempts();
            let called = |id: &String| attempts.iter().any(|one| one.order.distribution_id == *id);
            broken.iter().all(called)
        };
        world.play(&inputs, Duration::from_hours(12), refused).await;
        inputs.clear();
    }
    let began = world.cdn.elapsed();
    inputs.extend(
        healthy
            .iter()
            .map(|id| (Duration::ZERO, keys(id, ITEMS_OF_HEALTHY))),
    );
    let drained = |world: &World| {
        let made = world.cdn.made().into_iter();
        let items = made.flat_map(|made| made.items);
        items.filter(|item| item.starts_with("/H")).count() == HEALTHY * ITEMS_OF_HEALTHY
    };
    world.play(&inputs, Duration::from_hours(24), drained).await;
    let took = world.cdn.elapsed() - began;
    let delays = world.delays();
    world.end().await;
    (took, delays)
}

/// Where broken ones are known as such, the healthy ones drain in 1.25 times the time that they
/// need alone, and what is left to be explained.
async fn the_healthy_drain_beside(how: Broken, known: bool, left: Duration) {
    let (alone, delays) = drained(&[], how, known).await;
    assert_eq!(delays, []);
    let (beside, delays) = drained(&ids("B", BROKEN), how, known).await;
    let delayed = delays.len();
    eprintln!("{how:?}: alone {alone:?}, beside the broken ones {beside:?}, {delayed} delays");
    let most = alone.mul_f64(1.25) + left;
    assert!(
        beside <= most,
        "{beside:?} instead of {alone:?} alone, at most {most:?}"
    );
    assert_eq!(delays, []);
}

const SLOT: Duration = Duration::from_secs(20);
/// The window, and a slot or two on either side of the last batch.
const A_FEW_SLOTS: Duration = Duration::from_secs(90);

#[tokio::test]
async fn the_healthy_drain_beside_denied_ones() {
    the_healthy_drain_beside(Broken::By(Trouble::Denied), true, A_FEW_SLOTS).await;
}

#[tokio::test]
async fn the_healthy_drain_beside_those_that_are_gone() {
    the_healthy_drain_beside(Broken::By(Trouble::Gone), true, A_FEW_SLOTS).await;
}

/// The call rate has fallen, for all that is known, and has to be earned back.
#[tokio::test]
async fn the_healthy_drain_beside_throttled_ones() {
    the_healthy_drain_beside(Broken::By(Trouble::Throttled), true, ONE_BACKOFF).await;
}

#[tokio::test]
async fn the_healthy_drain_beside_those_that_never_answer() {
    the_healthy_drain_beside(Broken::By(Trouble::Lost), true, A_FEW_SLOTS).await;
}

#[tokio::test]
async fn the_healthy_drain_beside_those_with_bad_items() {
    the_healthy_drain_beside(Broken::Items, true, A_FEW_SLOTS).await;
}

/// Nobody knows that a distribution is broken before its first call, which costs one each.
#[tokio::test]
async fn a_broken_one_costs_the_healthy_its_first_call_and_little_more() {
    let first_calls = SLOT * u32::try_from(BROKEN).unwrap();
    let how = Broken::By(Trouble::Denied);
    the_healthy_drain_beside(how, false, first_calls + A_FEW_SLOTS).await;
}

/// How long it took from an input to its call; none where there was no call.
fn waited(world: &World, item: &str, accepted: Duration) -> Option<Duration> {
    sent(world, item).map(|at| at.saturating_sub(accepted))
}

fn all_within(most: Duration, waits: &[Option<Duration>]) -> bool {
    let mut waits = waits.iter();
    waits.all(|waited| waited.is_some_and(|waited| waited <= most))
}

#[tokio::test]
async fn a_stream_of_peoples_requests_starves_no_automatic_change_elsewhere() {
    let world = World::start(nature(&["E1", "E2"]), 1).await;
    let stream = (0..600).map(|nth| (SECOND * nth, path("E1", &format!("/asked-{nth}"))));
    let mut inputs: Vec<_> = stream.collect();
    let accepted = [60, 200, 400];
    for at in accepted {
        let change = Input::Events("E2".to_owned(), vec![format!("changed-{at}")]);
        inputs.push((SECOND * at, change));
    }
    inputs.sort_by_key(|(at, _)| *at);
    world.play(&inputs, MINUTE * 11, |_| true).await;
    // Twice the window, and some slots of 2 s.
    let waits = accepted.map(|at| waited(&world, &format!("/changed-{at}"), SECOND * at));
    eprintln!("waited {waits:?}");
    assert!(all_within(SECOND * 30, &waits), "{waits:?}");
    world.is_fair();
    world.end().await;
}

#[tokio::test]
async fn people_have_every_second_call_however_much_automatic_work_is_overdue() {
    let others = ids("A", 6);
    let mut all: Vec<_> = others.iter().map(String::as_str).collect();
    all.push("E1");
    let world = World::start(nature(&all), 1).await;
    let mut inputs = Vec::new();
    for nth in 0..300 {
        inputs.push((SECOND * nth, path("E1", &format!("/asked-{nth}"))));
        for id in &others {
            let change = Input::Events(id.clone(), vec![format!("changed-{nth}")]);
            inputs.push((SECOND * nth, change));
        }
    }
    world.play(&inputs, MINUTE * 6, |_| true).await;
    let log = world.cdn.log();
    let stream = log
        .iter()
        .filter(|(at, ..)| (SECOND * 10..SECOND * 300).contains(at));
    let callers: Vec<_> = stream.map(|(_, id, _)| id.as_str()).collect();
    let two_without = callers
        .windows(2)
        .filter(|two| !two.contains(&"E1"))
        .count();
    assert_eq!(
        two_without, 0,
        "people wait for two calls of others: {callers:?}"
    );
    // A change of each waits twice the window at most, and then for half of the calls.
    for id in &others {
        let calls: Vec<_> = log.iter().filter(|(_, called, _)| called == id).collect();
        let gaps = calls
            .windows(2)
            .map(|two| two[1].0.saturating_sub(two[0].0));
        let longest = gaps.max();
        let most = SECOND * (20 + 6 * 4 + 10);
        assert!(
            longest.is_some_and(|longest| longest <= most),
            "{id} waits {longest:?} for its next call"
        );
    }
    world.end().await;
}

/// A person's wildcards fill their pool for five minutes, and more of them wait.
fn wildcards(id: &str) -> Input {
    Input::Request(
        id.to_owned(),
        (0..40).map(|nth| format!("/w{nth}/*")).collect(),
    )
}

fn slow_propagation(ids: &[&str]) -> Nature {
    Nature {
        propagation: MINUTE * 5,
        ..nature(ids)
    }
}

#[tokio::test]
async fn wildcards_that_wait_for_their_pool_delay_nobody() {
    let world = World::start(slow_propagation(&["A", "B"]), 1).await;
    let accepted = [40, 100, 200];
    let mut inputs = vec![(SECOND * 5, wildcards("A"))];
    for at in accepted {
        let change = Input::Events("B".to_owned(), vec![format!("changed-{at}")]);
        inputs.push((SECOND * at, change));
    }
    world
        .play(&inputs, MINUTE * 10, |world| {
            sent(world, "/changed-200").is_some()
        })
        .await;
    let waits = accepted.map(|at| waited(&world, &format!("/changed-{at}"), SECOND * at));
    assert!(all_within(SECOND * 15, &waits), "{waits:?}");
    world.end().await;
}

#[tokio::test]
async fn a_flood_behind_a_persons_wildcards_does_not_go_first() {
    let settings = Settings {
        // So that the pool of paths lets many calls through.
        items_per_call: 50,
        ..settings()
    };
    let world = World::start_with(slow_propagation(&["A", "B"]), settings).await;
    let flood = keys("A", 4_000);
    let mut inputs = vec![(SECOND * 5, wildcards("A")), (SECOND * 20, flood)];
    let accepted = [30, 60];
    for at in accepted {
        let change = Input::Events("B".to_owned(), vec![format!("changed-{at}")]);
        inputs.push((SECOND * at, change));
    }
    let over = |world: &World| sent(world, "/changed-60").is_some();
    world.play(&inputs, MINUTE * 10, over).await;
    let waits = accepted.map(|at| waited(&world, &format!("/changed-{at}"), SECOND * at));
    eprintln!("waited {waits:?}");
    assert!(all_within(SECOND * 30, &waits), "{waits:?}");
    world.is_fair();
    world.end().await;
}

/// Exact paths beneath a waiting wildcard, which has no room. Their plans take time.
#[tokio::test]
async fn what_waits_beneath_a_wildcard_without_room_delays_nobody() {
    let blocked = ids("A", 10);
    let mut all: Vec<_> = blocked.iter().map(String::as_str).collect();
    all.push("B");
    let mut settings = Settings {
        call_burst: 1,
        ..settings()
    };
    settings.in_progress.wildcards = 3;
    let nature = Nature {
        propagation: MINUTE * 20,
        ..nature(&all)
    };
    let world = World::start_with(nature, settings).await;
    let mut inputs = Vec::new();
    for id in &blocked {
        let filling = (0..3).map(|nth| format!("/full-{nth}/*")).collect();
        inputs.push((SECOND * 5, Input::Request(id.clone(), filling)));
        inputs.push((SECOND * 100, path(id, "/a*")));
        let beneath = (0..5).map(|nth| format!("a/{nth}")).collect();
        inputs.push((SECOND * 100, Input::Events(id.clone(), beneath)));
        let clock = std::sync::Arc::clone(&world.clock);
        world.inside.store.tap.slow_down(id, SECOND, clock);
    }
    let accepted = [120, 180, 240];
    for at in accepted {
        let change = Input::Events("B".to_owned(), vec![format!("changed-{at}")]);
        inputs.push((SECOND * at, change));
    }
    let over = |world: &World| world.cdn.elapsed() > MINUTE * 6;
    world.play(&inputs, MINUTE * 10, over).await;
    let full = taken(&world, &blocked);
    assert_eq!(
        full, 80,
        "the pools are full, and what is beneath a waiting wildcard goes without it"
    );
    let waits = accepted.map(|at| waited(&world, &format!("/changed-{at}"), SECOND * at));
    eprintln!("waited {waits:?}");
    assert!(all_within(SECOND * 15, &waits), "{waits:?}");
    world.end().await;
}
