//! When deploy windows begin and end, on a clock that jumps.

use std::{collections::HashSet, time::Duration};

use purgefront::ports::operations::OperationsStore as _;

use crate::support::{
    simulation::{Input, World, nature},
    story::story,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// A change by a manual request, which waits for no window.
fn wanted(path: &str) -> Input {
    Input::Request("E1".to_owned(), vec![path.to_owned()])
}

fn upload(key: &str) -> Input {
    Input::Events("E1".to_owned(), vec![key.to_owned()])
}

fn hold(span: Duration) -> Input {
    Input::Hold("E1".to_owned(), span)
}

/// What was sent, each with when.
fn sent(world: &World) -> Vec<(Duration, Vec<String>)> {
    let attempts = world.cdn.attempts().into_iter();
    let sent = attempts.map(|one| (one.at, one.order.items));
    sent.collect()
}

async fn until(world: &World, at: Duration) {
    let over = |world: &World| world.cdn.elapsed() >= at;
    world.play(&[], DAY, over).await;
}

#[tokio::test]
async fn a_plan_that_runs_when_a_hold_begins_is_not_sent() {
    let world = World::start(nature(&["E1"]), 1).await;
    until(&world, SECOND * 5).await;
    // It reads what waits only after the hold was made, and a later change was accepted.
    let clock = std::sync::Arc::clone(&world.clock);
    world.inside.store.tap.slow_down("E1", SECOND * 20, clock);
    world
        .play(&[(SECOND, wanted("/early"))], MINUTE, |_| true)
        .await;
    until(&world, SECOND * 10).await;
    let begun = world.cdn.elapsed();
    let inputs = [
        (Duration::ZERO, hold(MINUTE * 10)),
        (SECOND, wanted("/late")),
    ];
    world.play(&inputs, MINUTE, |_| true).await;
    until(&world, begun + MINUTE * 9).await;
    assert_eq!(sent(&world), []);
    world.play_to_the_end(&[], DAY).await;
    let all = sent(&world);
    assert_eq!(all.len(), 1, "{all:?}");
    let (at, items) = &all[0];
    assert!(*at >= begun + MINUTE * 10, "{all:?}");
    assert_eq!(items, &["/early", "/late"]);
    world.holds().await;
    world.end().await;
}

#[tokio::test]
async fn a_hold_ends_by_the_clock_and_batching_begins_anew() {
    let world = World::start(nature(&["E1"]), 1).await;
    until(&world, SECOND * 5).await;
    let end = world.cdn.elapsed() + MINUTE * 10;
    // The last event comes half a second after the end, within `quiet`.
    let inputs = [
        (Duration::ZERO, hold(MINUTE * 10)),
        (SECOND, upload("a")),
        (MINUTE * 5, wanted("/m")),
        (MINUTE * 10 + SECOND / 2, upload("z")),
    ];
    world.play_to_the_end(&inputs, DAY).await;
    let all = sent(&world);
    assert_eq!(all.len(), 1, "{all:?}");
    let (at, items) = &all[0];
    assert!(*at >= end + SECOND && *at < end + MINUTE, "{all:?}");
    assert_eq!(items.len(), 3, "{all:?}");
    world.holds().await;
    world.end().await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_prolong_a_hold() {
    for restarts in [false, true] {
        let mut world = World::start(nature(&["E1"]), 1).await;
        until(&world, SECOND * 5).await;
        let inputs = [(Duration::ZERO, hold(MINUTE * 30)), (SECOND, upload("a"))];
        world.play(&inputs, MINUTE, |_| true).await;
        until(&world, MINUTE).await;
        assert_eq!(sent(&world), []);
        world.clock.set_back(DAY);
        let stepped = world.cdn.elapsed();
        if restarts {
            world.restart().await;
        }
        world.play(&[], DAY, |world| !sent(world).is_empty()).await;
        let took = world.cdn.elapsed() - stepped;
        assert!(took <= MINUTE, "it went on after {took:?}");
        // It stays ended when its end comes near again.
        let kept = world.inside.store.holds().await.unwrap();
        assert!(kept[0].ended_at.is_some());
        world.end().await;
    }
}

/// Whatever comes in and whatever goes wrong, nothing is lost, and nothing new is sent while it is held.
#[tokio::test]
async fn deploy_windows_break_no_promise() {
    for seed in 0..10 {
        let (mut nature, mut inputs) = story(seed);
        // The parts of a batch that was frozen before are sent under references of their own.
        nature.bad.clear();
        // With it, the times of this process are not those of the store.
        inputs.retain(|(_, input)| !matches!(input, Input::SetBack(_)));
        let random = &mut fastrand::Rng::with_seed(seed);
        let mut held = Vec::new();
        for _ in 0..random.usize(1..4) {
            let id = random.choice(nature.distributions.iter()).unwrap().clone();
            let at = SECOND * random.u32(5..200);
            let span = SECOND * random.u32(10..600);
            held.push((id.clone(), at, at + span));
            inputs.push((at, Input::Hold(id, span)));
        }
        inputs.sort_by_key(|(at, _)| *at);
        let world = World::start(nature, seed).await;
        world.play_to_the_end(&inputs, DAY).await;
        world.holds().await;
        let mut seen = HashSet::new();
        for attempt in world.cdn.attempts() {
            let order = attempt.order;
            // What was frozen before goes out, again and again.
            if !seen.insert(order.caller_reference) {
                continue;
            }
            let is_held = |(id, from, to): &&(String, Duration, Duration)| {
                *id == order.distribution_id && (*from < attempt.at && attempt.at < *to)
            };
            let found = held.iter().find(is_held);
            assert_eq!(found, None, "seed {seed}: sent at {:?}", attempt.at);
        }
        world.end().await;
    }
}
