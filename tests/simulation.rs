//! Hours of AWS time in seconds: dispatch, planner and limiters against a simulated CloudFront.
//!
//! One seed fixes the inputs and the faults. `SIMULATION_SEEDS=1000 cargo test --test it
//! simulation` plays more of them, `SIMULATION_SEED=7` one alone.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use purgefront::{
    dispatch::Settings,
    domain::{economy::Economy, mapping::MappingPolicy},
    ports::operations::OperationsStore as _,
};

use crate::support::{
    buckets::Buckets,
    inside::settings,
    nature::{Faults, Ill, Nature, Trouble},
    number,
    simulation::{Input, World, nature},
    story::story,
};

#[tokio::test]
async fn every_seed_keeps_the_promises() {
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(20),
    };
    for seed in seeds {
        let (nature, inputs) = story(seed);
        let world = World::start(nature, seed).await;
        keeps_the_promises(world, &inputs, seed, true).await;
    }
}

/// The same stories, with buckets that can be listed, so that paths are merged.
#[tokio::test]
async fn every_seed_keeps_the_promises_beside_buckets() {
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(20),
    };
    let mut made = 0;
    for seed in seeds.clone() {
        let (nature, inputs) = story(seed);
        let mut random = fastrand::Rng::with_seed(seed ^ 0xb0c);
        let (settings, ids) = (economical(seed, &mut random), nature.distributions.clone());
        let is_quick = settings.economy.max_delay <= settings.max_wait;
        let (world, buckets) = World::start_beside_buckets(nature, settings).await;
        for id in ids {
            fill(
                &buckets,
                &format!("bucket-{}", id.to_lowercase()),
                &mut random,
            );
        }
        made += keeps_the_promises(world, &inputs, seed, is_quick).await;
    }
    assert!(made > 0 || seeds.count() < 3, "nothing was ever merged");
}

/// Any economy.
fn economical(seed: u64, random: &mut fastrand::Rng) -> Settings {
    let mut any = |all: &[f64]| *random.choice(all).unwrap();
    let economy = Economy {
        evictions_per_path: any(&[0.0, 1.0, 20.0, 500.0]),
        max_delay: Duration::from_secs_f64(any(&[1.0, 10.0, 60.0])),
        min_interval: Duration::from_secs_f64(any(&[0.0, 60.0])),
        list_objects: any(&[0.0, 1.0, 1.0, 1.0]) > 0.0,
        widen_unlisted: any(&[0.0, 1.0]) > 0.0,
        monthly_paths: 0,
    };
    let mut mapping = MappingPolicy::default();
    mapping.wildcards.allow_root = any(&[0.0, 1.0]) > 0.0;
    Settings {
        seed,
        economy,
        mapping: Arc::new(mapping),
        ..settings()
    }
}

/// A bucket with some of the keys that change, and others, which may be slow, or not there at all.
fn fill(buckets: &Buckets, bucket: &str, random: &mut fastrand::Rng) {
    if random.u8(..) < 30 {
        return;
    }
    let keys = (0..random.usize(0..4_000)).map(|_| format!("k{}", random.usize(0..5_000)));
    buckets.put(bucket, keys.collect::<Vec<_>>());
    let page = random.choice([0, 100, 3_000, 20_000]).unwrap();
    buckets.slow_down(bucket, Duration::from_millis(page));
}

/// Returns how many wildcards were made. Where automatic paths may wait for them for longer than a distribution may
/// wait for its turn, the judge of turns would be wrong.
async fn keeps_the_promises(
    world: World,
    inputs: &[(Duration, Input)],
    seed: u64,
    is_quick: bool,
) -> usize {
    // So that a failure names the seed that shows it.
    let told = Told(seed);
    let most = Duration::from_hours(24);
    world.play_to_the_end(inputs, most).await;
    world.holds().await;
    if is_quick {
        world.is_fair();
    }
    let refusals = world.cdn.refusals();
    let known = refusals
        .keys()
        .filter(|cause| cause.starts_with("quota"))
        .count();
    assert_eq!(
        known, 0,
        "refused for what could have been known: {refusals:?}"
    );
    let mut made = 0;
    for id in &world.cdn.nature().distributions {
        let leader = &world.inside.leader;
        let wildcards = leader.made_since(id, Timestamp::UNIX_EPOCH).await;
        made += wildcards.unwrap().len();
    }
    std::mem::forget(told);
    world.end().await;
    made
}

struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("SIMULATION_SEED={} shows it", self.0);
    }
}

#[tokio::test]
async fn one_distribution_refused_for_an_hour_delays_no_other() {
    let hour = Duration::from_hours(1);
    let nature = Nature {
        ills: vec![Ill::new("E1", Trouble::PoolFull, Duration::ZERO..hour)],
        ..nature(&["E1", "E2"])
    };
    let world = World::start(nature, 3).await;
    let mut inputs = vec![(
        Duration::ZERO,
        Input::Events("E1".to_owned(), vec!["a".to_owned()]),
    )];
    let times: Vec<_> = (1..11).map(|nth| Duration::from_mins(5 * nth)).collect();
    for at in &times {
        inputs.push((
            *at,
            Input::Events("E2".to_owned(), vec![format!("b{}", at.as_secs())]),
        ));
    }
    world
        .play_to_the_end(&inputs, Duration::from_hours(6))
        .await;
    world.holds().await;
    let calls: Vec<_> = world
        .cdn
        .log()
        .into_iter()
        .filter(|(_, id, _)| id == "E2")
        .collect();
    assert_eq!(calls.len(), times.len());
    for (call, accepted_at) in calls.iter().zip(times) {
        // Quiet for 1 s, then one slot; the account's rate has halved again and again for
        // refusals that look like the account's own, and still one call is soon earned.
        let waited = call.0.saturating_sub(accepted_at);
        assert!(
            waited <= Duration::from_secs(1 + 10 + 2),
            "waited {waited:?}"
        );
    }
    world.end().await;
}

#[tokio::test]
async fn bad_items_are_found_wherever_they_stand() {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let keys: Vec<_> = (0..1_000).map(|at| format!("k{at}")).collect();
        let bad: Vec<_> = random.choose_multiple(keys.iter(), 3);
        let nature = Nature {
            bad: bad.iter().map(|key| format!("/{key}")).collect(),
            ..nature(&["E1"])
        };
        let world = World::start(nature, seed).await;
        let inputs = [(Duration::ZERO, Input::Events("E1".to_owned(), keys.clone()))];
        world
            .play_to_the_end(&inputs, Duration::from_hours(2))
            .await;
        world.holds().await;
        let through: usize = world.cdn.made().iter().map(|made| made.items.len()).sum();
        assert_eq!(through, 997);
        let calls = world.cdn.log().len();
        assert!(calls <= 60, "{calls} calls");
        let letters = world.inside.store.dead_letters(None, 10).await.unwrap();
        let mut named: Vec<_> = letters.into_iter().filter_map(|one| one.content).collect();
        named.sort();
        let mut expected: Vec<_> = bad.iter().map(|key| format!("/{key}")).collect();
        expected.sort();
        assert_eq!(named, expected);
        world.end().await;
    }
}

#[tokio::test]
async fn a_day_of_denials_loses_nothing() {
    let nature = Nature {
        faults: Faults {
            denied: 1.0,
            ..Faults::default()
        },
        ..nature(&["E1", "E2"])
    };
    let day = Duration::from_hours(24);
    let world = World::start(nature, 5).await;
    let keys = |prefix: &str| (0..50).map(|at| format!("{prefix}{at}")).collect();
    let inputs: Vec<_> = (0..24)
        .map(|hour| {
            let id = if hour % 2 == 0 { "E1" } else { "E2" };
            (
                Duration::from_hours(hour),
                Input::Events(id.to_owned(), keys(&format!("h{hour}-"))),
            )
        })
        .collect();
    world
        .play(&inputs, day * 2, |world| world.cdn.elapsed() >= day)
        .await;
    assert!(world.cdn.made().is_empty());
    world.cdn.grant();
    world.play_to_the_end(&[], day).await;
    world.holds().await;
    let through: usize = world.cdn.made().iter().map(|made| made.items.len()).sum();
    assert_eq!(through, 24 * 50);
    assert_eq!(world.inside.store.count_dead_letters(1).await.unwrap(), 0);
    world.end().await;
}

