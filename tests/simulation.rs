//! Hours of AWS time in seconds: dispatch, planner and limiters against a simulated CloudFront.
//!
//! One seed fixes the inputs and the faults. `SIMULATION_SEEDS=1000 cargo test --test it
//! simulation` plays more of them, `SIMULATION_SEED=7` one alone.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use purgefront::{
    dispatch::{self, Context, Settings},
    domain::{
        change::{Content, NewMessage, NewRequest},
        path::Item,
        s3_event::ObjectChange,
    },
    health::Health,
    ports::{Clock, Store},
    signals::Signals,
    store,
    telemetry::Metrics,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::support::{
    audit::{Made, audit},
    clock::VirtualClock,
    counted::Counted,
    inside::{NoSns, settings},
    number,
    signer::TOPIC,
    simulated::{Faults, Nature, Simulated},
};

/// Something that comes in.
#[derive(Debug, Clone)]
enum Input {
    /// Keys that changed in a distribution's bucket.
    Events(String, Vec<String>),
    /// Paths that a person asks for.
    Request(String, Vec<String>),
}

fn nature(distributions: &[&str]) -> Nature {
    Nature {
        distributions: distributions.iter().map(|id| (*id).to_owned()).collect(),
        propagation: Duration::from_secs(10),
        latency: Duration::from_millis(50),
        faults: Faults::default(),
        dark: Vec::new(),
        refused: None,
        bad: Vec::new(),
    }
}

/// The work behind the 2xx in this process, with the real store, on a clock that jumps.
struct World {
    clock: Arc<VirtualClock>,
    cdn: Arc<Simulated>,
    store: Arc<Counted>,
    signals: Arc<Signals>,
    stop: CancellationToken,
    tasks: TaskTracker,
    home: tempfile::TempDir,
}

impl World {
    async fn start(nature: Nature, seed: u64) -> Self {
        let clock = Arc::new(VirtualClock::new());
        let cdn = Arc::new(Simulated::new(Arc::clone(&clock), nature, seed));
        // Where memory is a disk, syncing costs nothing.
        let home = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let port: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let health = Health::default();
        let path = home.path().join("purgefront.db");
        let real = store::open(&path, Arc::clone(&port), health.clone())
            .await
            .unwrap();
        let store = Arc::new(Counted::new(Arc::new(real)));
        let signals = Arc::new(Signals::default());
        let context = Context {
            store: Arc::clone(&store) as _,
            cdn: Arc::clone(&cdn) as _,
            trust: Arc::new(NoSns),
            clock: port,
            signals: Arc::clone(&signals),
            health,
            metrics: Metrics::default(),
        };
        let settings = Settings { seed, ..settings() };
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        dispatch::start(context, &settings, &tasks, &stop)
            .await
            .unwrap();
        Self {
            clock,
            cdn,
            store,
            signals,
            stop,
            tasks,
            home,
        }
    }

    async fn put_in(&self, input: &Input) {
        let accepted_at = self.clock.now();
        match input {
            Input::Events(id, keys) => {
                let change = |key: &String| ObjectChange {
                    bucket: format!("bucket-{}", id.to_lowercase()),
                    key: key.clone(),
                    event: "ObjectCreated:Put".to_owned(),
                    time: None,
                };
                let message = NewMessage {
                    message_id: Uuid::new_v4(),
                    signed_at: accepted_at,
                    topic: TOPIC.parse().unwrap(),
                    accepted_at,
                    content: Content::Notification {
                        changes: keys.iter().map(change).collect(),
                        dead: Vec::new(),
                    },
                };
                self.store.accept_message(message).await.unwrap();
            }
            Input::Request(id, paths) => {
                let request = NewRequest {
                    id: Uuid::now_v7(),
                    token: "test".to_owned(),
                    reason: None,
                    distribution_id: id.clone(),
                    items: paths
                        .iter()
                        .map(|path| Item::parse(path).unwrap())
                        .collect(),
                    accepted_at,
                };
                self.store.accept_request(request).await.unwrap();
            }
        }
        self.signals.accepted.notify_one();
    }

