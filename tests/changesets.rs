//! Merging real deployments of a real site costs what the optimum is known to cost.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use purgefront::domain::{
    consolidate::{Ceilings, Guard, Known, Merged, Merging, Prices, Wanted},
    path::{Item, spell},
};
use serde::Deserialize;

use crate::support::{not_tested, skipped};

#[derive(Deserialize)]
struct Recorded {
    changed: Vec<String>,
    catalogue: Vec<String>,
}

struct Deployment {
    changed: Vec<Item>,
    keys: Vec<String>,
}

/// The deployments that lie beside the repository; `None` if there are none.
fn deployments() -> Option<Vec<Deployment>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = here.join("../shared/changesets/site.jsonl.gz");
    if !file.exists() {
        skipped("there is no ../shared/changesets/site.jsonl.gz");
        return None;
    }
    let Ok(output) = Command::new("gzip").arg("-dc").arg(file).output() else {
        not_tested("there is no gzip here");
        return None;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let item = |key: &String| spell(&format!("/{key}")).item;
    let deployment = |line| {
        let recorded: Recorded = serde_json::from_str(line).unwrap();
        let keys: BTreeSet<_> = recorded
            .changed
            .iter()
            .chain(&recorded.catalogue)
            .map(item)
            .collect();
        Deployment {
            changed: recorded.changed.iter().map(item).collect(),
            keys: keys.into_iter().map(String::from).collect(),
        }
    };
    Some(text.lines().map(deployment).collect())
}

impl Deployment {
    fn plan(&self, evictions_per_path: f64, wildcards: usize) -> Merged {
        let known = Known::all(self.keys.iter().map(String::as_str).collect());
        let merging = Merging::new(Wanted::new(&self.changed, []), known, &Guard::NONE);
        let ceilings = Ceilings {
            wildcards,
            ..Ceilings::NONE
        };
        let merged = merging.cheapest(&Prices::per_path(evictions_per_path), ceilings);
        let (changed, evicted): (Vec<_>, Vec<_>) = self
            .keys
            .iter()
            .filter(|key| {
                let key = Item::parse(key).unwrap();
                merged.items.iter().any(|item| item.covers(&key))
            })
            .partition(|key| self.changed.iter().any(|item| item.as_str() == **key));
        assert_eq!(
            changed.len(),
            self.changed.iter().collect::<BTreeSet<_>>().len()
        );
        assert_eq!(evicted.len(), merged.evictions);
        merged
    }
}

fn float(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

fn price(evictions_per_path: f64, plan: &Merged) -> f64 {
    evictions_per_path * float(plan.items.len()) + float(plan.evictions)
}

#[test]
fn real_deployments_cost_what_the_optimum_costs() {
    let Some(deployments) = deployments() else {
        return;
    };
    assert_eq!(deployments.len(), 312);
    for (evictions_per_path, paths, wildcards, evictions) in [
        (0.01, 4_220, 875, 0),
        (1.0, 2_255, 631, 540),
        (5.0, 1_829, 664, 1_390),
        (20.0, 575, 161, 12_714),
        (100.0, 384, 170, 23_113),
    ] {
        let mut sums = (0, 0, 0);
        for deployment in &deployments {
            let plan = deployment.plan(evictions_per_path, usize::MAX);
            sums.0 += plan.items.len();
            sums.1 += plan.wildcards;
            sums.2 += plan.evictions;
        }
        assert_eq!(sums, (paths, wildcards, evictions), "{evictions_per_path}");
    }
}

/// For each number of wildcards, the least price of a plan with at most as many: all prefixes are looked at.
/// All paths share the first `depth` bytes.
fn least(changed: &[&str], others: &[&str], depth: usize, price: f64, most: usize) -> Vec<f64> {
    let mut branches: BTreeMap<u8, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
    for path in changed.iter().filter(|path| path.len() > depth) {
        branches
            .entry(path.as_bytes()[depth])
            .or_default()
            .0
            .push(path);
    }
    for path in others.iter().filter(|path| path.len() > depth) {
        branches
            .entry(path.as_bytes()[depth])
            .or_default()
            .1
            .push(path);
    }
    let exact = changed.iter().filter(|path| path.len() == depth).count();
    let mut all = vec![price * float(exact); most + 1];
    for (changed, others) in branches.values().filter(|(changed, _)| !changed.is_empty()) {
        let branch = least(changed, others, depth + 1, price, most);
        let cheapest = |number: usize| {
            let sums = (0..=number).map(|of_branch| all[number - of_branch] + branch[of_branch]);
            sums.fold(f64::INFINITY, f64::min)
        };
        all = (0..=most).map(cheapest).collect();
    }
    if depth > 0 {
        for one in &mut all[1..] {
            *one = one.min(price + float(others.len()));
        }
    }
    all
}

#[test]
fn no_plan_with_as_few_wildcards_is_cheaper() {
    let Some(deployments) = deployments() else {
        return;
    };
    for (evictions_per_path, most) in [
        (0.01, 15),
        (1.0, 15),
        (5.0, 15),
        (20.0, 15),
        (100.0, 15),
        (5.0, 5),
    ] {
        for deployment in &deployments {
            // Otherwise, the ceiling changes nothing.
            if deployment.plan(evictions_per_path, usize::MAX).wildcards <= most {
                continue;
            }
            let plan = deployment.plan(evictions_per_path, most);
            assert!(plan.obeys && plan.wildcards <= most);
            let mut changed: Vec<_> = deployment.changed.iter().map(Item::as_str).collect();
            changed.sort_unstable();
            changed.dedup();
            let others = deployment.keys.iter().map(String::as_str);
            let others: Vec<_> = others.filter(|key| !changed.contains(key)).collect();
            let least = least(&changed, &others, 0, evictions_per_path, most)[most];
            let price = price(evictions_per_path, &plan);
            // What a ceiling may cost is 5 %, but the search for the best is exact at these sizes.
            assert!(price < least + 1e-6, "{price}, not {least}");
        }
    }
}
