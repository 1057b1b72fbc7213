//! What has to be invalidated, in order and without what is covered already.

use super::order::sort_by_text;
use crate::domain::path::Item;

/// One path, or all paths with a stem, that some item has to cover.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need<'a> {
    /// A path, or a wildcard's stem.
    pub(super) text: &'a str,
    pub(super) wildcard: bool,
    /// Whether to save its price is no reason to widen.
    pub(super) fixed: bool,
}

impl<'a> Need<'a> {
    fn of(item: &'a Item, fixed: bool) -> Self {
        Self {
            text: item.stem().unwrap_or(item.as_str()),
            wildcard: item.is_wildcard(),
            fixed,
        }
    }

    pub(super) fn item(&self) -> Item {
        if self.wildcard {
            Item::around(self.text)
        } else {
            Item::again(self.text)
        }
    }

    fn covers(&self, text: &str) -> bool {
        if self.wildcard {
            text.starts_with(self.text)
        } else {
            text == self.text
        }
    }
}

/// What has to be invalidated.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Ordered by text; none covers another.
    pub(super) needs: Vec<Need<'a>>,
    /// Ordered, without repetitions.
    pub(super) tags: Vec<&'a Item>,
}

impl<'a> Wanted<'a> {
    /// Items of changed objects, which wider ones may replace, and items that are no reason to widen, such
    /// as variants: they are sent as they are, unless a wildcard that is sent anyway covers them.
    pub fn new(
        changed: impl IntoIterator<Item = &'a Item>,
        fixed: impl IntoIterator<Item = &'a Item>,
    ) -> Self {
        let changed = changed.into_iter().map(|item| (item, false));
        let fixed = fixed.into_iter().map(|item| (item, true));
        let mut tags = Vec::new();
        let mut needs = Vec::new();
        for (item, fixed) in changed.chain(fixed) {
            if item.is_tag() {
                tags.push(item);
            } else {
                needs.push(Need::of(item, fixed));
            }
        }
        tags.sort_unstable();
        tags.dedup();
        sort_by_text(&mut needs, |need| need.text);
        Self {
            needs: outermost(&needs),
            tags,
        }
    }

    /// The keys that nobody wants invalidated, ordered and without repetitions.
    pub(super) fn unchanged(&self, mut keys: Vec<&'a str>) -> Vec<&'a str> {
        sort_by_text(&mut keys, |key| key);
        keys.dedup();
        let mut after = 0;
        keys.retain(|key| {
            while self.needs.get(after).is_some_and(|need| need.text <= *key) {
                after += 1;
            }
            // As no need covers another, only the last one that does not sort after the key can cover it.
            after == 0 || !self.needs[after - 1].covers(key)
        });
        keys.shrink_to_fit();
        keys
    }
}

/// The needs that no other covers, of needs in order.
fn outermost<'a>(needs: &[Need<'a>]) -> Vec<Need<'a>> {
    let mut kept: Vec<Need<'_>> = Vec::with_capacity(needs.len());
    for same in needs.chunk_by(|a, b| a.text == b.text) {
        if kept.last().is_some_and(|last| last.covers(same[0].text)) {
            continue;
        }
        let wildcard = same.iter().any(|need| need.wildcard);
        let mut alike = same.iter().filter(|need| need.wildcard == wildcard);
        kept.push(Need {
            text: same[0].text,
            wildcard,
            fixed: alike.all(|need| need.fixed),
        });
    }
    kept
}
