//! The dynamic programme: which wildcards cost less than what they replace.

use std::ops::Range;

use super::{
    tally::Tally,
    terms::Prices,
    trie::{Node, Trie},
};

/// Which wildcards a plan has.
#[derive(Debug, Clone)]
pub(super) struct Solution {
    /// For each node, whether its wildcard is made, unless one above is. Below a wildcard, this says what
    /// would replace it.
    pub(super) taken: Vec<bool>,
    pub(super) tally: Tally,
}

impl Trie {
    /// The cheapest plan of those whose wildcards are all permitted.
    pub(super) fn optimum(&self, prices: &Prices, permitted: impl Fn(&Node) -> bool) -> Solution {
        let mut taken = vec![false; self.nodes.len()];
        let tally = self.upwards(|at, split| {
            let node = &self.nodes[at];
            taken[at] = permitted(node) && node.whole.is_better(split, prices);
            taken[at]
        });
        Solution { taken, tally }
    }

    /// Adds up a plan from the bottom. At each node, it asks whether the wildcard replaces what there is
    /// otherwise.
    pub(super) fn upwards(&self, mut replaces: impl FnMut(usize, Tally) -> bool) -> Tally {
        let mut total = self.loose;
        let mut below = vec![Tally::default(); self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            let split = below[at] + node.direct;
            let best = if replaces(at, split) {
                node.whole
            } else {
                split
            };
            match node.parent {
                Some(parent) => below[parent] += best,
                None => total += best,
            }
        }
        total
    }

    /// For each node, what a plan has instead of its wildcard.
    pub(super) fn instead(&self, taken: &[bool]) -> Vec<Tally> {
        let mut instead = Vec::with_capacity(taken.len());
        self.upwards(|at, split| {
            instead.push(split);
            taken[at]
        });
        instead
    }

    /// The nodes whose wildcards a plan has, from the last to the first, of a range of nodes. With `visit`,
    /// one looks at those above them as well.
    pub(super) fn made(
        &self,
        taken: &[bool],
        range: Range<usize>,
        mut visit: impl FnMut(usize),
    ) -> Vec<usize> {
        let mut made = Vec::new();
        let mut end = range.end;
        while end > range.start {
            let at = end - 1;
            visit(at);
            end = at;
            if taken[at] {
                made.push(at);
                end = self.nodes[at].begin;
            }
        }
        made
    }
}
