//! The clock is set back by an hour: whatever waits for a time goes on within the longest pause, on
//! a clock that jumps.

use std::time::Duration;

use crate::support::{
    nature::{Ill, Nature, Trouble},
    simulation::{Input, World, nature},
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
/// The longest pause after a refusal, and a minute for the call itself.
const GOES_ON: Duration = Duration::from_mins(16);

fn keys(id: &str, count: usize) -> Input {
    let keys = (0..count).map(|nth| format!("k{nth}"));
    Input::Events(id.to_owned(), keys.collect())
}

/// How many items CloudFront has taken.
fn taken(world: &World) -> usize {
    let made = world.cdn.made();
    made.iter().map(|made| made.items.len()).sum()
}

/// What came in is refused or waits until the step, and goes on after it.
struct Story {
    nature: Nature,
    /// What others have in progress at E1 from the beginning.
    foreign: usize,
    input: (Duration, Input),
    step_at: Duration,
    items: usize,
}

impl Story {
    async fn goes_on_soon(self, restarts: bool) {
        let Self {
            nature,
            foreign,
            input,
            step_at,
            items,
        } = self;
        let mut world = World::start(nature, 1).await;
        if foreign > 0 {
            world.cdn.add_foreign("E1", foreign);
        }
        world
            .play(&[input], HOUR, |world| world.cdn.elapsed() >= step_at)
            .await;
        world.clock.set_back(HOUR);
        let stepped = world.cdn.elapsed();
        if restarts {
            world.restart().await;
        }
        let over = |world: &World| taken(world) == items;
        world.play(&[], HOUR * 3, over).await;
        let took = world.cdn.elapsed() - stepped;
        eprintln!("restarts: {restarts}, and it went on after {took:?}");
        assert!(took <= GOES_ON, "it went on after {took:?}");
        world.play_to_the_end(&[], HOUR * 3).await;
        world.holds().await;
        world.end().await;
    }
}

/// Refused for 50 minutes, up to the step.
fn refused_by(trouble: Trouble) -> Story {
    let until = MINUTE * 50;
    Story {
        nature: Nature {
            ills: vec![Ill::new("E1", trouble, Duration::ZERO..until)],
            ..nature(&["E1"])
        },
        foreign: 0,
        input: (SECOND * 10, keys("E1", 10)),
        step_at: until,
        items: 10,
    }
}

#[tokio::test]
async fn a_distribution_that_was_denied_goes_on() {
    refused_by(Trouble::Denied).goes_on_soon(false).await;
}

#[tokio::test]
async fn a_distribution_that_was_denied_goes_on_after_a_restart() {
    refused_by(Trouble::Denied).goes_on_soon(true).await;
}

/// Nothing answers for 50 minutes, up to the step.
fn in_doubt() -> Story {
    let until = MINUTE * 50;
    Story {
        nature: Nature {
            dark: vec![(SECOND * 9, until)],
            ..nature(&["E1"])
        },
        foreign: 0,
        input: (SECOND * 10, keys("E1", 10)),
        step_at: until,
        items: 10,
    }
}

#[tokio::test]
async fn a_batch_in_doubt_is_sent_again() {
    in_doubt().goes_on_soon(false).await;
}

#[tokio::test]
async fn a_batch_in_doubt_is_sent_again_after_a_restart() {
    in_doubt().goes_on_soon(true).await;
}

/// Ours fill the pool: 2,900 at once, and the rest waits until they are completed.
fn full_of_ours() -> Story {
    Story {
        nature: Nature {
            propagation: MINUTE * 4,
            ..nature(&["E1"])
        },
        foreign: 0,
        input: (SECOND * 10, keys("E1", 4_000)),
        step_at: MINUTE * 2,
        items: 4_000,
    }
}

#[tokio::test]
async fn what_waits_for_our_own_invalidations_goes_on() {
    full_of_ours().goes_on_soon(false).await;
}

#[tokio::test]
async fn what_waits_for_our_own_invalidations_goes_on_after_a_restart() {
    full_of_ours().goes_on_soon(true).await;
}

fn full_of_others() -> Story {
    Story {
        foreign: 2_950,
        input: (SECOND * 10, keys("E1", 1_000)),
        items: 1_000,
        ..full_of_ours()
    }
}

#[tokio::test]
async fn what_waits_for_others_invalidations_goes_on() {
    full_of_others().goes_on_soon(false).await;
}

#[tokio::test]
async fn what_waits_for_others_invalidations_goes_on_after_a_restart() {
    full_of_others().goes_on_soon(true).await;
}

/// Accepted just before the step, by a clock that is an hour ahead of what follows.
fn not_due_yet() -> Story {
    Story {
        nature: nature(&["E1"]),
        foreign: 0,
        input: (MINUTE * 10, keys("E1", 10)),
        step_at: MINUTE * 10,
        items: 10,
    }
}

#[tokio::test]
async fn a_change_of_just_before_the_step_becomes_due() {
    not_due_yet().goes_on_soon(false).await;
}

#[tokio::test]
async fn a_change_of_just_before_the_step_becomes_due_after_a_restart() {
    not_due_yet().goes_on_soon(true).await;
}
