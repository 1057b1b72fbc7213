//! The parts of a distribution's paths in which several have changed.

use std::{cmp::Ordering, ops::Range};

/// Changed paths that begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Which of the ordered paths.
    range: Range<usize>,
    /// How many bytes they share.
    shared: usize,
}

impl Part {
    /// The part with this range of paths, which is not empty.
    pub(super) fn of(texts: &[String], range: Range<usize>) -> Self {
        let shared = shared(&texts[range.start], &texts[range.end - 1]).len();
        Self { range, shared }
    }

    /// How many paths it has.
    pub(super) fn len(&self) -> usize {
        self.range.len()
    }

    /// What its paths begin with.
    pub(super) fn stem<'a>(&self, texts: &'a [String]) -> &'a str {
        &texts[self.range.start][..self.shared]
    }

    /// The largest parts within it that have several paths.
    pub(super) fn within<'a>(&self, texts: &'a [String]) -> impl Iterator<Item = Self> + use<'a> {
        let (start, shared) = (self.range.start, self.shared);
        let next = move |text: &String| text.as_bytes().get(shared).copied();
        let groups = texts[self.range.clone()].chunk_by(move |one, other| next(one) == next(other));
        let mut at = start;
        let ranges = groups.map(move |group| {
            let range = at..at + group.len();
            at = range.end;
            range
        });
        ranges
            .filter(|range| range.len() > 1)
            .map(|range| Self::of(texts, range))
    }
}

/// What two paths, which are ASCII, begin with.
pub(super) fn shared<'a>(one: &'a str, other: &str) -> &'a str {
    let pairs = one.bytes().zip(other.bytes());
    &one[..pairs.take_while(|(one, other)| one == other).count()]
}

impl Ord for Part {
    /// The one with the most paths is the greatest; of two with as many, the first.
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.len().cmp(&other.len());
        let order = order.then(other.range.start.cmp(&self.range.start));
        order.then(self.shared.cmp(&other.shared))
    }
}

impl PartialOrd for Part {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
