//! Compares merging with trying all sets of wildcards, on problems that are small enough for that.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::{Ceilings, Guard, Item, Known, Merged, Merging, Prices, Wanted};

/// More take too long.
const MOST_CANDIDATES: usize = 10;
const PIECES: [&str; 6] = ["a", "b", "/", "%41", "%4F", "%C3%A9"];
const PRICES: [f64; 7] = [0.0, 0.01, 0.7, 1.0, 2.5, 5.0, 100.0];

/// Few paths that share many bytes.
#[derive(Debug)]
struct Problem {
    wanted: Vec<Item>,
    known: Vec<String>,
    guard: Guard,
    prices: Prices,
    ceilings: Ceilings,
    /// All wildcards that could help.
    candidates: Vec<Item>,
    /// For each wanted item that no other one covers, the candidates that cover it, and whether it is a
    /// wildcard.
    covering_wanted: Vec<(u32, bool)>,
    /// The same for each known key that is not wanted.
    covering_other: Vec<u32>,
}

fn path(random: &mut Rng) -> String {
    let pieces = (0..random.usize(0..5)).map(|_| PIECES[random.usize(..PIECES.len())]);
    format!("/{}", pieces.collect::<String>())
}

fn pattern(random: &mut Rng, wildcards_of_256: u8) -> Item {
    let star = if random.u8(..) < wildcards_of_256 {
        "*"
    } else {
        ""
    };
    Item::parse(&format!("{}{star}", path(random))).unwrap()
}

impl Problem {
    fn new(random: &mut Rng) -> Self {
        loop {
            let problem = Self::any(random);
            if problem.candidates.len() <= MOST_CANDIDATES {
                return problem;
            }
        }
    }

    fn any(random: &mut Rng) -> Self {
        let wanted: Vec<_> = (0..random.usize(0..7))
            .map(|_| pattern(random, 40))
            .collect();
        let mut known: Vec<_> = (0..random.usize(0..12)).map(|_| path(random)).collect();
        let exact = wanted.iter().filter(|item| !item.is_wildcard());
        known.extend(exact.map(ToString::to_string).filter(|_| random.bool()));
        let mut guard = Guard::NONE;
        if random.u8(..) < 60 {
            guard.protected.push(pattern(random, 128));
        }
        if random.u8(..) < 60 {
            guard.min_stem = random.usize(..4);
            guard.allow_root = random.bool();
        }
        let mut price = || PRICES[random.usize(..PRICES.len())];
        let prices = Prices {
            path: price(),
            wildcard: price().min(price()),
            eviction: 1.0,
        };
        let candidates = candidates(&wanted, &guard);
        let covering = |item: &Item| {
            let all = candidates.iter().enumerate();
            let covering = all.filter(|(_, candidate)| candidate.covers(item));
            covering.map(|(bit, _)| 1 << bit).sum::<u32>()
        };
        let distinct: BTreeSet<_> = wanted.iter().collect();
        let inner = |item: &Item| {
            wanted
                .iter()
                .any(|other| other != item && other.covers(item))
        };
        let outermost = distinct.into_iter().filter(|item| !inner(item));
        let others: BTreeSet<_> = known.iter().map(|key| Item::parse(key).unwrap()).collect();
        let is_wanted = |key: &Item| wanted.iter().any(|item| item.covers(key));
        Self {
            covering_wanted: outermost
                .map(|item| (covering(item), item.is_wildcard()))
                .collect(),
            covering_other: others
                .iter()
                .filter(|key| !is_wanted(key))
                .map(covering)
                .collect(),
            candidates,
            wanted,
            known,
            guard,
            prices,
            ceilings: Ceilings::NONE,
        }
    }

    fn solve(&self, known: Known<'_>) -> Merged {
        let merging = Merging::new(Wanted::new(&self.wanted, &[]), known, &self.guard);
        merging.cheapest(&self.prices, self.ceilings)
    }

