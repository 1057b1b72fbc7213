//! Counts of items by distribution, which every kind of store keeps with the waiting items.

use std::collections::HashMap;

/// Counts added items by distribution.
#[derive(Default)]
pub(in crate::store) struct Counts(HashMap<String, Count>);

#[derive(Default)]
struct Count {
    items: usize,
    wildcards: usize,
    manual_paths: usize,
    manual_wildcards: usize,
}

impl Counts {
    pub(in crate::store) fn count(&mut self, distribution_id: &str, wildcard: bool, manual: bool) {
        if !self.0.contains_key(distribution_id) {
            self.0.insert(distribution_id.to_owned(), Count::default());
        }
        if let Some(count) = self.0.get_mut(distribution_id) {
            count.items += 1;
            count.wildcards += usize::from(wildcard);
            count.manual_paths += usize::from(manual && !wildcard);
            count.manual_wildcards += usize::from(manual && wildcard);
        }
    }

    /// What is bound: the distributions, and their numbers in the order of its columns.
    pub(in crate::store) fn rows(&self) -> impl Iterator<Item = (&str, [i64; 4])> {
        self.0.iter().map(|(distribution_id, count)| {
            let numbers = [
                count.items,
                count.wildcards,
                count.manual_paths,
                count.manual_wildcards,
            ];
            (
                distribution_id.as_str(),
                numbers.map(|number| i64::try_from(number).unwrap_or(i64::MAX)),
            )
        })
    }
}
