//! Pages of what became of an object's changes, from any kind of store.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use crate::{
    domain::{
        history::Skipped,
        story::{ChangeQuery, ChangeStory, StoryPage, TargetEnd},
        wait::Wait,
    },
    ports::StoreError,
};

/// A page ends after this many changes, seen or not, and before this many parts (targets, skips, dead
/// letters and waits) but for those of one change: a request must not occupy a reader, nor memory, for
/// long.
const MOST_CHANGES: usize = 1_000;
const MOST_PARTS: usize = 5_000;
/// How many changes are read at once for a caller who may not see all.
const CHUNK: usize = 100;

/// The changes of an object in one state of a store.
pub(in crate::store) trait ObjectChanges: Send {
    /// The numbers of the next changes, newest first: fewer than `most` at the end of the journal or of the work for
    /// a page.
    fn numbers(
        &mut self,
        query: &ChangeQuery,
        most: usize,
    ) -> impl Future<Output = sqlx::Result<Vec<i64>>> + Send;

    /// Where the search goes on; `None` at the end of the journal.
    fn rest(&self) -> Option<i64>;

    /// The number of parts of each change that has some.
    fn parts(
        &mut self,
        numbers: &[i64],
    ) -> impl Future<Output = sqlx::Result<Vec<(i64, i64)>>> + Send;

    /// Changes with all that became of them.
    fn stories(
        &mut self,
        numbers: &[i64],
    ) -> impl Future<Output = Result<Stories, StoreError>> + Send;
}

pub(in crate::store) async fn page(
    changes: &mut impl ObjectChanges,
    query: &ChangeQuery,
) -> Result<StoryPage, StoreError> {
    let mut page = StoryPage::default();
    let (mut looked_at, mut parts) = (0, 0);
    while page.changes.len() < query.limit {
        // One more tells whether there is another page.
        let missing = query.limit - page.changes.len();
        let most = match query.viewer {
            Some(_) => CHUNK.max(missing + 1),
            None => missing + 1,
        };
        let numbers = changes.numbers(query, most).await?;
        let counts = changes.parts(&numbers).await?;
        let mut affordable = affordable(&numbers, counts, &mut parts);
        if query.viewer.is_none() {
            affordable = affordable.min(missing);
        }
        let mut read = 0;
        let stories = match &numbers[..affordable] {
            [] => Stories::default(),
            numbers => changes.stories(numbers).await?,
        };
        for story in stories.newest_first() {
            read += 1;
            page.next = Some(story.id);
            page.changes.extend(match &query.viewer {
                Some(viewer) => story.seen_by(viewer),
                None => Some(story),
            });
            if page.changes.len() == query.limit {
                break;
            }
        }
        if read < numbers.len() {
            return Ok(page);
        }
        looked_at += read;
        page.next = changes.rest();
        if numbers.len() < most || looked_at >= MOST_CHANGES {
            break;
        }
    }
    Ok(page)
}

/// How many of these changes, which follow `parts` of others, can be read for a page: the very first one
/// in any case.
fn affordable(numbers: &[i64], counts: Vec<(i64, i64)>, parts: &mut usize) -> usize {
    let counts: HashMap<i64, i64> = counts.into_iter().collect();
    for (at, number) in numbers.iter().enumerate() {
        let count = counts.get(number).copied().unwrap_or(0);
        let sum = *parts + usize::try_from(count).unwrap_or(0);
        if sum > MOST_PARTS && (at > 0 || *parts > 0) {
            return at;
        }
        *parts = sum;
    }
    numbers.len()
}

/// Changes, to which is added what became of them.
#[derive(Default)]
pub(in crate::store) struct Stories(BTreeMap<Reverse<i64>, ChangeStory>);

impl Stories {
    pub(in crate::store) fn of(stories: Vec<ChangeStory>) -> Self {
        let stories = stories.into_iter();
        Self(stories.map(|story| (Reverse(story.id), story)).collect())
    }

    pub(in crate::store) fn end(&mut self, change: i64, end: TargetEnd) {
        self.add(change, |story| story.ends.push(end));
    }

    pub(in crate::store) fn skip(&mut self, change: i64, skip: Skipped) {
        self.add(change, |story| story.skipped.push(skip));
    }

    pub(in crate::store) fn wait(&mut self, change: i64, wait: Wait) {
        self.add(change, |story| story.waits.push(wait));
    }

    fn add(&mut self, change: i64, add: impl FnOnce(&mut ChangeStory)) {
        if let Some(story) = self.0.get_mut(&Reverse(change)) {
            add(story);
        }
    }

    fn newest_first(self) -> impl Iterator<Item = ChangeStory> {
        self.0.into_values()
    }
}
