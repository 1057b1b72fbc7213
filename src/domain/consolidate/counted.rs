//! The dynamic programme with the number of wildcards as a dimension: exact under a ceiling, but with more
//! work for each node.

use std::ops::Range;

use super::{
    optimum::Solution,
    tally::Tally,
    terms::Prices,
    trie::{Node, Trie},
};

/// How many numbers of wildcards may be looked at, over all nodes. That takes some hundredths of a second.
const MOST_CELLS: usize = 1 << 20;

/// For each number of wildcards, the cheapest that has at most as many. The last one is the cheapest of all.
type Row = Vec<Tally>;

impl Tally {
    /// For what would have more wildcards.
    const IMPOSSIBLE: Self = Self {
        items: f64::INFINITY,
        wildcards: 0.0,
        evictions: 0.0,
    };
}

impl Trie {
    /// The cheapest plan with at most so many wildcards, if there is one, and if the trie is small enough.
    pub(super) fn counted(
        &self,
        prices: &Prices,
        most: usize,
        permitted: impl Fn(&Node) -> bool,
    ) -> Option<Solution> {
        // All paths begin with a slash, so that the last node is above all others.
        let root = self.nodes.len().checked_sub(1)?;
        if most >= MOST_CELLS / self.nodes.len() {
            return None;
        }
        let mut rows: Vec<Row> = Vec::with_capacity(self.nodes.len());
        for (at, node) in self.nodes.iter().enumerate() {
            let mut row = self.sums(at, &rows, prices, most).pop()?;
            if permitted(node) && most > 0 {
                row.resize(row.len().max(2), row[row.len() - 1]);
                for tally in &mut row[1..] {
                    if node.whole.is_better(*tally, prices) {
                        *tally = node.whole;
                    }
                }
            }
            rows.push(row);
        }
        let tally = up_to(&rows[root], most);
        if tally.items.is_infinite() {
            return None;
        }
        let mut taken = vec![false; self.nodes.len()];
        let mut parts = vec![(root, most)];
        while let Some((at, most)) = parts.pop() {
            let sums = self.sums(at, &rows, prices, most);
            let split = sums.last().map(|row| up_to(row, most))?;
            let node = &self.nodes[at];
            if most > 0 && permitted(node) && node.whole.is_better(split, prices) {
                taken[at] = true;
            } else {
                self.share(at, most, &sums, &rows, prices, &mut parts);
            }
        }
        Some(Solution { taken, tally })
    }

    /// The nodes directly below one, from the last to the first.
    fn children(&self, at: usize) -> impl Iterator<Item = usize> {
        let Range { start, mut end } = self.nodes[at].begin..at;
        std::iter::from_fn(move || {
            let child = (end > start).then(|| end - 1)?;
            end = self.nodes[child].begin;
            Some(child)
        })
    }

    /// The rows of a node's own needs, of them and its last child, of them and its last two, and so on.
    fn sums(&self, at: usize, rows: &[Row], prices: &Prices, most: usize) -> Vec<Row> {
        let direct = self.nodes[at].direct;
        let mut row = Vec::new();
        // Wildcards that are wanted can be more than there may be.
        while row.len() <= most
            && !row
                .last()
                .is_some_and(|last: &Tally| last.items.is_finite())
        {
            let enough = Tally::of(0, row.len(), 0).wildcards >= direct.wildcards;
            row.push(if enough { direct } else { Tally::IMPOSSIBLE });
        }
        let mut sums = vec![row];
        for child in self.children(at) {
            let row = sum(&sums[sums.len() - 1], &rows[child], prices, most);
            sums.push(row);
        }
        sums
    }

    /// Shares wildcards out among the children of a node.
    fn share(
        &self,
        at: usize,
        mut most: usize,
        sums: &[Row],
        rows: &[Row],
        prices: &Prices,
        parts: &mut Vec<(usize, usize)>,
    ) {
        let children: Vec<_> = self.children(at).collect();
        for (child, before) in children.into_iter().zip(sums).rev() {
            let with = |number: usize| up_to(before, most - number) + up_to(&rows[child], number);
            let mut best = 0;
            for number in 1..=most.min(rows[child].len() - 1) {
                if with(number).is_better(with(best), prices) {
                    best = number;
                }
            }
            parts.push((child, best));
            most -= best;
        }
    }
}

/// The cheapest with at most so many wildcards.
fn up_to(row: &Row, number: usize) -> Tally {
    row[number.min(row.len() - 1)]
}

/// The row of two parts together.
fn sum(one: &Row, other: &Row, prices: &Prices, most: usize) -> Row {
    let length = (one.len() + other.len() - 1).min(most + 1);
    let mut row = vec![Tally::IMPOSSIBLE; length];
    for (number, of_one) in one.iter().enumerate() {
        for (place, of_other) in row[number.min(length)..].iter_mut().zip(other) {
            let both = *of_one + *of_other;
            if both.is_better(*place, prices) {
                *place = both;
            }
        }
    }
    for number in 1..length {
        if row[number - 1].is_better(row[number], prices) {
            row[number] = row[number - 1];
        }
    }
    row
}
