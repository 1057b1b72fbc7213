//! Where every distribution answers alike, one of them is probed for all, on a clock that jumps.

use std::time::Duration;

use crate::support::{
    nature::{Ill, Nature, Trouble},
    simulation::{Input, World, nature},
};

const MINUTE: Duration = Duration::from_mins(1);
const TROUBLE: Duration = Duration::from_hours(2);
/// The longest pause after a refusal.
const ONE_BACKOFF: Duration = Duration::from_mins(15);

fn change(id: &str, key: &str) -> Input {
    Input::Events(id.to_owned(), vec![key.to_owned()])
}

/// How many distributions have everything, and how many calls were made meanwhile.
fn through(world: &World) -> usize {
    world.cdn.made().len()
}

/// Two hours in which the account as a whole is refused, with 50 distributions that have something
/// waiting, and their number of calls; then, how long it takes until all is through.
async fn refused_alike(nature: impl Fn(&[&str]) -> Nature) -> (usize, Duration) {
    let ids: Vec<_> = (0..50).map(|nth| format!("E{nth}")).collect();
    let all: Vec<_> = ids.iter().map(String::as_str).collect();
    let world = World::start(nature(&all), 1).await;
    let inputs: Vec<_> = ids.iter().map(|id| (MINUTE, change(id, "a"))).collect();
    let over = |world: &World| world.cdn.elapsed() >= TROUBLE;
    world.play(&inputs, TROUBLE * 2, over).await;
    assert_eq!(through(&world), 0);
    let calls = world.cdn.attempts().len();
    let done = |world: &World| through(world) == ids.len();
    world.play(&[], Duration::from_hours(12), done).await;
    let took = world.cdn.elapsed() - TROUBLE;
    world.play_to_the_end(&[], Duration::from_hours(1)).await;
    world.holds().await;
    world.end().await;
    eprintln!("{calls} calls in {TROUBLE:?}, and then through in {took:?}");
    (calls, took)
}

/// 50 calls, one in two seconds, and the window.
const ALONE: Duration = Duration::from_secs(2 * 50 + 10);

/// One distribution's backoffs in two hours: they double from 2 s to 15 min, each by full jitter, so
/// there are about 24. Some calls more are needed to see that all are alike.
const BY_ONE: usize = 40;
/// Each is tried once, because nothing is known of it, and again after an hour.
const EACH: usize = 2 * 50;

fn check((calls, took): (usize, Duration), most: usize) {
    assert!(calls <= most, "{calls} calls in {TROUBLE:?}");
    assert!(took <= ONE_BACKOFF + ALONE, "through after {took:?}");
}

#[tokio::test]
async fn an_account_that_is_denied_is_probed_by_one() {
    let span = Duration::ZERO..TROUBLE;
    let denied = |all: &[&str]| Nature {
        ills: Ill::all(all, Trouble::Denied, &span),
        ..nature(all)
    };
    // A denial may be about the distribution: each is tried at least every 15 minutes.
    check(refused_alike(denied).await, 50 * 8 + BY_ONE);
}

#[tokio::test]
async fn calls_that_cannot_be_sent_are_probed_by_one() {
    let span = Duration::ZERO..TROUBLE;
    let not_sent = |all: &[&str]| Nature {
        ills: Ill::all(all, Trouble::NotSent, &span),
        ..nature(all)
    };
    check(refused_alike(not_sent).await, EACH + BY_ONE);
}

#[tokio::test]
async fn a_cloudfront_that_does_not_answer_is_probed_by_one() {
    // From when the account has been read.
    let dark = |all: &[&str]| Nature {
        dark: vec![(MINUTE - MINUTE / 60, TROUBLE)],
        ..nature(all)
    };
    check(refused_alike(dark).await, EACH + BY_ONE);
}

/// Also where the dark hours begin in the middle of work, everything is through afterwards.
#[tokio::test]
async fn after_dark_hours_everything_is_through() {
    let ids = ["E1", "E2", "E3", "E4"];
    let nature = Nature {
        dark: vec![(MINUTE * 5, MINUTE * 5 + TROUBLE)],
        ..nature(&ids)
    };
    let world = World::start(nature, 3).await;
    let mut inputs = Vec::new();
    for nth in 0..60_u32 {
        let id = ids[nth as usize % ids.len()];
        let keys = (0..30).map(|key| format!("{nth}/{key}")).collect();
        inputs.push((MINUTE * nth / 3, Input::Events(id.to_owned(), keys)));
    }
    world.play(&inputs, TROUBLE, |_| true).await;
    world
        .play_to_the_end(&[], TROUBLE + ONE_BACKOFF + MINUTE * 10)
        .await;
    world.holds().await;
    let sent: usize = world.cdn.made().iter().map(|made| made.items.len()).sum();
    assert_eq!(sent, 60 * 30);
    world.end().await;
}
