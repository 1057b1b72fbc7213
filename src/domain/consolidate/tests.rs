//! Merging is compared with trying everything, on inputs that are small enough for that.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::{Ceilings, Guard, Known, Merged, Merging, Prices, Wanted};
use crate::domain::path::Item;

fn items(texts: &[&str]) -> Vec<Item> {
    texts.iter().map(|text| Item::read(text).unwrap()).collect()
}

/// A small problem: few paths that share many bytes.
#[derive(Debug)]
struct Problem {
    wanted: Vec<Item>,
    known: Vec<String>,
    guard: Guard,
    prices: Prices,
    ceilings: Ceilings,
}

const PIECES: [&str; 7] = ["a", "b", "/", "%41", "%4F", "%C3%A9", "a"];
const PRICES: [f64; 7] = [0.0, 0.01, 0.7, 1.0, 2.5, 5.0, 100.0];

fn path(random: &mut Rng) -> String {
    let pieces = (0..random.usize(0..5)).map(|_| PIECES[random.usize(..PIECES.len())]);
    format!("/{}", pieces.collect::<String>())
}

impl Problem {
    fn new(random: &mut Rng) -> Self {
        let mut wanted = Vec::new();
        for _ in 0..random.usize(0..6) {
            let star = if random.u8(..) < 40 { "*" } else { "" };
            wanted.push(Item::parse(&format!("{}{star}", path(random))).unwrap());
        }
        let mut known: Vec<_> = (0..random.usize(0..12)).map(|_| path(random)).collect();
        known.extend(
            wanted
                .iter()
                .filter(|_| random.bool())
                .map(ToString::to_string),
        );
        let mut guard = Guard::NONE;
        if random.u8(..) < 60 {
            let star = if random.bool() { "*" } else { "" };
            let pattern = Item::parse(&format!("{}{star}", path(random))).unwrap();
            guard.protected.push(pattern);
        }
        if random.u8(..) < 60 {
            guard.min_stem = random.usize(..4);
            guard.allow_root = random.bool();
        }
        let price = |random: &mut Rng| PRICES[random.usize(..PRICES.len())];
        let prices = Prices {
            path: price(random),
            wildcard: if random.bool() { 0.0 } else { price(random) },
            eviction: 1.0,
        };
        Self {
            wanted,
            known,
            guard,
            prices,
            ceilings: Ceilings::NONE,
        }
    }

    fn solve(&self) -> Merged {
        let wanted = Wanted::new(&self.wanted, &[]);
        let keys = self.known.iter().map(String::as_str).collect();
        let merging = Merging::new(wanted, Known::all(keys), &self.guard);
        merging.cheapest(&self.prices, self.ceilings)
    }

    /// All wildcards that could help.
    fn candidates(&self) -> Vec<Item> {
        let allowed = |item: &Item| {
            let stem = item.stem().unwrap();
            let protects = |pattern: &Item| {
                let whole = pattern.stem().unwrap_or(pattern.as_str());
                let within = pattern.is_wildcard() && stem.starts_with(whole);
                whole.starts_with(stem) || within
            };
            (self.guard.allow_root || !item.is_root_wildcard())
                && stem.len() > self.guard.min_stem
                && !self.guard.protected.iter().any(protects)
        };
        let mut all = BTreeSet::new();
        for item in &self.wanted {
            let text = item.stem().unwrap_or(item.as_str());
            let prefixes = (1..=text.len()).map(|end| format!("{}*", &text[..end]));
            all.extend(prefixes.filter_map(|text| Item::parse(&text).ok()));
        }
        all.into_iter().filter(allowed).collect()
    }

    /// Items, wildcards and evictions of what is sent if these wildcards are made.
    fn tally(&self, made: &[&Item]) -> (usize, usize, usize) {
        let mut sent: BTreeSet<&Item> = made.iter().copied().collect();
        for item in &self.wanted {
            let covers = |other: &Item| other != item && other.covers(item);
            if !made.iter().any(|made| made.covers(item)) && !self.wanted.iter().any(covers) {
                sent.insert(item);
            }
        }
        let known: BTreeSet<_> = self
            .known
            .iter()
            .filter(|key| !key.ends_with('*'))
            .collect();
        let evicted = known.into_iter().filter(|key| {
            let key = Item::parse(key).unwrap();
            made.iter().any(|made| made.covers(&key))
                && !self.wanted.iter().any(|wanted| wanted.covers(&key))
        });
        let wildcards = sent.iter().filter(|item| item.is_wildcard()).count();
        (sent.len(), wildcards, evicted.count())
    }