    fn all_known(&self) -> Known<'_> {
        Known::all(self.known.iter().map(String::as_str).collect())
    }

    /// Items, wildcards and evictions of what is sent if these candidates are made.
    fn tally(&self, made: u32) -> (usize, usize, usize) {
        let number = made.count_ones() as usize;
        let left = self
            .covering_wanted
            .iter()
            .filter(|(covering, _)| covering & made == 0);
        let wildcards = left.clone().filter(|(_, wildcard)| *wildcard).count();
        let evicted = self
            .covering_other
            .iter()
            .filter(|covering| *covering & made != 0);
        (number + left.count(), number + wildcards, evicted.count())
    }

    fn price(&self, (items, wildcards, evictions): (usize, usize, usize)) -> f64 {
        let number = |count: usize| f64::from(u32::try_from(count).unwrap());
        self.prices.path * number(items)
            + self.prices.wildcard * number(wildcards)
            + self.prices.eviction * number(evictions)
    }

    /// All sets of candidates that keep to the ceilings.
    fn possible(&self) -> impl Iterator<Item = u32> {
        (0..1_u32 << self.candidates.len()).filter(|made| {
            let (items, wildcards, _) = self.tally(*made);
            items <= self.ceilings.items && wildcards <= self.ceilings.wildcards
        })
    }

    /// The least price under the ceilings, if anything keeps to them.
    fn least(&self) -> Option<f64> {
        let prices = self.possible().map(|made| self.price(self.tally(made)));
        prices.min_by(f64::total_cmp)
    }

    /// The length of the widest of these candidates.
    fn shortest(&self, made: u32) -> usize {
        let all = self.candidates.iter().enumerate();
        let made = all.filter(|(bit, _)| made & (1 << bit) != 0);
        let lengths = made.map(|(_, item)| item.as_str().len());
        lengths.min().unwrap_or(usize::MAX)
    }

    /// Checks that what is sent misses nothing and is what it is said to be. Returns the wildcards that were
    /// made.
    fn check(&self, merged: &Merged) -> u32 {
        for item in &self.wanted {
            assert!(
                merged.items.iter().any(|sent| sent.covers(item)),
                "{self:?} {merged:?}"
            );
        }
        let mut set = 0;
        for item in merged
            .items
            .iter()
            .filter(|item| !self.wanted.contains(item))
        {
            let bit = self
                .candidates
                .iter()
                .position(|candidate| candidate == item);
            set |= 1 << bit.expect("only candidates may be made");
        }
        let (items, wildcards, _) = self.tally(set);
        assert_eq!(
            (items, wildcards),
            (merged.items.len(), merged.wildcards),
            "{self:?}"
        );
        set
    }
}

fn candidates(wanted: &[Item], guard: &Guard) -> Vec<Item> {
    let allowed = |item: &Item| {
        let stem = item.stem().unwrap();
        let protects = |pattern: &Item| {
            let whole = pattern.stem().unwrap_or(pattern.as_str());
            let within = pattern.is_wildcard() && stem.starts_with(whole);
            whole.starts_with(stem) || within
        };
        let is_long = stem.len() > guard.min_stem;
        (if item.is_root_wildcard() {
            guard.allow_root
        } else {
            is_long
        }) && !guard.protected.iter().any(protects)
    };
    let mut all = BTreeSet::new();
    for item in wanted {
        let text = item.stem().unwrap_or(item.as_str());
        let prefixes = (1..=text.len()).map(|end| format!("{}*", &text[..end]));
        all.extend(prefixes.filter_map(|text| Item::parse(&text).ok()));
    }
    all.into_iter().filter(allowed).collect()
}

#[test]
fn no_set_of_wildcards_is_cheaper() {
    let mut random = Rng::with_seed(18);
    for _ in 0..3_000 {
        let problem = Problem::new(&mut random);
        let merged = problem.solve(problem.all_known());
        let tally = problem.tally(problem.check(&merged));
        assert_eq!(tally.2, merged.evictions, "{problem:?}");
        let (price, least) = (problem.price(tally), problem.least().unwrap());
        assert!(
            price < least + 1e-9,
            "{problem:?} {merged:?}: {price}, not {least}"
        );
    }
}

#[test]
fn no_set_of_wildcards_under_the_ceilings_is_cheaper() {
    let mut random = Rng::with_seed(19);
    let mut possible = 0;
    for _ in 0..3_000 {
        let mut problem = Problem::new(&mut random);
        let most = [usize::MAX, 0, 1, 2, 3, 4];
        let mut ceiling = || most[random.usize(..most.len())];
        problem.ceilings = Ceilings {
            items: ceiling(),
            wildcards: ceiling(),
        };
        let merged = problem.solve(problem.all_known());
        let price = problem.price(problem.tally(problem.check(&merged)));
        let least = problem.least();
        assert_eq!(merged.obeys, least.is_some(), "{problem:?} {merged:?}");
        if let Some(least) = least {
            possible += 1;
            assert!(
                price < least + 1e-9,
                "{problem:?} {merged:?}: {price}, not {least}"
            );
        }
    }
    assert!(possible > 1_000);
}

#[test]
fn no_set_of_wildcards_is_narrower_if_keys_are_unknown() {
    let mut random = Rng::with_seed(20);
    let mut forced = 0;
    for _ in 0..2_000 {
        let mut problem = Problem::new(&mut random);
        let merged = problem.solve(Known::nothing());
        assert_eq!(problem.check(&merged), 0, "{problem:?} {merged:?}");
        problem.ceilings.items = random.usize(1..5);
        if random.bool() {
            problem.ceilings.wildcards = random.usize(..3);
        }
        let merged = problem.solve(Known::nothing());
        let made = problem.check(&merged);
        let possible = problem.possible().map(|made| problem.shortest(made)).max();
        assert_eq!(merged.obeys, possible.is_some(), "{problem:?} {merged:?}");
        if let Some(possible) = possible {
            forced += usize::from(made != 0);
            assert_eq!(problem.shortest(made), possible, "{problem:?} {merged:?}");
        }
    }
    assert!(forced > 200, "{forced}");
}
