//! Batches: the frozen items of one `CreateInvalidation` call, and the backlogs they are made from.

use std::{collections::HashSet, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::path::{self, Item};

/// How many invalidations of a distribution, the most recent ones, tell what CloudFront has taken before.
pub const RECENT: usize = 100;

/// The content of one `CreateInvalidation` call. It is frozen and durable before the first attempt.
/// Every attempt sends exactly this list, in this order, under this reference, so that CloudFront
/// answers a resend with the existing invalidation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Our id, also of the resulting invalidation.
    pub id: Uuid,
    pub distribution_id: String,
    /// CloudFront's idempotency key: unique for every batch.
    pub caller_reference: String,
    /// The items in sending order.
    pub items: Vec<Item>,
    /// How many of the items, from the first, manual requests ask for.
    pub manual_items: usize,
    pub merges: Merges,
}

/// What merging did to a batch, for its history. Besides, it says which wildcards are not to be made again at once,
/// and that one which CloudFront refuses takes nothing with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merges {
    /// The wildcards that purgefront made by itself, in sending order.
    pub made: Vec<MadeWildcard>,
    /// What the guard prevented, in words.
    #[serde(default)]
    pub prevented: Vec<String>,
}

/// A wildcard that nobody asked for: it replaces items that cost more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeWildcard {
    pub item: Item,
    /// How many different items it replaces.
    pub replaces: usize,
    /// How many unchanged objects it evicts, as far as the listing says; `None` if that is not known.
    pub evictions: Option<usize>,
}

impl Merges {
    pub fn is_empty(&self) -> bool {
        self.made.is_empty() && self.prevented.is_empty()
    }

    /// How many items it has saved.
    pub fn saved(&self) -> usize {
        let saved = self.made.iter().map(|one| one.replaces.saturating_sub(1));
        saved.sum()
    }

    /// How many unchanged objects it evicts, as far as that is known.
    pub fn evictions(&self) -> usize {
        self.made.iter().filter_map(|one| one.evictions).sum()
    }

    /// What it did to some of the items.
    fn only(&self, items: &[Item]) -> Self {
        let made = self.made.iter().filter(|one| items.contains(&one.item));
        Self {
            made: made.cloned().collect(),
            prevented: self.prevented.clone(),
        }
    }
}

impl Batch {
    /// A batch with a new id and a new reference.
    pub fn new(distribution_id: &str, items: Vec<Item>) -> Self {
        Self {
            id: Uuid::now_v7(),
            distribution_id: distribution_id.to_owned(),
            caller_reference: Uuid::new_v4().to_string(),
            items,
            manual_items: 0,
            merges: Merges::default(),
        }
    }

    /// Two new batches that share out the items. Items of manual requests and those that CloudFront has
    /// `taken` before are kept apart from the others; if that is no difference, each gets a half.
    pub fn parts(&self, taken: &HashSet<Item>) -> [Self; 2] {
        let is_trusted = |at: usize| at < self.manual_items || taken.contains(&self.items[at]);
        let all = 0..self.items.len();
        let trusted = all.clone().filter(|at| is_trusted(*at)).count();
        if trusted == 0 || trusted == self.items.len() {
            let half = self.items.len() / 2;
            return [self.part(|at| at < half), self.part(|at| at >= half)];
        }
        [self.part(is_trusted), self.part(|at| !is_trusted(at))]
    }

    fn part(&self, has: impl Fn(usize) -> bool) -> Self {
        let positions = (0..self.items.len()).filter(|at| has(*at));
        let items: Vec<_> = positions.clone().map(|at| self.items[at].clone()).collect();
        let manual_items = positions.filter(|at| *at < self.manual_items).count();
        Self {
            manual_items,
            merges: self.merges.only(&items),
            ..Self::new(&self.distribution_id, items)
        }
    }

    /// Whether a manual request asks for any of the items.
    pub fn is_manual(&self) -> bool {
        self.manual_items > 0
    }

    /// Whether it is a wildcard that merging made, and nothing else.
    pub fn is_made(&self) -> bool {
        match self.items.as_slice() {
            [item] => self.merges.made.iter().any(|one| one.item == *item),
            _ => false,
        }
    }

    /// What the batch occupies of the pools while it is in progress.
    pub fn usage(&self) -> Usage {
        Usage::of(self.items.iter().map(Item::as_str))
    }
}

/// Items in progress at a distribution, by the two pools that `CloudFront` keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Exact paths and tags.
    pub paths: usize,
    pub wildcards: usize,
}

impl Usage {
    /// What these items occupy.
    pub fn of<'a>(items: impl IntoIterator<Item = &'a str>) -> Self {
        let mut usage = Self::default();
        for item in items {
            if path::is_wildcard(item) {
                usage.wildcards += 1;
            } else {
                usage.paths += 1;
            }
        }
        usage
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            paths: self.paths + other.paths,
            wildcards: self.wildcards + other.wildcards,
        }
    }

    /// Never goes below zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            paths: self.paths.saturating_sub(other.paths),
            wildcards: self.wildcards.saturating_sub(other.wildcards),
        }
    }
}

/// The status of a batch, as named in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// Frozen; CloudFront has not accepted it yet.
    Pending,
    /// CloudFront has created an invalidation, which is not completed yet.
    InProgress,
    /// CloudFront reports the invalidation as completed.
    Completed,
    /// It can never succeed: its items are dead letters.
    Failed,
    /// It was split or dissolved: its changes continue without it.
    Replaced,
    /// Planned in shadow mode, and never sent.
    Shadowed,
}

