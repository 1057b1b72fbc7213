//! The alternatives: which plans are the best at some price.

use super::{
    merging::Merging,
    optimum::Solution,
    tally::float,
    terms::{Ceilings, Prices},
};

/// More are too many to read.
const MOST_POINTS: usize = 64;

/// A plan that is the best at some price of a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The lowest price of a path at which it is the best.
    pub path: f64,
    /// Wildcards included.
    pub items: usize,
    pub wildcards: usize,
    pub evictions: usize,
}

impl Merging<'_> {
    /// The plans that are the best at some price of a path, for falling prices: from the fewest items to the
    /// fewest evictions. If there are very many, some are left out. The ceilings hold for all of them.
    pub fn curve(&self, prices: &Prices, ceilings: Ceilings) -> Vec<Point> {
        let free = Prices {
            path: 0.0,
            ..*prices
        };
        let corners = self.corners(&free);
        let mut points: Vec<Point> = Vec::new();
        let mut above = f64::INFINITY;
        for (at, corner) in corners.iter().enumerate() {
            let next = corners.get(at + 1);
            let path = next.map_or(0.0, |next| meeting(&free, corner, next));
            let size = if ceilings == Ceilings::NONE {
                self.size(corner)
            } else {
                let inside = Prices {
                    path: path.midpoint(above.min(2.0 * path + 1.0)),
                    ..free
                };
                self.size(&self.trie.plan(&inside, self.limits(ceilings)))
            };
            above = path;
            let point = Point {
                path,
                items: size.items,
                wildcards: size.wildcards,
                evictions: size.evictions,
            };
            match points.last_mut() {
                Some(last) if Point { path, ..*last } == point => last.path = path,
                _ => points.push(point),
            }
        }
        points
    }

    /// The corners of the convex hull, from the fewest items to the most.
    fn corners(&self, free: &Prices) -> Vec<Solution> {
        let solve = |path: f64| {
            let prices = Prices { path, ..*free };
            self.trie
                .optimum(&prices, |node| node.allowed && node.listed)
        };
        // A wildcard saves at least one item, and costs no more than this.
        let highest = 1.0 + free.wildcard + free.eviction * float(self.trie.unchanged);
        // Each with whether there may be a corner between it and the next one.
        let mut corners = vec![(solve(highest), true)];
        let last = solve(0.0);
        if last.tally == corners[0].0.tally {
            return vec![last];
        }
        corners.push((last, false));
        while corners.len() < MOST_POINTS {
            let gap = |at: usize| {
                let (one, other) = (corners[at].0.tally, corners[at + 1].0.tally);
                (other.items - one.items) * free.of(one - other)
            };
            let open = (0..corners.len()).filter(|at| corners[*at].1);
            let Some(at) = open.max_by(|a, b| gap(*a).total_cmp(&gap(*b))) else {
                break;
            };
            let (one, other) = (&corners[at].0, &corners[at + 1].0);
            let middle = solve(meeting(free, one, other));
            let items = middle.tally.items;
            if items > one.tally.items && items < other.tally.items {
                corners.insert(at + 1, (middle, true));
            } else {
                corners[at].1 = false;
            }
        }
        corners.into_iter().map(|(corner, _)| corner).collect()
    }
}

/// The price of a path at which two solutions cost the same.
fn meeting(free: &Prices, fewer: &Solution, more: &Solution) -> f64 {
    let dearer = free.of(fewer.tally) - free.of(more.tally);
    dearer / (more.tally.items - fewer.tally.items)
}
