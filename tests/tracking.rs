//! What is in progress is followed to its end, on a clock of the test's own: what others have, what
//! nobody may look at, and more of it than the reads suffice for.

use std::time::Duration;

use purgefront::{domain::operations::day_of, ports::Clock as _};

use crate::support::{
    simulated::Nature,
    simulation::{Input, World, nature},
};

fn keys(id: &str, count: usize) -> Input {
    let keys = (0..count).map(|at| format!("k{at}"));
    Input::Events(id.to_owned(), keys.collect())
}

/// When calls for a distribution were made.
fn calls(world: &World, id: &str) -> Vec<Duration> {
    let log = world.cdn.log().into_iter();
    log.filter(|(_, called, _)| called == id)
        .map(|(at, _, _)| at)
        .collect()
}

#[tokio::test]
async fn a_listing_that_fails_is_tried_again() {
    let minutes = Duration::from_mins;
    // At first, and while what is known of others fills the pool.
    for blind in [Duration::ZERO..minutes(1), minutes(1)..minutes(2)] {
        let nature = Nature {
            propagation: minutes(4),
            blind: vec![(blind.start, blind.end)],
            ..nature(&["E1"])
        };
        let world = World::start(nature, 1).await;
        world.cdn.add_foreign("E1", 2_950);
        let inputs = [(Duration::from_secs(5), keys("E1", 1_000))];
        world
            .play_to_the_end(&inputs, Duration::from_hours(2))
            .await;
        let calls = calls(&world, "E1");
        let last = *calls.last().unwrap();
        let room = minutes(4)..minutes(4) + Duration::from_secs(40);
        assert!(room.contains(&last), "blind in {blind:?}: {calls:?}");
        world.end().await;
    }
}

/// However often others' invalidations are looked at.
#[tokio::test]
async fn what_others_pay_for_is_in_the_ledger_once() {
    let nature = Nature {
        propagation: Duration::from_mins(4),
        ..nature(&["E1"])
    };
    let world = World::start(nature, 1).await;
    world.cdn.add_foreign("E1", 2_950);
    let today = day_of(world.clock.now());
    let inputs = [(Duration::from_secs(5), keys("E1", 1_000))];
    world
        .play_to_the_end(&inputs, Duration::from_hours(2))
        .await;
    let tap = &world.inside.store.tap;
    assert!(tap.calls("record_others") > 0);
    let ledger = world.inside.leader.controls(today).await.unwrap().ledger;
    assert_eq!((ledger.own, ledger.others), (1_000, 2_950));
    assert_eq!((ledger.recent, ledger.days), (3_950, 1));
    world.end().await;
}

#[tokio::test]
async fn a_ledger_that_cannot_be_written_holds_up_nothing() {
    let minutes = Duration::from_mins;
    let nature = Nature {
        propagation: minutes(4),
        ..nature(&["E1"])
    };
    let world = World::start(nature, 1).await;
    world.inside.store.tap.fail_in("record_others");
    world.cdn.add_foreign("E1", 2_950);
    let inputs = [(Duration::from_secs(5), keys("E1", 1_000))];
    world
        .play_to_the_end(&inputs, Duration::from_hours(2))
        .await;
    let tap = &world.inside.store.tap;
    assert!(tap.calls("record_others") > 0);
    let calls = calls(&world, "E1");
    let last = *calls.last().unwrap();
    let room = minutes(4)..minutes(4) + Duration::from_secs(40);
    assert!(room.contains(&last), "{calls:?}");
    world.end().await;
}

