//! From what each distribution is asked for to what would be sent, merged or not.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;

use super::{MergedItem, Missing, Preview, Previewed, PreviewedItem};
use crate::domain::{
    catalogue::{Catalogue, Distribution},
    change::Effect,
    consolidate::{self, Allowance, Caps, Headroom, Open, Waiting, Wildcards, WindowTerms},
    ledger::price_usd,
    mapping::{self, Mapping, MappingPolicy},
    path::Item,
    survey::{Bounds, Ground, Survey, Surveyed},
};

/// What each distribution is asked for, before it is merged and planned.
#[derive(Debug, Default)]
pub struct Draft {
    by_distribution: BTreeMap<String, Collected>,
    /// How many changes it has.
    changes: i64,
}

/// The results for one distribution.
#[derive(Debug, Default)]
struct Collected {
    waiting: Vec<Waiting>,
    whys: Vec<String>,
    skipped: Vec<String>,
    dead: Vec<String>,
}

/// How changes are merged.
#[derive(Debug, Clone)]
pub struct MergedBy {
    pub terms: WindowTerms,
    /// What is known about the keys behind each distribution. Where nothing is, nothing is merged.
    pub surveyed: BTreeMap<String, Surveyed>,
    /// Whether to say what other prices of a path would give.
    pub curve: bool,
}

/// What would be sent has no limits, except for those that merging keeps to.
const NO_CAPS: Caps = {
    let all = Headroom {
        paths: usize::MAX,
        wildcards: usize::MAX,
    };
    Caps {
        items: usize::MAX,
        allowance: Allowance {
            manual: all,
            automatic: all,
        },
        automatic_items: usize::MAX,
        open: Open {
            paths: true,
            wildcards: true,
        },
        made: usize::MAX,
        patient: false,
    }
};

impl Draft {
    /// What changes of these keys in `bucket` ask for, at all distributions or only at some.
    pub fn of_keys(
        catalogue: &Catalogue,
        policy: &MappingPolicy,
        bucket: &str,
        keys: &[String],
        effect: Effect,
        only_at: Option<&[String]>,
    ) -> Result<Self, Missing> {
        let mut draft = Self::default();
        for serving in catalogue.serving(bucket) {
            let id = &serving.distribution.id;
            if only_at.is_none_or(|ids| ids.contains(id)) {
                draft.at(id);
            }
        }
        for key in keys {
            // Empty if no distribution serves the bucket.
            let mapping = mapping::map_object(catalogue, policy, bucket, key, effect);
            let mapping = mapping.unwrap_or_default();
            let mapping = match only_at {
                Some(ids) => mapping.only_at(ids),
                None => mapping,
            };
            if !mapping.waits.is_empty() {
                return Err(Missing::of(mapping.waits));
            }
            draft.add(key, mapping);
        }
        Ok(draft)
    }