#[tokio::test]
async fn what_others_have_in_progress_is_learnt_from_one_refusal() {
    let nature = Nature {
        propagation: Duration::from_mins(5),
        ..nature(&["E1"])
    };
    let world = World::start(nature, 1).await;
    world.cdn.add_foreign("E1", 2_950);
    let keys = (0..1_000).map(|at| format!("k{at}")).collect();
    let inputs = [(Duration::from_secs(5), Input::Events("E1".to_owned(), keys))];
    world
        .play_to_the_end(&inputs, Duration::from_hours(2))
        .await;
    let log = world.cdn.log();
    assert_eq!(
        log.len(),
        2,
        "one refusal, and one call when there is room: {log:?}"
    );
    let second = log[1].0;
    let room = Duration::from_mins(5);
    assert!(
        second >= room && second < room + Duration::from_secs(40),
        "{second:?}"
    );
    world.end().await;
}

/// Answers are lost, and what is sent again meets a conflict, while nothing can be looked up: no
/// item may be sent under two references.
#[tokio::test]
async fn a_conflict_that_cannot_be_explained_waits_until_it_can() {
    let blind = Duration::from_mins(20);
    let nature = Nature {
        faults: Faults {
            lost_after: 0.5,
            ..Faults::default()
        },
        conflicts: true,
        blind: vec![(Duration::ZERO, blind)],
        ..nature(&["E1", "E2"])
    };
    for seed in 0..4 {
        let world = World::start(nature.clone(), seed).await;
        let inputs: Vec<_> = (0..20)
            .map(|nth| {
                let id = if nth % 2 == 0 { "E1" } else { "E2" };
                let keys = vec![format!("k{nth}")];
                let input = Input::Events(id.to_owned(), keys);
                (Duration::from_secs(15 * nth), input)
            })
            .collect();
        world
            .play_to_the_end(&inputs, Duration::from_hours(3))
            .await;
        world.holds().await;
        let sent: usize = world.cdn.made().iter().map(|made| made.items.len()).sum();
        assert_eq!(sent, 20, "each item was sent once");
        world.end().await;
    }
}

/// What a lost call made is found by its time, however many others have been made since.
#[tokio::test]
async fn a_search_goes_back_as_far_as_the_attempt() {
    let nature = Nature {
        faults: Faults {
            lost_after: 1.0,
            ..Faults::default()
        },
        conflicts: true,
        ..nature(&["E1"])
    };
    let world = World::start(nature, 0).await;
    // Far older than the attempt: these need not be looked at.
    for _ in 0..300 {
        world.cdn.add_foreign("E1", 1);
    }
    let inputs = [(
        Duration::from_hours(1),
        Input::Events("E1".to_owned(), vec!["a".to_owned()]),
    )];
    world
        .play(&inputs, Duration::from_hours(2), |world| {
            !world.cdn.made().iter().all(|made| made.id.starts_with('F'))
        })
        .await;
    for _ in 0..150 {
        world.cdn.add_foreign("E1", 1);
    }
    world.play_to_the_end(&[], Duration::from_hours(2)).await;
    let ours = world.cdn.made();
    let ours = ours.iter().filter(|made| made.id.starts_with('I'));
    assert_eq!(ours.count(), 1, "the item was sent once");
    let reads = world.cdn.reads();
    assert!((150..180).contains(&reads), "{reads} reads");
    world.end().await;
}