    /// Lets everything happen that can happen without time passing.
    async fn settle(&self) {
        let mut quiet = 0;
        while quiet < 2 {
            for _ in 0..30 {
                tokio::task::yield_now().await;
            }
            if self.store.is_idle() {
                quiet += 1;
            } else {
                quiet = 0;
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the store's threads run in real time"
                )]
                tokio::time::sleep(Duration::from_micros(50)).await;
            }
        }
    }

    /// Plays inputs at their times, and on until `done` or `most` has passed.
    async fn play(
        &self,
        inputs: &[(Duration, Input)],
        most: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) {
        let began = self.clock.now();
        let mut inputs = inputs.iter().peekable();
        loop {
            self.settle().await;
            let elapsed = self.clock.now().duration_since(began).unsigned_abs();
            while let Some((_, input)) = inputs.next_if(|(at, _)| *at <= elapsed) {
                self.put_in(input).await;
                self.settle().await;
            }
            if inputs.peek().is_none() && done(self) {
                return;
            }
            assert!(elapsed < most, "not done after {elapsed:?}");
            match inputs.peek() {
                Some((at, _)) => self.clock.advance_until(began + *at),
                None => assert!(self.clock.advance_to_next(), "everybody waits for nothing"),
            }
        }
    }

    /// Whether every batch is settled and nothing waits.
    async fn is_over(&self) -> bool {
        let now = self.clock.now();
        self.store.unseen_changes(1).await.unwrap().is_empty()
            && self
                .store
                .parked_changes(i64::MIN, 1)
                .await
                .unwrap()
                .is_empty()
            && self.store.backlogs().await.unwrap().is_empty()
            && self.store.unresolved().await.unwrap().is_empty()
            && self.store.due_looks(now, 1).await.unwrap() == purgefront::ports::Looks::default()
    }

    async fn play_to_the_end(&self, inputs: &[(Duration, Input)], most: Duration) {
        self.play(inputs, most, |_| true).await;
        let began = self.clock.now();
        while !self.is_over().await {
            let so_far = self.clock.now().duration_since(began).unsigned_abs();
            assert!(so_far < most, "something is still open after {so_far:?}");
            for _ in 0..20 {
                self.settle().await;
                assert!(self.clock.advance_to_next(), "everybody waits for nothing");
            }
            self.settle().await;
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        // Calls under way end, which takes them time.
        while !self.tasks.is_empty() {
            self.settle().await;
            self.clock.advance_to_next();
        }
    }

    /// Promises 2 and 3, read from the store and from what CloudFront made.
    async fn holds(&self) {
        let made = self.cdn.made().into_iter().map(|made| Made {
            caller_reference: made.caller_reference,
            items: made.items,
            created_at: made.created_at,
        });
        audit(&self.home.path().join("purgefront.db"), made.collect()).await;
    }
}

/// Inputs and faults, all from one seed.
fn story(seed: u64) -> (Nature, Vec<(Duration, Input)>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let ids = ["E1", "E2", "E3", "E4"];
    let mut nature = nature(&ids[..random.usize(1..=4)]);
    let mut share = |most: f64| random.f64() * most;
    nature.faults = Faults {
        throttled: share(0.15),
        too_many: share(0.1),
        lost_before: share(0.1),
        lost_after: share(0.15),
        unavailable: share(0.1),
        denied: share(0.05),
    };
    nature.propagation = Duration::from_secs(random.u64(1..200));
    if random.bool() {
        let from = Duration::from_secs(random.u64(0..300));
        nature
            .dark
            .push((from, from + Duration::from_secs(random.u64(60..1_800))));
    }
    let mut inputs = Vec::new();
    let mut at = Duration::ZERO;
    for _ in 0..random.usize(5..25) {
        at += Duration::from_millis(random.u64(0..20_000));
        let id = random.choice(nature.distributions.iter()).unwrap().clone();
        let space = random.usize(10..3_000);
        let input = if random.u8(..) < 40 {
            let paths = (0..random.usize(1..10)).map(|_| {
                let star = if random.u8(..) < 30 { "*" } else { "" };
                format!("/k{}{star}", random.usize(0..space))
            });
            let paths: BTreeSet<_> = paths.collect();
            Input::Request(id, paths.into_iter().collect())
        } else {
            let keys = (0..random.usize(1..400)).map(|_| {
                let odd = if random.u8(..) < 2 { "~x" } else { "" };
                format!("k{}{odd}", random.usize(0..space))
            });
            Input::Events(id, keys.collect())
        };
        inputs.push((at, input));
    }
    (nature, inputs)
}

#[tokio::test]
async fn every_seed_keeps_the_promises() {
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(20),
    };
    for seed in seeds {
        let (nature, inputs) = story(seed);
        let world = World::start(nature, seed).await;
        // So that a failure names the seed that shows it.
        let told = Told(seed);
        world
            .play_to_the_end(&inputs, Duration::from_hours(24))
            .await;
        world.holds().await;
        let refusals = world.cdn.refusals();
        let known = refusals
            .keys()
            .filter(|cause| cause.starts_with("quota"))
            .count();
        assert_eq!(
            known, 0,
            "refused for what could have been known: {refusals:?}"
        );
        std::mem::forget(told);
        world.end().await;
    }
}

struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("SIMULATION_SEED={} shows it", self.0);
    }
}

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

#[tokio::test]
async fn one_distribution_refused_for_an_hour_delays_no_other() {
    let hour = Duration::from_hours(1);
    let nature = Nature {
        refused: Some(("E1".to_owned(), hour)),
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
        let letters = world.store.dead_letters(None, 10).await.unwrap();
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
    assert_eq!(world.store.count_dead_letters(1).await.unwrap(), 0);
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
