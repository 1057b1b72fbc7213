//! The byte trie of what is wanted, without recursion: a path may have 4,000 bytes.
//!
//! A wildcard that covers certain paths is the best if its stem is as long as possible: all bytes that they
//! share, without the beginning of an escape. So only the places where the trie branches matter.

use std::mem;

use super::{
    tally::Tally,
    terms::{Bar, Guard, Known},
    wanted::{Need, Wanted},
};
use crate::domain::path::legal_stem;

/// A place where wanted paths part, and the wildcard that covers all of them.
#[derive(Debug)]
pub(super) struct Node {
    /// The next node upwards.
    pub(super) parent: Option<usize>,
    /// The first of the nodes below, which come directly before this one.
    pub(super) begin: usize,
    /// The first and the last need that it covers.
    pub(super) first: usize,
    pub(super) last: usize,
    /// The length of the wildcard's stem.
    pub(super) stem: usize,
    /// Whether the wildcard may be made at all.
    pub(super) allowed: bool,
    /// Which rule of the guard bars the wildcard, although it is one of its own and its keys are known.
    pub(super) barred: Option<Bar>,
    /// Whether all keys that it covers are known.
    pub(super) listed: bool,
    /// How many unchanged keys it covers, of those that are known.
    pub(super) evictions: usize,
    /// The wildcard by itself.
    pub(super) whole: Tally,
    /// The needs that no node below covers.
    pub(super) direct: Tally,
}

/// The nodes, each after all those below it.
#[derive(Debug)]
pub(super) struct Trie {
    pub(super) nodes: Vec<Node>,
    /// The needs that no node covers: one at the most.
    pub(super) loose: Tally,
    /// How many of the known keys nobody wants invalidated.
    pub(super) unchanged: usize,
}

impl Trie {
    pub(super) fn new<'a>(wanted: &Wanted<'a>, mut known: Known<'a>, guard: &Guard) -> Self {
        let needs = &wanted.needs;
        let (mut nodes, loose) = branches(needs);
        let keys = wanted.unchanged(mem::take(&mut known.keys));
        let places = places(needs, &keys);
        for at in 0..nodes.len() {
            let node = &nodes[at];
            let shared = &needs[node.first].text[..node.stem];
            let above = node.parent.map_or(0, |parent| nodes[parent].stem);
            let stem = legal_stem(shared);
            // Otherwise, the wildcard is that of the node above. The parent's own stem is still uncut, since
            // parents come later.
            let distinct = stem.len() > above;
            let listed = known.has_all(stem);
            let (first, last) = (places[node.first], places[node.last]);
            let evictions = if distinct {
                before(&keys[..first], stem) + behind(&keys[last..], stem) + (last - first)
            } else {
                0
            };
            let bar = guard.bar(stem, evictions > 0 || !listed);
            let allowed = distinct && bar.is_none() && (listed || guard.unlisted);
            let stem = stem.len();
            let node = &mut nodes[at];
            node.stem = stem;
            node.allowed = allowed;
            node.barred = bar.filter(|_| distinct && listed);
            node.listed = listed;
            node.evictions = evictions;
            node.whole = Tally::of(1, 1, evictions);
        }
        Self {
            nodes,
            loose,
            unchanged: keys.len(),
        }
    }
}

/// The trie's nodes, with the bytes that their paths share as stems.
fn branches(needs: &[Need<'_>]) -> (Vec<Node>, Tally) {
    let mut nodes: Vec<Node> = Vec::with_capacity(needs.len().saturating_sub(1));
    let mut loose = Tally::default();
    // The nodes that the current need is under, each longer than the one before.
    let mut open: Vec<Node> = Vec::new();
    let mut before = 0;
    for (at, need) in needs.iter().enumerate() {
        let next = needs
            .get(at + 1)
            .map_or(0, |next| shared(need.text, next.text));
        let mut first = at;
        if next > before {
            open.push(Node::beginning(at, nodes.len(), next));
        }
        match open.last_mut() {
            Some(node) => node.direct += need.tally(),
            None => loose += need.tally(),
        }
        let mut begin = nodes.len();
        // Nodes that end here, and so have all of their needs.
        while open.last().is_some_and(|node| node.stem > next) {
            let Some(mut node) = open.pop() else { break };
            node.last = at;
            (first, begin) = (node.first, node.begin);
            nodes.push(node);
        }
        if next > 0 && open.last().is_none_or(|node| node.stem < next) {
            open.push(Node::beginning(first, begin, next));
        }
        before = next;
    }
    connect(&mut nodes);
    (nodes, loose)
}

/// Sets the parents of nodes that come after those below them.
fn connect(nodes: &mut [Node]) {
    let mut orphans: Vec<usize> = Vec::new();
    for at in 0..nodes.len() {
        while let Some(child) = orphans.pop_if(|child| *child >= nodes[at].begin) {
            nodes[child].parent = Some(at);
        }
        orphans.push(at);
    }
}

impl Node {
    fn beginning(first: usize, begin: usize, stem: usize) -> Self {
        Self {
            parent: None,
            begin,
            first,
            last: first,
            stem,
            allowed: false,
            barred: None,
            listed: false,
            evictions: 0,
            whole: Tally::default(),
            direct: Tally::default(),
        }
    }
}

impl Need<'_> {
    /// What it costs by itself, as far as that may be saved.
    fn tally(&self) -> Tally {
        match self {
            Need { fixed: true, .. } => Tally::default(),
            Need { wildcard, .. } => Tally::of(1, usize::from(*wildcard), 0),
        }
    }
}

/// How many bytes two texts share.
fn shared(one: &str, other: &str) -> usize {
    let pairs = one.bytes().zip(other.bytes());
    pairs.take_while(|(one, other)| one == other).count()
}

/// How many keys sort before each need.
fn places(needs: &[Need<'_>], keys: &[&str]) -> Vec<usize> {
    let mut at = 0;
    let place = |need: &Need<'_>| {
        at += keys[at..]
            .iter()
            .take_while(|key| **key < need.text)
            .count();
        at
    };
    needs.iter().map(place).collect()
}

/// How many of the last keys have a prefix.
fn before(keys: &[&str], prefix: &str) -> usize {
    gallop(keys.len(), |back| {
        keys[keys.len() - 1 - back].starts_with(prefix)
    })
}

/// How many of the first keys have a prefix.
fn behind(keys: &[&str], prefix: &str) -> usize {
    gallop(keys.len(), |at| keys[at].starts_with(prefix))
}

/// How many of the numbers below `end`, from 0 on, something holds for. The time it takes depends on the
/// answer, not on `end`.
fn gallop(end: usize, holds: impl Fn(usize) -> bool) -> usize {
    let mut step = 1;
    let mut low = 0;
    while low + step <= end && holds(low + step - 1) {
        low += step;
        step *= 2;
    }
    // It holds below `low`, and not at `high`.
    let mut high = end.min(low + step - 1);
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
