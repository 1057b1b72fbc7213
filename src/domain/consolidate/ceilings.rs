//! Keeps a plan under its ceilings, by raising the price of what there is too much of.
//!
//! What is cheapest at a raised price is also cheapest among the plans with as many items, so no plan that it
//! skips is better. Where no price leads to the exact number, there is a gap: [`counted`] fills that of the
//! wildcards exactly if there is not too much to count, and [`refine`] fills the rest greedily.
//!
//! [`counted`]: Trie::counted
//! [`refine`]: Trie::refine

use std::ops::Add as _;

use super::{
    optimum::Solution,
    tally::{Tally, float},
    terms::{Ceilings, Prices},
    trie::{Node, Trie},
};

/// Far more than it takes: each step finds another corner of the hull.
const MOST_STEPS: usize = 64;

impl Ceilings {
    /// What is left beside other items.
    pub(super) fn beside(self, items: usize, wildcards: usize) -> Self {
        let left = |ceiling: usize, used| match ceiling {
            usize::MAX => usize::MAX,
            ceiling => ceiling.saturating_sub(used),
        };
        Self {
            items: left(self.items, items),
            wildcards: left(self.wildcards, wildcards),
        }
    }

    pub(super) fn permit(self, tally: Tally) -> bool {
        tally.items <= float(self.items) && tally.wildcards <= float(self.wildcards)
    }
}

/// What a ceiling counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    Items,
    Wildcards,
}

impl Counted {
    fn of(self, solution: &Solution) -> f64 {
        match self {
            Self::Items => solution.tally.items,
            Self::Wildcards => solution.tally.wildcards,
        }
    }

    fn raise(self, prices: &Prices, by: f64) -> Prices {
        let mut raised = *prices;
        match self {
            Self::Items => raised.path += by,
            Self::Wildcards => raised.wildcard += by,
        }
        raised
    }
}

impl Trie {
    /// The cheapest plan that was found under the limits; if they permit none, the plan that comes closest.
    pub(super) fn within(
        &self,
        prices: &Prices,
        limits: Ceilings,
        permitted: impl Fn(&Node) -> bool + Copy,
    ) -> Solution {
        let all = Ceilings {
            items: usize::MAX,
            ..limits
        };
        let few_wildcards = |prices: &Prices| {
            let solve = |prices: &Prices| self.optimum(prices, permitted);
            let (found, other) = self.raise(Counted::Wildcards, limits.wildcards, prices, solve);
            let Some(other) = other else { return found };
            if found.tally.wildcards >= float(limits.wildcards) {
                return found;
            }
            let counted = self.counted(prices, limits.wildcards, permitted);
            counted.unwrap_or_else(|| self.refine(found, &other, prices, all, permitted))
        };
        match self.raise(Counted::Items, limits.items, prices, few_wildcards) {
            (found, Some(other)) => self.refine(found, &other, prices, limits, permitted),
            (found, None) => found,
        }
    }

    /// The cheapest solution at the lowest price at which there are not too many, and the one at the next
    /// lower price, if the price had to be raised.
    fn raise(
        &self,
        counted: Counted,
        limit: usize,
        prices: &Prices,
        solve: impl Fn(&Prices) -> Solution,
    ) -> (Solution, Option<Solution>) {
        let limit = float(limit);
        let mut over = solve(prices);
        if counted.of(&over) <= limit {
            return (over, None);
        }
        // No plan costs more, so this price is as good as an infinite one.
        let highest = 1.0 + prices.of(self.dearest());
        let mut found = solve(&counted.raise(prices, highest));
        if counted.of(&found) > limit {
            return (found, None);
        }
        for _ in 0..MOST_STEPS {
            // The price at which both cost the same.
            let dearer = prices.of(found.tally) - prices.of(over.tally);
            let price = dearer / (counted.of(&over) - counted.of(&found));
            let middle = solve(&counted.raise(prices, price.max(0.0)));
            let number = counted.of(&middle);
            if number <= counted.of(&found) || number >= counted.of(&over) {
                break;
            }
            if number <= limit {
                found = middle;
            } else {
                over = middle;
            }
        }
        (found, Some(over))
    }

    /// More than any plan that may be the cheapest has of anything.
    fn dearest(&self) -> Tally {
        let evictions = Tally::of(0, 0, self.unchanged);
        let direct = self.nodes.iter().map(|node| node.direct);
        let tally = direct.fold(self.loose + evictions, Tally::add);
        Tally {
            wildcards: tally.items,
            ..tally
        }
    }
}
