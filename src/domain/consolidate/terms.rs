//! What merging is told: prices, ceilings, the guard, and which keys there are.

use crate::domain::path::Item;

/// How many unchanged objects may be evicted to save one path, unless somebody says otherwise. A path costs
/// 0.005 USD, so that an eviction counts as 0.00025 USD: several hundred times what S3 charges for the
/// request that brings the object back, for a viewer has to wait for it.
pub const EVICTIONS_PER_PATH: f64 = 20.0;

/// What items cost, in any unit. All prices are finite and not negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// Each item, wildcards included.
    pub path: f64,
    /// What each wildcard costs beyond that.
    pub wildcard: f64,
    /// Each unchanged object that a wildcard drops.
    pub eviction: f64,
}

impl Prices {
    /// The prices at which one path is worth so many evictions. At 0, nothing unchanged is evicted, and
    /// among the plans that evict nothing, the one with the fewest items is the best.
    pub fn per_path(evictions: f64) -> Self {
        // Beyond the number of keys, it makes no difference. Larger numbers would round evictions away.
        let path = evictions.min(1e9);
        Self {
            path,
            wildcard: 0.0,
            eviction: 1.0,
        }
    }
}

/// The most items, and the most wildcards among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    pub items: usize,
    pub wildcards: usize,
}

impl Ceilings {
    pub const NONE: Self = Self {
        items: usize::MAX,
        wildcards: usize::MAX,
    };
}

/// Which wildcards merging may make by itself. Those that were asked for are not its business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Paths, and wildcards for all paths that they cover. No wildcard that merging makes covers any of
    /// these paths.
    pub protected: Vec<Item>,
    /// The fewest bytes between the first slash and the `*`, except for `/*`.
    pub min_stem: usize,
    /// Whether `/*` may be made.
    pub allow_root: bool,
    /// Wildcards that were sent a short while ago: they are not made again if they evict anything.
    pub resting: Vec<Item>,
    /// Wildcards that CloudFront has refused.
    pub refused: Vec<Item>,
    /// Whether, where it is not known which keys there are, a wildcard may be made because a ceiling requires
    /// it.
    pub unlisted: bool,
}

/// Which rule of a guard bars a wildcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bar {
    /// It covers a protected path.
    Protected,
    /// Its stem is too short.
    MinStem,
    /// It is `/*`.
    Root,
    /// It was sent a short while ago.
    Resting,
    /// CloudFront has refused it.
    Refused,
}

impl Guard {
    pub const NONE: Self = Self {
        protected: Vec::new(),
        min_stem: 0,
        allow_root: true,
        resting: Vec::new(),
        refused: Vec::new(),
        unlisted: true,
    };

    /// What bars a wildcard with this stem; `None` if it may be made. `evicts` is whether it drops anything
    /// that has not changed.
    pub(super) fn bar(&self, stem: &str, evicts: bool) -> Option<Bar> {
        let has = |items: &[Item]| items.iter().any(|one| one.stem() == Some(stem));
        let is_root = stem == "/";
        if is_root && !self.allow_root {
            Some(Bar::Root)
        } else if !is_root && stem.len() <= self.min_stem {
            Some(Bar::MinStem)
        } else if self.protected.iter().any(|one| one.meets(stem)) {
            Some(Bar::Protected)
        } else if has(&self.refused) {
            Some(Bar::Refused)
        } else if evicts && has(&self.resting) {
            Some(Bar::Resting)
        } else {
            None
        }
    }
}

impl Bar {
    /// The key of `[economy]` that says so, or `refused`, as a metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::MinStem => "min_stem",
            Self::Root => "allow_root",
            Self::Resting => "min_interval",
            Self::Refused => "refused",
        }
    }
}

/// The keys that there are, as viewer paths in the spelling of items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known<'a> {
    /// Prefixes under which `keys` has every key.
    pub(super) listed: Prefixes<'a>,
    pub(super) keys: Vec<&'a str>,
    /// What a stem has for which nothing is known, wherever it is.
    pub(super) unusual: Vec<&'a str>,
}

impl<'a> Known<'a> {
    /// It is not known which keys there are.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// These are all keys.
    pub fn all(keys: Vec<&'a str>) -> Self {
        Self::under(vec!["/"], keys)
    }

    /// These are all keys under some prefixes. Changed keys may be among them or not.
    pub fn under(mut listed: Vec<&'a str>, keys: Vec<&'a str>) -> Self {
        listed.sort_unstable();
        // In byte order, a prefix comes directly before all that it covers.
        listed.dedup_by(|later, kept| later.starts_with(*kept));
        Self {
            listed: Prefixes(listed),
            keys,
            unusual: Vec::new(),
        }
    }

    /// But nothing is known of paths that have any of these in them: they are other spellings than the keys'.
    #[must_use]
    pub fn without(self, unusual: Vec<&'a str>) -> Self {
        Self { unusual, ..self }
    }

    /// Whether all keys with a stem are known.
    pub(super) fn has_all(&self, stem: &str) -> bool {
        self.listed.cover(stem) && !self.unusual.iter().any(|one| stem.contains(one))
    }
}

/// Prefixes, ordered, of which none covers another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Prefixes<'a>(Vec<&'a str>);

impl Prefixes<'_> {
    /// Whether everything with this stem is under one of them.
    pub(super) fn cover(&self, stem: &str) -> bool {
        let after = self.0.partition_point(|prefix| *prefix <= stem);
        after > 0 && stem.starts_with(self.0[after - 1])
    }
}