#[tokio::test]
async fn what_nobody_may_look_at_does_not_fill_a_pool_for_ever() {
    let nature = Nature {
        hidden: vec!["E1".to_owned()],
        ..nature(&["E1", "E2"])
    };
    let world = World::start(nature, 1).await;
    let inputs = [
        (Duration::ZERO, keys("E1", 6_000)),
        (Duration::ZERO, keys("E2", 6_000)),
    ];
    let sent = |world: &World, id: &str| -> usize {
        let made = world.cdn.made().into_iter();
        let made = made.filter(|made| made.distribution_id == id);
        made.map(|made| made.items.len()).sum()
    };
    let most = Duration::from_hours(1);
    let over = |world: &World| sent(world, "E2") == 6_000;
    world.play(&inputs, most, over).await;
    assert!(sent(&world, "E1") <= 3_000);
    let warning = world.inside.finding("tracking");
    assert!(
        warning.contains("cloudfront:GetInvalidation") && warning.contains("E1"),
        "{warning}"
    );
    assert!(!warning.contains("E2"), "{warning}");
    let over = |world: &World| sent(world, "E1") == 6_000;
    world.play(&[], most, over).await;
    let rounds = world.cdn.elapsed();
    assert!(rounds < Duration::from_mins(70), "three pools: {rounds:?}");
    world.play_to_the_end(&[], Duration::from_hours(2)).await;
    world.holds().await;
    world.end().await;
}

#[tokio::test]
async fn more_in_progress_than_the_reads_suffice_for_delays_nobody_who_waits_for_room() {
    let busy: Vec<_> = (0..30).map(|nth| format!("B{nth}")).collect();
    let mut ids: Vec<_> = busy.iter().map(String::as_str).collect();
    ids.push("E1");
    let propagation = Duration::from_mins(4);
    let nature = Nature {
        propagation,
        ..nature(&ids)
    };
    let world = World::start(nature, 1).await;
    world.cdn.add_foreign("E1", 2_950);
    // A call every two seconds, whose invalidations are all to be followed.
    let mut inputs = vec![(Duration::from_secs(5), keys("E1", 1_000))];
    for nth in 0..240 {
        let id = &busy[nth % busy.len()];
        let input = Input::Events(id.clone(), vec![format!("b{nth}")]);
        inputs.push((Duration::from_secs(5 + 2 * nth as u64), input));
    }
    let over = |world: &World| world.cdn.elapsed() > Duration::from_mins(9);
    world.play(&inputs, Duration::from_hours(1), over).await;
    let calls = calls(&world, "E1");
    let first_with_room = calls.iter().find(|at| **at >= propagation);
    let waited = first_with_room.map(|at| *at - propagation);
    let soon = Duration::from_mins(1);
    assert!(waited.is_some_and(|waited| waited < soon), "{calls:?}");
    world.play_to_the_end(&[], Duration::from_hours(1)).await;
    world.end().await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_delays_no_poll_and_no_look_at_others() {
    let nature = Nature {
        propagation: Duration::from_secs(90),
        ..nature(&["E1", "E2"])
    };
    let world = World::start(nature, 1).await;
    world.cdn.add_foreign("E2", 2_950);
    let inputs = [
        (Duration::from_secs(1), keys("E1", 10)),
        (Duration::from_secs(1), keys("E2", 1_000)),
    ];
    let minute = Duration::from_mins(1);
    let later = |world: &World| world.cdn.elapsed() > minute;
    world.play(&inputs, minute * 2, later).await;
    let open = world.inside.leader.in_progress().await.unwrap();
    assert_eq!(open.len(), 1, "that of E1");
    let reads = world.cdn.reads();

    world.clock.set_back(Duration::from_hours(1));
    // CloudFront's own clock was not set back: all of it is completed after half a minute.
    let passed = |world: &World| world.cdn.elapsed() > minute * 2;
    world.play(&[], minute * 2, passed).await;
    let open = world.inside.leader.in_progress().await.unwrap();
    assert!(
        open.iter().all(|one| one.distribution_id == "E2"),
        "{open:?}"
    );
    let looked = world.cdn.reads() - reads;
    assert!(
        (2..=12).contains(&looked),
        "{looked} polls for E1 and lists for E2"
    );
    world.end().await;
}