    /// What a manual request for these items asks of these distributions.
    pub(super) fn of_items<'a>(
        distributions: impl IntoIterator<Item = &'a Distribution>,
        items: &[Item],
    ) -> Self {
        let mut draft = Self::default();
        for distribution in distributions {
            draft.at(&distribution.id);
            for item in items {
                let mapping = mapping::map_item(distribution, item.clone());
                draft.add(item.as_str(), mapping);
            }
        }
        draft
    }

    fn at(&mut self, distribution_id: &str) -> &mut Collected {
        let all = &mut self.by_distribution;
        all.entry(distribution_id.to_owned()).or_default()
    }

    fn add(&mut self, changed: &str, mapping: Mapping) {
        self.changes += 1;
        let change = self.changes;
        for target in mapping.targets {
            let one = self.at(&target.distribution_id);
            one.waiting.push(Waiting {
                target: 0,
                change,
                item: target.item,
                manual: false,
                accepted_at: Timestamp::UNIX_EPOCH,
            });
            one.whys.push(format!("{changed}: {}", target.because));
        }
        for skip in mapping.skipped {
            let why = format!("{changed}: {}", skip.why);
            match skip.distribution_id {
                Some(id) => self.at(&id).skipped.push(why),
                None => self
                    .by_distribution
                    .values_mut()
                    .for_each(|one| one.skipped.push(why.clone())),
            }
        }
        for dead in mapping.dead {
            let id = dead.distribution_id.unwrap_or_default();
            let why = format!("{changed}: {}", dead.why);
            self.at(&id).dead.push(why);
        }
    }

    /// The surveys that merging needs. `bounds` are those for a number of changed paths.
    pub fn surveys(
        &self,
        catalogue: &Arc<Catalogue>,
        policy: &MappingPolicy,
        bounds: impl Fn(usize) -> Bounds,
    ) -> Vec<Survey> {
        let surveys = self.by_distribution.iter().filter_map(|(id, one)| {
            let texts: Vec<_> = consolidate::texts(&one.waiting)
                .into_iter()
                .map(str::to_owned)
                .collect();
            let bounds = bounds(texts.len());
            let ground = Ground::new(Arc::clone(catalogue), policy, id)?;
            Survey::new(ground, texts, bounds)
        });
        surveys.collect()
    }

    /// What would be sent if nothing is merged.
    pub fn unmerged(self) -> Preview {
        self.conclude(None)
    }

    /// What would be sent if it is merged.
    pub fn merged(self, by: &MergedBy) -> Preview {
        self.conclude(Some(by))
    }

    fn conclude(self, by: Option<&MergedBy>) -> Preview {
        let mut preview = Preview::default();
        for (id, found) in self.by_distribution {
            let previewed = found.conclude(id, by);
            preview.paths += previewed.items.len();
            preview.wildcards += previewed.wildcards();
            let evictions = previewed.evictions();
            preview.evictions = preview.evictions.zip(evictions).map(|(all, one)| all + one);
            preview.distributions.push(previewed);
        }
        preview.price_usd = price_usd(preview.paths);
        preview
    }
}

impl Collected {
    fn conclude(self, distribution_id: String, by: Option<&MergedBy>) -> Previewed {
        let Self {
            waiting,
            whys,
            skipped: mut reasons,
            dead,
        } = self;
        let known = by.and_then(|by| Some((by, by.surveyed.get(&distribution_id)?)));
        let wildcards = match known {
            Some((by, surveyed)) => consolidate::wildcards(&waiting, surveyed.known(), &by.terms),
            None => Wildcards::default(),
        };
        let curve = known.filter(|(by, _)| by.curve).map(|(by, surveyed)| {
            let points = consolidate::curve(&waiting, surveyed.known(), &by.terms);
            points.into_iter().map(Into::into).collect()
        });
        let made: Vec<_> = wildcards.made.iter().map(|one| one.item.clone()).collect();
        let plan = consolidate::plan(&waiting, &made, &NO_CAPS);
        let merges = consolidate::merges(&waiting, &plan, wildcards);
        let made: HashMap<_, _> = merges.made.iter().map(|one| (&one.item, one)).collect();
        let items = plan.items.into_iter().map(|item| PreviewedItem {
            merged: made.get(&item).map(|one| MergedItem {
                replaces: one.replaces,
                evictions: one.evictions,
            }),
            item,
            why: Vec::new(),
        });
        let mut items: Vec<_> = items.collect();
        let mut whys: Vec<_> = whys.into_iter().map(Some).collect();
        for cover in plan.covers {
            // Each is covered once.
            items[cover.position].why.extend(whys[cover.waiting].take());
        }
        reasons.extend(dead.iter().map(|why| format!("dead letter: {why}")));
        Previewed {
            distribution_id,
            skipped: items.is_empty().then(|| reasons.join("; ")),
            items,
            dead_letters: dead,
            prevented: merges.prevented,
            curve,
        }
    }
}
