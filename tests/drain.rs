//! How fast what waits is sent: near the least time that the quotas allow, people first, and nobody
//! held up by the plan of another.

use std::time::Duration;

use crate::support::{
    simulated::Nature,
    simulation::{Input, World, nature},
};

/// 100,000 changes, as they may come at once.
fn flood(ids: &[&str]) -> Vec<(Duration, Input)> {
    let share = 100_000 / ids.len();
    let mut inputs = Vec::new();
    for id in ids {
        let keys: Vec<_> = (0..share).map(|at| format!("dir/key-{at}")).collect();
        for keys in keys.chunks(10_000) {
            inputs.push((
                Duration::ZERO,
                Input::Events((*id).to_owned(), keys.to_vec()),
            ));
        }
    }
    inputs
}

/// DESIGN's least time from the first submit to the last, for equal shares.
fn least(items: usize, distributions: usize, propagation: Duration) -> Duration {
    let whole = |number: usize| f64::from(u32::try_from(number).unwrap());
    let rate = whole(items) / 150.0;
    let calls = whole(items.div_ceil(1_000)) / 0.5;
    let rounds = (items / distributions).div_ceil(3_000 - 100) - 1;
    let pools = whole(rounds) * propagation.as_secs_f64();
    Duration::from_secs_f64(rate.max(calls).max(pools))
}

async fn drains(propagation: Duration) {
    let ids = ["E1", "E2", "E3"];
    let nature = Nature {
        propagation,
        ..nature(&ids)
    };
    let world = World::start(nature, 1).await;
    world
        .play_to_the_end(&flood(&ids), Duration::from_hours(12))
        .await;
    world.holds().await;
    let log = world.cdn.log();
    let items: usize = world.cdn.made().iter().map(|made| made.items.len()).sum();
    let took = log.last().unwrap().0.saturating_sub(log[0].0);
    let least = least(99_999, 3, propagation);
    let refused: usize = world.cdn.refusals().values().sum();
    let ratio = took.as_secs_f64() / least.as_secs_f64();
    eprintln!(
        "propagation {propagation:?}: {} calls, {refused} refused, {items} items, drained in \
         {took:?}; least {least:?}, ratio {ratio:.3}",
        log.len()
    );
    assert_eq!(items, 99_999);
    assert!(
        refused * 100 <= log.len() * 2,
        "{refused} of {} refused",
        log.len()
    );
    assert!(ratio <= 1.15, "{took:?} is {ratio:.3} times the least");
    world.end().await;
}

#[tokio::test]
async fn a_flood_drains_in_little_more_than_the_least_time() {
    drains(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_flood_drains_as_fast_where_propagation_is_slow() {
    drains(Duration::from_mins(5)).await;
}

#[tokio::test]
async fn a_person_goes_within_one_call_slot_before_a_flood() {
    let world = World::start(nature(&["E1"]), 1).await;
    let mut inputs = flood(&["E1"]);
    let asked_at = Duration::from_mins(1);
    inputs.push((
        asked_at,
        Input::Request("E1".to_owned(), vec!["/asked".to_owned()]),
    ));
    let asked = |world: &World| {
        let made = world.cdn.made();
        made.into_iter()
            .find(|made| made.items.contains(&"/asked".to_owned()))
    };
    world
        .play(&inputs, Duration::from_hours(1), |world| {
            asked(world).is_some()
        })
        .await;
    let made = asked(&world).unwrap();
    // The flood overdraws the paths' rate with each call: the next slot is when it is earned
    // back, 1,000 paths at 150 a second, unless calls are scarcer.
    let log = world.cdn.log();
    let calls_after = log
        .iter()
        .filter(|(at, ..)| *at > asked_at + Duration::from_millis(100))
        .count();
    assert_eq!(calls_after, 1, "it goes with the very next call");
    assert_eq!(made.items[0], "/asked", "and first in it");
    let last_before = log[log.len() - 2].0;
    let slot = log.last().unwrap().0.saturating_sub(last_before);
    assert!(slot <= Duration::from_secs(7), "a slot of {slot:?}");
    world.end().await;
}

/// When each call for a distribution was made.
fn calls_of(world: &World, id: &str) -> Vec<Duration> {
    let log = world.cdn.log().into_iter();
    log.filter(|(_, called, _)| called == id)
        .map(|(at, ..)| at)
        .collect()
}

#[tokio::test]
async fn a_plan_that_takes_twenty_seconds_delays_no_others_call() {
    let mut inputs = Vec::new();
    for nth in 0..12_u64 {
        let keys = |id: &str| Input::Events(id.to_owned(), vec![format!("k{nth}")]);
        inputs.push((Duration::from_secs(10 * nth), keys("E1")));
        inputs.push((Duration::from_secs(10 * nth + 3), keys("E2")));
        inputs.push((Duration::from_secs(10 * nth + 6), keys("E3")));
    }
    let mut calls = Vec::new();
    for slow in [false, true] {
        let world = World::start(nature(&["E1", "E2", "E3"]), 1).await;
        if slow {
            let clock = std::sync::Arc::clone(&world.clock);
            let span = Duration::from_secs(20);
            world.inside.store.tap.slow_down("E1", span, clock);
        }
        world
            .play_to_the_end(&inputs, Duration::from_hours(1))
            .await;
        world.holds().await;
        assert!(
            calls_of(&world, "E1").len() > 1,
            "the slow one has its turns"
        );
        calls.push(["E2", "E3"].map(|id| calls_of(&world, id)));
        world.end().await;
    }
    // What a plan may cost others: the moment in which it counts as one that is about to end.
    let moment = Duration::from_millis(300);
    for (quick, slow) in calls[0].iter().zip(&calls[1]) {
        assert_eq!(quick.len(), slow.len());
        for (quick, slow) in quick.iter().zip(slow) {
            assert!(*slow <= *quick + moment, "{slow:?} instead of {quick:?}");
        }
    }
}
