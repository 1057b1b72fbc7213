//! The inputs and the faults of a simulation, drawn by a seed.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use super::{
    nature::{FOR_EVER, Faults, Ill, Nature, Trouble},
    simulation::{Input, nature},
};

/// Inputs and faults, all from one seed.
pub fn story(seed: u64) -> (Nature, Vec<(Duration, Input)>) {
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
    add_troubles(seed, &mut nature, &mut inputs);
    inputs.sort_by_key(|(at, _)| *at);
    (nature, inputs)
}

/// What else goes wrong. Each trouble is drawn for one seed in three or four, and each by itself.
fn add_troubles(seed: u64, nature: &mut Nature, inputs: &mut Vec<(Duration, Input)>) {
    let random = &mut fastrand::Rng::with_seed(!seed);
    if random.u8(..) < 128 {
        ill(random, nature);
    }
    if random.u8(..) < 85 {
        bad_items(random, nature, inputs);
    }
    if random.u8(..) < 85 {
        people(random, nature, inputs);
    }
    if random.u8(..) < 64 {
        let from = seconds(random, 0..400);
        let span = seconds(random, 60..1_200);
        nature.blind.push((from, from + span));
    }
    if random.u8(..) < 64 {
        let id = any(random, nature);
        let until = seconds(random, 30..1_200);
        let unread = Ill::new(&id, Trouble::Unread, Duration::ZERO..until);
        nature.ills.push(unread);
    }
    if random.u8(..) < 64 {
        // Just after something came in, which is then from the future.
        let at = random.choice(inputs.iter()).unwrap().0;
        let at = at + Duration::from_millis(random.u64(1..3_000));
        inputs.push((at, Input::SetBack(Duration::from_hours(1))));
    }
}

fn seconds(random: &mut fastrand::Rng, range: Range<u64>) -> Duration {
    Duration::from_secs(random.u64(range))
}

fn any(random: &mut fastrand::Rng, nature: &Nature) -> String {
    random.choice(nature.distributions.iter()).unwrap().clone()
}

/// One distribution is refused for a part of the run, for as long as anything comes in and far
/// beyond, or, where it was deleted, for ever.
fn ill(random: &mut fastrand::Rng, nature: &mut Nature) {
    let id = any(random, nature);
    let from = seconds(random, 0..400);
    if random.u8(..) < 85 {
        let unlisted = from + seconds(random, 1..1_200);
        let end = FOR_EVER.end;
        nature.ills.push(Ill::new(&id, Trouble::Gone, from..end));
        let unlisted = Ill::new(&id, Trouble::Unlisted, unlisted..end);
        nature.ills.push(unlisted);
        return;
    }
    let trouble = random
        .choice([Trouble::Denied, Trouble::Throttled])
        .unwrap();
    let span = if random.bool() {
        from..from + seconds(random, 30..1_200)
    } else {
        Duration::ZERO..Duration::from_hours(2)
    };
    nature.ills.push(Ill::new(&id, trouble, span));
}

/// Of one distribution's keys, one in a hundred or one in ten is in no batch that is taken.
fn bad_items(random: &mut fastrand::Rng, nature: &mut Nature, inputs: &mut Vec<(Duration, Input)>) {
    let id = any(random, nature);
    let share = random.choice([100, 10]).unwrap();
    let keys = |from: usize| (from..from + 100).map(|nth| format!("bad/{nth}")).collect();
    for nth in 0..2 {
        let at = seconds(random, 5..300);
        inputs.push((at, Input::Events(id.clone(), keys(100 * nth))));
    }
    let bad = (0..200).filter(|nth| nth % share == 7);
    nature.bad = bad.map(|nth| format!("/bad/{nth}")).collect();
}

/// People ask for path after path of one distribution.
fn people(random: &mut fastrand::Rng, nature: &Nature, inputs: &mut Vec<(Duration, Input)>) {
    let id = any(random, nature);
    let from = seconds(random, 5..120);
    let every = random.u64(1..4);
    for nth in 0..random.u64(30..120) {
        let paths = vec![format!("/asked/{nth}")];
        let at = from + Duration::from_secs(every * nth);
        inputs.push((at, Input::Request(id.clone(), paths)));
    }
}
