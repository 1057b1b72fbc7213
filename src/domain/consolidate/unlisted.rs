//! Widening where it is not known which keys there are. Only a ceiling forces it, and then the narrowest
//! wildcards come first.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    optimum::Solution,
    terms::{Ceilings, Prices},
    trie::Trie,
};

impl Trie {
    /// The cheapest plan under the limits that evicts only keys that are known; if there is none, one whose
    /// other wildcards are as narrow as possible.
    pub(super) fn plan(&self, prices: &Prices, limits: Ceilings) -> Solution {
        let cautious = self.within(prices, limits, |node| node.allowed && node.listed);
        if limits.permit(cautious.tally) {
            return cautious;
        }
        let unlisted = self
            .nodes
            .iter()
            .filter(|node| node.allowed && !node.listed);
        let mut stems: Vec<_> = unlisted.map(|node| node.stem).collect();
        stems.sort_unstable_by_key(|stem| Reverse(*stem));
        stems.dedup();
        let Some(shortest) = stems.last().copied() else {
            return cautious;
        };
        let down_to = |stem: usize| {
            self.within(prices, limits, |node| {
                node.allowed && (node.listed || node.stem >= stem)
            })
        };
        let enough = stems.partition_point(|stem| !limits.permit(down_to(*stem).tally));
        let found = down_to(stems.get(enough).copied().unwrap_or(shortest));
        self.narrow(found, &cautious, limits)
    }

    /// Takes back wildcards over unknown keys, the widest first, as far as the limits permit.
    fn narrow(&self, mut found: Solution, cautious: &Solution, limits: Ceilings) -> Solution {
        let instead = self.instead(&found.taken);
        let of_cautious = self.instead(&cautious.taken);
        let rank = |at: usize| (Reverse(self.nodes[at].stem), at);
        let is_unlisted = |at: &usize| !self.nodes[*at].listed;
        let made = self.made(&found.taken, 0..self.nodes.len(), |_| {});
        let mut widest: BinaryHeap<_> = made.into_iter().filter(is_unlisted).map(rank).collect();
        while let Some((_, at)) = widest.pop() {
            let node = &self.nodes[at];
            let below = node.begin..at;
            let without = found.tally + of_cautious[at] - node.whole;
            let narrower = found.tally + instead[at] - node.whole;
            if limits.permit(without) {
                found.taken[below.clone()].copy_from_slice(&cautious.taken[below]);
                found.taken[at] = false;
                found.tally = without;
            } else if limits.permit(narrower) {
                found.taken[at] = false;
                found.tally = narrower;
                let made = self.made(&found.taken, below, |_| {});
                widest.extend(made.into_iter().filter(is_unlisted).map(rank));
            }
        }
        found
    }
}
