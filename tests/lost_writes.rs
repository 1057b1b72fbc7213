//! A write of the dispatch is made and reported as failed, as when the connection to the store breaks
//! during a commit: nothing is lost, sent twice, or believed to be in progress for ever.

use std::time::Duration;

use purgefront::domain::batch::Usage;

use crate::support::{
    nature::{Faults, Nature},
    simulation::{Input, World, nature},
};

#[tokio::test]
async fn a_write_whose_outcome_is_unknown_is_looked_up() {
    let ids = ["E1", "E2", "E3"];
    let nature = Nature {
        faults: Faults {
            throttled: 0.1,
            lost_after: 0.1,
            denied: 0.1,
            ..Faults::default()
        },
        bad: (0..200).step_by(20).map(|nth| format!("/k{nth}")).collect(),
        ..nature(&ids)
    };
    for seed in 0..6 {
        let world = World::start(nature.clone(), seed).await;
        world.inside.store.tap.lose_replies(0.2, seed);
        let mut inputs = Vec::new();
        for nth in 0..12 {
            let id = ids[nth % 3].to_owned();
            let at = Duration::from_secs(20 * nth as u64);
            let input = if nth % 4 == 0 {
                Input::Request(id, vec![format!("/asked-{nth}")])
            } else {
                let keys = (0..60).map(|key| format!("k{}", nth * 10 + key));
                Input::Events(id, keys.collect())
            };
            inputs.push((at, input));
        }
        world
            .play_to_the_end(&inputs, Duration::from_hours(12))
            .await;
        world.holds().await;
        let status = world.inside.status.borrow().clone();
        for (id, one) in &status.distributions {
            assert_eq!(one.unresolved.batches, 0, "{id}, seed {seed}");
            assert_eq!(one.in_progress, Usage::default(), "{id}, seed {seed}");
        }
        world.end().await;
    }
}