    fn price(&self, (items, wildcards, evictions): (usize, usize, usize)) -> f64 {
        let number = |count: usize| f64::from(u32::try_from(count).unwrap());
        self.prices.path * number(items)
            + self.prices.wildcard * number(wildcards)
            + self.prices.eviction * number(evictions)
    }

    /// The least price under the ceilings, after trying all sets of wildcards.
    fn least(&self, candidates: &[Item]) -> Option<f64> {
        let mut least: Option<f64> = None;
        for set in 0..1_u32 << candidates.len() {
            let made = candidates.iter().enumerate();
            let made = made.filter(|(bit, _)| set & (1 << bit) != 0);
            let made: Vec<_> = made.map(|(_, item)| item).collect();
            let tally = self.tally(&made);
            if tally.0 <= self.ceilings.items && tally.1 <= self.ceilings.wildcards {
                let price = self.price(tally);
                least = Some(least.map_or(price, |least| least.min(price)));
            }
        }
        least
    }

    /// What is sent misses nothing, makes nothing that it may not, and says what it costs.
    fn check(&self, merged: &Merged, candidates: &[Item]) -> f64 {
        for item in &self.wanted {
            assert!(
                merged.items.iter().any(|sent| sent.covers(item)),
                "{self:?}"
            );
        }
        let made = merged
            .items
            .iter()
            .filter(|item| !self.wanted.contains(item));
        let made: Vec<_> = made.collect();
        assert!(
            made.iter().all(|made| candidates.contains(made)),
            "{self:?} {merged:?}"
        );
        let tally = self.tally(&made);
        let said = (merged.items.len(), merged.wildcards, merged.evictions);
        assert_eq!(tally, said, "{self:?} {merged:?}");
        self.price(tally)
    }
}

#[test]
#[ignore]
fn stats() {
    let mut random = Rng::with_seed(18);
    let (mut n, mut w, mut both, mut worst, mut infeasible, mut miss) = (0, 0, 0, 1.0_f64, 0, 0);
    let mut cand = 0;
    while n < 20000 {
        let mut p = Problem::new(&mut random);
        p.known.retain(|k| !k.ends_with('*'));
        let c = p.candidates();
        if c.len() > 10 {
            continue;
        }
        cand += c.len();
        n += 1;
        let m = p.solve();
        let price = p.check(&m, &c);
        assert!(
            (price - p.least(&c).unwrap()).abs() < 1e-9,
            "{p:?} {m:?} {price} {:?}",
            p.least(&c)
        );
        for kind in 0..3 {
            p.ceilings = Ceilings::NONE;
            if kind != 1 {
                p.ceilings.wildcards = random.usize(0..4);
            }
            if kind != 0 {
                p.ceilings.items = random.usize(1..5);
            }
            let m = p.solve();
            let price = p.check(&m, &c);
            match p.least(&c) {
                None => {
                    infeasible += 1;
                    assert!(!m.obeys);
                }
                Some(least) => {
                    if !m.obeys {
                        miss += 1;
                        if miss < 4 {
                            println!("MISS {p:?} {m:?} {least}");
                        }
                        continue;
                    }
                    if price > least + 1e-9 {
                        if kind == 0 {
                            w += 1;
                            println!("{p:?} {m:?} {price} {least}");
                        } else {
                            both += 1;
                            println!("BOTH {p:?} {m:?} {price} {least}");
                        }
                        worst = worst.max(price / least);
                    }
                }
            }
        }
    }
    println!(
        "n {n} w {w} both {both} worst {worst} infeasible {infeasible} miss {miss} cand {}",
        cand as f64 / n as f64
    );
}
