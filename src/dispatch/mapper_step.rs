//! A step of the mapper: what it records in one transaction.

use std::collections::BTreeSet;

use crate::domain::{change::MappedChange, mapping::Mapping};

/// After how many rows a step ends: a change may need hundreds, one or more for each distribution.
const ROWS: usize = 5_000;

/// What is recorded in one transaction.
#[derive(Default)]
pub(super) struct Step {
    pub(super) mapped: Vec<MappedChange>,
    /// About how many rows it makes.
    rows: usize,
}

impl Step {
    pub(super) fn add(&mut self, mapped: impl IntoIterator<Item = MappedChange>) {
        for one in mapped {
            let Mapping {
                targets,
                skipped,
                dead,
                waits,
            } = &one.mapping;
            self.rows += targets.len() + skipped.len() + dead.len() + waits.len();
            self.mapped.push(one);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= ROWS
    }

    pub(super) fn has_waits(&self) -> bool {
        self.mapped.iter().any(|one| !one.mapping.waits.is_empty())
    }

    /// The distributions that get items.
    pub(super) fn reached(&self) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        for target in self.mapped.iter().flat_map(|one| &one.mapping.targets) {
            if !reached.contains(&target.distribution_id) {
                reached.insert(target.distribution_id.clone());
            }
        }
        reached
    }
}
