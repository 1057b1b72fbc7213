//! What a call spends, and what it does not: the day's limit and the rate of paths, on a clock that
//! jumps.

use std::time::Duration;

use purgefront::{dispatch::Settings, domain::operations::day_of, ports::Clock as _};

use crate::support::{
    inside::settings,
    nature::{FOR_EVER, Ill, Nature, Trouble},
    simulation::{Input, World, nature},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const SOON: Duration = Duration::from_mins(10);

fn keys(id: &str, name: &str, count: usize) -> Input {
    let keys = (0..count).map(|nth| format!("{name}-{nth}"));
    Input::Events(id.to_owned(), keys.collect())
}

/// How many items of a distribution CloudFront has taken.
fn taken(world: &World, id: &str) -> usize {
    let made = world.cdn.made().into_iter();
    let made = made.filter(|made| made.distribution_id == id);
    made.map(|made| made.items.len()).sum()
}

fn limited() -> Settings {
    Settings {
        paths_per_day: 2_000,
        ..settings()
    }
}

fn with_ill(ills: Vec<Ill>) -> Nature {
    Nature {
        ills,
        ..nature(&["E1", "E2"])
    }
}

/// The day's count, as the store has it.
async fn counted(world: &World) -> u64 {
    let today = day_of(world.clock.now());
    let controls = world.inside.leader.controls(today).await.unwrap();
    controls.spending.items
}

/// While E1 is refused for hours, all of E2's work goes the same day.
async fn spends_nothing(nature: Nature, refused: Input) {
    let world = World::start_with(nature, limited()).await;
    let inputs = [(SECOND * 10, refused), (HOUR * 3, keys("E2", "b", 1_500))];
    let over = |world: &World| world.cdn.elapsed() > HOUR * 3 + SOON;
    world.play(&inputs, HOUR * 4, over).await;
    assert_eq!(taken(&world, "E1"), 0);
    let calls = world.cdn.attempts().into_iter();
    let calls = calls
        .filter(|one| one.order.distribution_id == "E1")
        .count();
    let sent = taken(&world, "E2");
    eprintln!("{calls} calls were refused, {sent} of 1,500 were sent");
    assert!(calls > 1);
    assert_eq!(sent, 1_500, "of E2, the same day");
    assert_eq!(counted(&world).await, 1_500);
    world.end().await;
}

#[tokio::test]
async fn what_is_denied_for_hours_spends_nothing_of_the_day() {
    let ills = vec![Ill::new("E1", Trouble::Denied, FOR_EVER)];
    spends_nothing(with_ill(ills), keys("E1", "a", 1_000)).await;
}

#[tokio::test]
async fn what_is_throttled_for_hours_spends_nothing_of_the_day() {
    let ills = vec![Ill::new("E1", Trouble::Throttled, FOR_EVER)];
    spends_nothing(with_ill(ills), keys("E1", "a", 1_000)).await;
}

/// It is in the list for an hour, and after that what was asked for is a dead letter.
#[tokio::test]
async fn what_a_person_asks_of_a_distribution_that_is_gone_spends_nothing_of_the_day() {
    let ills = vec![
        Ill::new("E1", Trouble::Gone, FOR_EVER),
        Ill::new("E1", Trouble::Unlisted, HOUR..FOR_EVER.end),
    ];
    let paths = (0..1_500).map(|nth| format!("/asked-{nth}")).collect();
    let asked = Input::Request("E1".to_owned(), paths);
    spends_nothing(with_ill(ills), asked).await;
}

/// A batch of 1,000 whose answer is lost for half an hour may have been taken; then E2's 1,500
/// want to go.
async fn lost_and_resent(restart: bool) {
    let half_an_hour = HOUR / 2;
    let ills = vec![Ill::new("E1", Trouble::Lost, Duration::ZERO..half_an_hour)];
    let mut world = World::start_with(with_ill(ills), limited()).await;
    let inputs = [(SECOND * 10, keys("E1", "a", 1_000))];
    let lost = |world: &World| world.cdn.elapsed() > half_an_hour / 2;
    world.play(&inputs, HOUR, lost).await;
    assert_eq!(counted(&world).await, 1_000, "while nobody knows");
    if restart {
        world.restart().await;
    }
    let resent = |world: &World| world.cdn.elapsed() > HOUR;
    world.play(&[], HOUR * 2, resent).await;
    let calls = world.cdn.attempts().len();
    assert!(calls > 2, "{calls} calls");
    assert_eq!(counted(&world).await, 1_000, "and when it is known");
    if restart {
        world.restart().await;
    }
    let inputs = [(Duration::ZERO, keys("E2", "b", 1_500))];
    let over = |world: &World| world.cdn.elapsed() > HOUR * 2;
    world.play(&inputs, HOUR * 3, over).await;
    assert_eq!(counted(&world).await, 2_000);
    assert_eq!((taken(&world, "E1"), taken(&world, "E2")), (1_000, 1_000));
    world.end().await;
}

#[tokio::test]
async fn a_batch_whose_answer_is_lost_counts_once() {
    lost_and_resent(false).await;
}

#[tokio::test]
async fn the_days_count_outlives_a_restart() {
    lost_and_resent(true).await;
}

/// When E1's batch of 1,000 paths is refused, and when E2's goes then.
async fn slot_after(trouble: Trouble) -> Duration {
    let ills = vec![Ill::new("E1", trouble, FOR_EVER)];
    let world = World::start(with_ill(ills), 1).await;
    let known = Input::Request("E2".to_owned(), vec!["/known".to_owned()]);
    let inputs = [
        (SECOND * 5, known),
        (SECOND * 60, keys("E1", "a", 1_000)),
        (SECOND * 60 + SECOND / 2, keys("E2", "b", 1_000)),
    ];
    let over = |world: &World| taken(world, "E2") == 1_001;
    world.play(&inputs, HOUR, over).await;
    let attempts = world.cdn.attempts();
    let mut large = attempts.iter().filter(|one| one.order.items.len() >= 1_000);
    let refused = large.find(|one| one.order.distribution_id == "E1").unwrap();
    let taken = large.find(|one| one.order.distribution_id == "E2").unwrap();
    let slot = taken.at.saturating_sub(refused.at);
    eprintln!("{trouble:?}: E2's batch goes {slot:?} after E1's refused one");
    world.end().await;
    slot
}

/// Paths are spent when CloudFront takes them: the next batch of paths goes with the next call.
#[tokio::test]
async fn a_refused_batch_spends_nothing_of_the_rate_of_paths() {
    for (trouble, call) in [
        (Trouble::Denied, 2),
        (Trouble::PoolFull, 2),
        (Trouble::Gone, 2),
        // The call rate has halved, for all that is known.
        (Trouble::Throttled, 4),
    ] {
        let slot = slot_after(trouble).await;
        let most = SECOND * call + SECOND / 2;
        assert!(
            slot <= most,
            "{trouble:?}: {slot:?}, where a call takes {call} s"
        );
    }
}

/// How long E2's 10,000 paths take.
async fn drained(ills: Vec<Ill>) -> Duration {
    let world = World::start(with_ill(ills), 2).await;
    let mut inputs = vec![(SECOND * 20, keys("E1", "a", 3_000))];
    inputs.push((SECOND * 20, keys("E2", "b", 10_000)));
    if world.cdn.nature().ills.is_empty() {
        inputs.remove(0);
    }
    let over = |world: &World| taken(world, "E2") == 10_000;
    world.play(&inputs, HOUR, over).await;
    let took = world.cdn.elapsed() - SECOND * 20;
    world.end().await;
    took
}

#[tokio::test]
async fn batches_that_are_refused_again_and_again_delay_no_others_paths() {
    let alone = drained(Vec::new()).await;
    for trouble in [Trouble::Denied, Trouble::PoolFull] {
        let beside = drained(vec![Ill::new("E1", trouble, FOR_EVER)]).await;
        eprintln!("{trouble:?}: alone {alone:?}, beside the refused one {beside:?}");
        // While paths are earned, calls are left: 1,000 paths take 6.7 s, and a call takes 2 s.
        let most = alone.mul_f64(1.1) + SECOND * 4;
        assert!(beside <= most, "{beside:?} instead of {alone:?}");
    }
}
