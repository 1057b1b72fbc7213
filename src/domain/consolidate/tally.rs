//! What is counted of plans.

use std::ops::{Add, AddAssign, Sub};

use super::terms::Prices;

/// How much of everything a part of a plan has. These are whole numbers, as floating point because they meet
/// prices.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Tally {
    /// Wildcards included.
    pub(super) items: f64,
    pub(super) wildcards: f64,
    pub(super) evictions: f64,
}

impl Tally {
    pub(super) fn of(items: usize, wildcards: usize, evictions: usize) -> Self {
        Self {
            items: float(items),
            wildcards: float(wildcards),
            evictions: float(evictions),
        }
    }

    /// Whether it costs less than another one. Of those that cost the same, the better one evicts less, and
    /// then has fewer items and fewer wildcards.
    pub(super) fn is_better(self, other: Self, prices: &Prices) -> bool {
        let order = prices.of(self).total_cmp(&prices.of(other));
        let order = order.then(self.evictions.total_cmp(&other.evictions));
        let order = order.then(self.items.total_cmp(&other.items));
        order
            .then(self.wildcards.total_cmp(&other.wildcards))
            .is_lt()
    }
}

impl Prices {
    pub(super) fn of(&self, tally: Tally) -> f64 {
        self.path * tally.items + self.wildcard * tally.wildcards + self.eviction * tally.evictions
    }
}

/// The number in floating point, which is exact for any number of keys.
#[expect(
    clippy::cast_precision_loss,
    reason = "no machine has the memory for 2^53 keys"
)]
pub(super) fn float(number: usize) -> f64 {
    number as f64
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            items: self.items + other.items,
            wildcards: self.wildcards + other.wildcards,
            evictions: self.evictions + other.evictions,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Tally {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            items: self.items - other.items,
            wildcards: self.wildcards - other.wildcards,
            evictions: self.evictions - other.evictions,
        }
    }
}
