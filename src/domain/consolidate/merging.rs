//! From what has to be invalidated to the items that do it at the least price.

use std::fmt;

use super::{
    optimum::Solution,
    tally::float,
    terms::{Bar, Ceilings, Guard, Known, Prices},
    trie::{Node, Trie},
    wanted::{Need, Wanted},
};
use crate::domain::path::Item;

/// What has to be invalidated, and all ways to merge it.
#[derive(Debug)]
pub struct Merging<'a> {
    pub(super) wanted: Wanted<'a>,
    pub(super) trie: Trie,
}

/// The items of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The paths in byte order, and then the tags.
    pub items: Vec<Item>,
    pub wildcards: usize,
    /// How many unchanged keys they evict, of those that are known.
    pub evictions: usize,
    /// Whether there may be more evictions, as a wildcard covers keys that are not known.
    pub beyond_known: bool,
    /// Whether the ceilings are kept.
    pub obeys: bool,
    /// Those of the wildcards that nobody wanted, in byte order.
    pub made: Vec<Made>,
}

/// A wildcard that merging makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub item: Item,
    /// How many unchanged keys it evicts; `None` if it covers keys that are not known.
    pub evictions: Option<usize>,
}

/// A wildcard that would have been made without the guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prevented {
    pub item: Item,
    pub bar: Bar,
    /// How many wanted paths and wildcards it would have replaced.
    pub replaces: usize,
}

impl fmt::Display for Prevented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { item, replaces, .. } = self;
        let why = match self.bar {
            Bar::Protected => "it covers what economy.protected has",
            Bar::MinStem => "its stem is shorter than economy.min_stem",
            Bar::Root => "economy.allow_root is false",
            Bar::Resting => "it was sent less than economy.min_interval ago",
            Bar::Refused => "CloudFront has refused it",
        };
        write!(f, "{item} would have replaced {replaces} items, but {why}")
    }
}

impl<'a> Merging<'a> {
    pub fn new(wanted: Wanted<'a>, known: Known<'a>, guard: &Guard) -> Self {
        let trie = Trie::new(&wanted, known, guard);
        Self { wanted, trie }
    }

    /// The items that cover all that is wanted and cost least, under the ceilings.
    pub fn cheapest(&self, prices: &Prices, ceilings: Ceilings) -> Merged {
        let mut prices = *prices;
        // The number of items counts even if they are free. At this price, all of them together are worth
        // less than one eviction.
        let least = match prices.wildcard {
            0.0 => prices.eviction / (2.0 * self.most_items()),
            _ => f64::MIN_POSITIVE,
        };
        prices.path = prices.path.max(least).max(f64::MIN_POSITIVE);
        let limits = self.limits(ceilings);
        self.merged(&self.trie.plan(&prices, limits), ceilings)
    }

    /// The wildcards that the guard has prevented: without it, each would cost less than what it replaces.
    pub fn prevented(&self, prices: &Prices) -> Vec<Prevented> {
        let nodes = &self.trie.nodes;
        if nodes.iter().all(|node| node.barred.is_none()) {
            return Vec::new();
        }
        let free = self.trie.optimum(prices, |node| {
            node.listed && (node.allowed || node.barred.is_some())
        });
        let mut made = self.trie.made(&free.taken, 0..nodes.len(), |_| {});
        made.reverse();
        let prevented = made.into_iter().filter_map(|at| {
            let node = &nodes[at];
            Some(Prevented {
                item: self.wildcard(node),
                bar: node.barred?,
                replaces: node.last + 1 - node.first,
            })
        });
        prevented.collect()
    }

    fn wildcard(&self, node: &Node) -> Item {
        Item::around(&self.wanted.needs[node.first].text[..node.stem])
    }

    /// How many items there are if nothing is merged, and one more.
    fn most_items(&self) -> f64 {
        1.0 + float(self.wanted.needs.len())
    }

    /// What ceilings leave for what may be merged.
    pub(super) fn limits(&self, ceilings: Ceilings) -> Ceilings {
        let fixed = self.wanted.needs.iter().filter(|need| need.fixed);
        let wildcards = fixed.clone().filter(|need| need.wildcard).count();
        let items = fixed.count() + self.wanted.tags.len();
        ceilings.beside(items, wildcards)
    }

    fn merged(&self, solution: &Solution, ceilings: Ceilings) -> Merged {
        let mut items = Vec::new();
        let mut beyond_known = false;
        let mut made = Vec::new();
        let size = self.walk(solution, |part| match part {
            Part::Need(need) => items.push(need.item()),
            Part::Node(node) => {
                let item = self.wildcard(node);
                items.push(item.clone());
                beyond_known |= !node.listed;
                let evictions = node.listed.then_some(node.evictions);
                made.push(Made { item, evictions });
            }
        });
        items.extend(self.wanted.tags.iter().copied().cloned());
        Merged {
            items,
            wildcards: size.wildcards,
            evictions: size.evictions,
            beyond_known,
            obeys: size.items <= ceilings.items && size.wildcards <= ceilings.wildcards,
            made,
        }
    }

    /// How large a plan is.
    pub(super) fn size(&self, solution: &Solution) -> Size {
        self.walk(solution, |_| {})
    }

    /// Visits the parts of a plan in order.
    fn walk(&self, solution: &Solution, mut visit: impl FnMut(Part<'_>)) -> Size {
        let nodes = &self.trie.nodes;
        let mut made = self.trie.made(&solution.taken, 0..nodes.len(), |_| {});
        let needs = &self.wanted.needs;
        let mut size = Size {
            items: self.wanted.tags.len(),
            ..Size::default()
        };
        let mut at = 0;
        while let Some(need) = needs.get(at) {
            size.items += 1;
            // The last of them is the first in order.
            if let Some(node) = made.pop_if(|node| nodes[*node].first == at) {
                let node = &nodes[node];
                size.wildcards += 1;
                size.evictions += node.evictions;
                visit(Part::Node(node));
                at = node.last + 1;
            } else {
                size.wildcards += usize::from(need.wildcard);
                visit(Part::Need(need));
                at += 1;
            }
        }
        size
    }
}

/// A part of a plan: what is sent as it is wanted, or a wildcard that was made.
enum Part<'a> {
    Need(&'a Need<'a>),
    Node(&'a Node),
}

/// How large a plan is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Wildcards and tags included.
    pub(super) items: usize,
    pub(super) wildcards: usize,
    pub(super) evictions: usize,
}
