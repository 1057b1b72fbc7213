//! What goes wrong with each call, drawn from a seed.

use std::collections::HashSet;

use super::Fault;

pub(super) struct Chaos {
    random: fastrand::Rng,
    /// Distributions whose last call was lost.
    lost: HashSet<String>,
}

impl Chaos {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            lost: HashSet::new(),
        }
    }

    /// What goes wrong with the next call for a distribution.
    pub(super) fn draw(&mut self, distribution_id: &str) -> Option<Fault> {
        // After a lost call comes, more often than not, the refusal that tempts one to forget it.
        let was_lost = self.lost.remove(distribution_id);
        let drawn = match self.random.u8(..100) {
            0..75 if was_lost => Some(Fault::Throttling),
            0..10 => Some(Fault::Throttling),
            10..15 => Some(Fault::TooManyInProgress),
            15..25 => Some(Fault::Status(503)),
            25..32 => Some(Fault::LostBefore),
            32..52 => Some(Fault::LostAfter),
            _ => None,
        };
        if matches!(drawn, Some(Fault::LostBefore | Fault::LostAfter)) {
            self.lost.insert(distribution_id.to_owned());
        }
        drawn
    }
}
