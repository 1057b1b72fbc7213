//! The last step: fills what a plan leaves free under its limits, the best bargains first.

use super::{
    optimum::Solution,
    tally::{Tally, float},
    terms::{Ceilings, Prices},
    trie::{Node, Trie},
};

/// Each round fills at least one place; few rounds fill nearly all.
const MOST_ROUNDS: usize = 32;

/// A change of a plan at one node.
struct Bargain {
    at: usize,
    how: Way,
    change: Tally,
    saves: f64,
    /// What it saves for the share of the room that it takes.
    worth: f64,
}

#[derive(Clone, Copy)]
enum Way {
    /// Make the node's wildcard.
    Merge,
    /// Replace the wildcard by what is the best below it.
    Split,
    /// Do as the other plan does there.
    LikeOther,
}

impl Trie {
    /// Makes a plan cheaper without leaving the limits, with the help of another one that does not keep them.
    pub(super) fn refine(
        &self,
        mut solution: Solution,
        other: &Solution,
        prices: &Prices,
        limits: Ceilings,
        permitted: impl Fn(&Node) -> bool,
    ) -> Solution {
        let instead_of_other = self.instead(&other.taken);
        for _ in 0..MOST_ROUNDS {
            let instead = self.instead(&solution.taken);
            let mut bargains = Vec::new();
            self.made(&solution.taken, 0..self.nodes.len(), |at| {
                let node = &self.nodes[at];
                let mut offer = |how, change: Tally| {
                    let bargain = Bargain::of(at, how, change, solution.tally, prices, limits);
                    bargains.extend(bargain);
                };
                let has = |solution: &Solution, instead: &[Tally]| {
                    if solution.taken[at] {
                        node.whole
                    } else {
                        instead[at]
                    }
                };
                let now = has(&solution, &instead);
                if solution.taken[at] {
                    offer(Way::Split, instead[at] - now);
                } else if permitted(node) {
                    offer(Way::Merge, node.whole - now);
                }
                offer(Way::LikeOther, has(other, &instead_of_other) - now);
            });
            if bargains.is_empty() {
                break;
            }
            bargains.sort_by(|a, b| {
                let order = b.worth.total_cmp(&a.worth);
                order
                    .then(b.saves.total_cmp(&a.saves))
                    .then(a.at.cmp(&b.at))
            });
            self.strike(&bargains, &mut solution, other, limits);
        }
        solution
    }

    /// Changes the plan at as many nodes as fit, none above another.
    fn strike(
        &self,
        bargains: &[Bargain],
        solution: &mut Solution,
        other: &Solution,
        limits: Ceilings,
    ) {
        let mut settled = vec![false; self.nodes.len()];
        for bargain in bargains {
            let at = bargain.at;
            let tally = solution.tally + bargain.change;
            if settled[at] || !limits.permit(tally) {
                continue;
            }
            solution.tally = tally;
            let below = self.nodes[at].begin..at;
            match bargain.how {
                Way::Merge => solution.taken[at] = true,
                Way::Split => solution.taken[at] = false,
                Way::LikeOther => {
                    let all = below.start..=at;
                    solution.taken[all.clone()].copy_from_slice(&other.taken[all]);
                }
            }
            settled[below].fill(true);
            let mut up = Some(at);
            while let Some(node) = up.filter(|node| !settled[*node]) {
                settled[node] = true;
                up = self.nodes[node].parent;
            }
        }
    }
}

impl Bargain {
    /// A change that saves something and fits.
    fn of(
        at: usize,
        how: Way,
        change: Tally,
        now: Tally,
        prices: &Prices,
        limits: Ceilings,
    ) -> Option<Self> {
        let saves = -prices.of(change);
        if saves <= 0.0 || !limits.permit(now + change) {
            return None;
        }
        let share = |more: f64, room: f64| if more > 0.0 { more / room } else { 0.0 };
        let takes = share(change.items, float(limits.items) - now.items)
            + share(change.wildcards, float(limits.wildcards) - now.wildcards);
        Some(Self {
            at,
            how,
            change,
            saves,
            worth: saves / takes,
        })
    }
}