impl BatchStatus {
    const ALL: [Self; 6] = [
        Self::Pending,
        Self::InProgress,
        Self::Completed,
        Self::Failed,
        Self::Replaced,
        Self::Shadowed,
    ];

    /// The name in the API and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Replaced => "replaced",
            Self::Shadowed => "shadowed",
        }
    }
}

impl fmt::Display for BatchStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BatchStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownStatus)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a status is one of: pending, in_progress, completed, failed, replaced, shadowed")]
pub struct UnknownStatus;

/// What a group of waiting items has in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Whether a manual request asks for it.
    pub manual: bool,
    pub wildcard: bool,
}

/// Waiting items of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// How many, including duplicates from several changes.
    pub items: usize,
    /// When the oldest waiting change was accepted.
    pub oldest: Timestamp,
    /// When the newest was.
    pub newest: Timestamp,
}

impl Group {
    fn and(self, other: Self) -> Self {
        Self {
            items: self.items + other.items,
            oldest: self.oldest.min(other.oldest),
            newest: self.newest.max(other.newest),
        }
    }
}

/// The items that wait to be planned at one distribution, in four groups: those of manual requests and
/// those of events, each by the pool that they need. `None` if nothing of a group waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Exact paths and tags of manual requests.
    pub manual_paths: Option<Group>,
    pub manual_wildcards: Option<Group>,
    /// Exact paths and tags of events.
    pub paths: Option<Group>,
    pub wildcards: Option<Group>,
}

impl Backlog {
    /// The backlog of a single item.
    pub fn of_one(item: &Item, manual: bool, accepted_at: Timestamp) -> Self {
        let group = Some(Group {
            items: 1,
            oldest: accepted_at,
            newest: accepted_at,
        });
        let mut backlog = Self::default();
        match (manual, item.is_wildcard()) {
            (true, false) => backlog.manual_paths = group,
            (true, true) => backlog.manual_wildcards = group,
            (false, false) => backlog.paths = group,
            (false, true) => backlog.wildcards = group,
        }
        backlog
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let both = |one: Option<Group>, other: Option<Group>| match (one, other) {
            (Some(one), Some(other)) => Some(one.and(other)),
            (one, other) => one.or(other),
        };
        Self {
            manual_paths: both(self.manual_paths, other.manual_paths),
            manual_wildcards: both(self.manual_wildcards, other.manual_wildcards),
            paths: both(self.paths, other.paths),
            wildcards: both(self.wildcards, other.wildcards),
        }
    }

    /// The groups that anything waits in.
    pub fn groups(&self) -> impl Iterator<Item = (Kind, Group)> {
        let groups = [
            (true, false, self.manual_paths),
            (true, true, self.manual_wildcards),
            (false, false, self.paths),
            (false, true, self.wildcards),
        ];
        groups
            .into_iter()
            .filter_map(|(manual, wildcard, group)| Some((Kind { manual, wildcard }, group?)))
    }

    /// The number of items.
    pub fn items(&self) -> usize {
        self.count(|_| true)
    }

    /// When the oldest waiting change was accepted; `None` if nothing waits.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.groups().map(|(_, group)| group.oldest).min()
    }

    /// When the newest waiting change was accepted; `None` if nothing waits.
    pub fn newest(&self) -> Option<Timestamp> {
        self.groups().map(|(_, group)| group.newest).max()
    }

    /// The number of items that no manual request asks for.
    pub fn automatic(&self) -> usize {
        self.count(|kind| !kind.manual)
    }

    /// The number of wildcards.
    pub fn wildcards(&self) -> usize {
        self.count(|kind| kind.wildcard)
    }

    fn count(&self, of: impl Fn(Kind) -> bool) -> usize {
        let groups = self.groups().filter(|(kind, _)| of(*kind));
        groups.map(|(_, group)| group.items).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.groups().next().is_none()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistributionBacklog {
    pub distribution_id: String,
    pub backlog: Backlog,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistributionUsage {
    pub distribution_id: String,
    pub usage: Usage,
}

/// A waiting item that a batch covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered {
    /// The waiting item's number in the store.
    pub target: i64,
    /// The position of the covering item in the batch.
    pub position: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(manual_items: usize, items: &[&str], taken: &[&str]) -> [(Vec<String>, usize); 2] {
        let parse = |text: &&str| Item::parse(text).unwrap();
        let batch = Batch {
            manual_items,
            ..Batch::new("E1", items.iter().map(parse).collect())
        };
        let parts = batch.parts(&taken.iter().map(parse).collect());
        assert_ne!(parts[0].caller_reference, parts[1].caller_reference);
        parts.map(|part| {
            let items = part.items.into_iter().map(String::from);
            (items.collect(), part.manual_items)
        })
    }

    #[test]
    fn manual_items_and_those_taken_before_are_apart_from_the_others() {
        let [trusted, others] = parts(2, &["/m", "/n", "/a", "/b"], &["/b", "/z"]);
        assert_eq!(trusted, (["/m", "/n", "/b"].map(String::from).to_vec(), 2));
        assert_eq!(others, (vec!["/a".to_owned()], 0));
    }

    #[test]
    fn items_of_one_sort_are_halved() {
        let items = ["/a", "/b", "/c"];
        for (manual, taken) in [(0, &[][..]), (3, &[]), (0, &items), (1, &["/b", "/c"])] {
            let [first, second] = parts(manual, &items, taken);
            assert_eq!(first, (vec!["/a".to_owned()], manual.min(1)));
            let left = manual.saturating_sub(1);
            assert_eq!(second, (["/b", "/c"].map(String::from).to_vec(), left));
        }
    }
}
