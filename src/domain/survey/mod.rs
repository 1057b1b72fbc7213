//! Surveys: which parts of the buckets behind a distribution are listed before its paths are merged.
//!
//! A wildcard pays only if it evicts few unchanged objects for the paths that it saves. So of a part of a
//! bucket, no more keys are read than may be evicted for the paths that have changed there: a part with more is
//! left, and those within it are looked at, the ones with the most changes first.

mod ground;
mod parts;
mod reach;
#[cfg(test)]
mod tests;

use std::collections::BinaryHeap;

use self::{
    ground::Footing,
    parts::{Part, shared},
    reach::Source,
};

use super::{
    consolidate::{Drain, Known},
    path::legal_stem,
};
pub use ground::Ground;

/// The most pages of 1,000 keys that are read, which is a fifth of a path's price.
const MOST_PAGES: usize = 200;
/// The most bytes of keys that are kept.
const MOST_BYTES: usize = 8 << 20;

/// How many keys a page of S3's has.
const PAGE: f64 = 1_000.0;
/// Which part of the pages that are left one part of a bucket may take.
const SHARE: usize = 4;

/// The bounds of a survey.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// How many unchanged objects may be evicted to save one path; infinite if all keys are wanted.
    pub evictions_per_path: f64,
    /// The most pages of 1,000 keys.
    pub pages: usize,
    /// The most bytes that the keys may have together.
    pub bytes: usize,
}

impl Bounds {
    /// The bounds for so many changed paths. If the limits do not let them through in time, all keys are wanted:
    /// more have to be merged than their price says.
    pub fn of(paths: usize, evictions_per_path: f64, drain: &Drain) -> Self {
        let is_much = paths > drain.paths;
        Self {
            evictions_per_path: if is_much {
                f64::INFINITY
            } else {
                evictions_per_path
            },
            pages: MOST_PAGES,
            bytes: MOST_BYTES,
        }
    }

    /// For keys that cost nothing to read.
    pub const NONE: Self = Self {
        evictions_per_path: f64::INFINITY,
        pages: usize::MAX,
        bytes: usize::MAX,
    };
}

/// A survey in progress. It says which page it needs next, and takes it.
#[derive(Debug)]
pub struct Survey {
    ground: Ground,
    bounds: Bounds,
    /// The changed paths, and the stems of wildcards, ordered and without repetitions.
    texts: Vec<String>,
    /// The parts that are still to be looked at.
    open: BinaryHeap<Part>,
    visit: Option<Visit>,
    found: Surveyed,
}

/// A page of a bucket's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    pub bucket: String,
    pub prefix: String,
    /// Only keys after this one.
    pub after: Option<String>,
}

/// The part that is being listed.
#[derive(Debug)]
struct Visit {
    part: Part,
    sources: Vec<Source>,
    /// How much of each source has been read, in order; the last may be in progress.
    read: Vec<Extent>,
    /// The viewer paths of the keys so far.
    paths: Vec<String>,
    /// How many keys may still be read.
    keys_left: f64,
}

/// How much of a source has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Extent {
    All,
    /// Up to and including this key.
    Through(String),
}

/// What a survey found out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Surveyed {
    footing: Footing,
    unusual: Vec<String>,
    /// What the parts begin with that were looked at and left, or could not be looked at: ordered.
    left: Vec<String>,
    /// What the parts begin with that were not looked at because a bound was reached: ordered.
    given_up: Vec<String>,
    /// The stems for which all keys are known,
    listed: Vec<String>,
    /// and the viewer paths of these keys.
    paths: Vec<String>,
    /// Whether parts were left because a bound was reached.
    pub partial: bool,
    /// How many pages were read.
    pub pages: usize,
}

impl Survey {
    /// A survey for the changed paths of a distribution; `None` if no wildcard could replace several of
    /// them.
    pub fn new(ground: Ground, mut texts: Vec<String>, bounds: Bounds) -> Option<Self> {
        texts.sort_unstable();
        texts.dedup();
        if texts.len() < 2 {
            return None;
        }
        let whole = Part::of(&texts, 0..texts.len());
        let found = Surveyed {
            footing: ground.footing(),
            unusual: ground.unusual.clone(),
            ..Surveyed::default()
        };
        Some(Self {
            ground,
            bounds,
            texts,
            open: BinaryHeap::from([whole]),
            visit: None,
            found,
        })
    }

    pub fn distribution_id(&self) -> &str {
        &self.ground.distribution_id
    }

    /// The page that it needs next; `None` if the survey is over.
    pub fn next_page(&mut self) -> Option<Ask> {
        if self.found.pages == self.bounds.pages || self.bounds.bytes == 0 {
            let visit = self.visit.take();
            self.open.extend(visit.map(|visit| visit.part));
            return None;
        }
        while self.visit.is_none() {
            let part = self.open.pop()?;
            self.visit(part);
        }
        self.visit.as_ref().and_then(Visit::ask)
    }

    /// Takes the page that it asked for: its keys, and whether there are more.
    pub fn take_page(&mut self, keys: Vec<String>, more: bool) {
        let Some(mut visit) = self.visit.take() else {
            return;
        };
        self.found.pages += 1;
        visit.keys_left -= f64::from(u32::try_from(keys.len()).unwrap_or(u32::MAX));
        let Ground {
            catalogue,
            distribution_id: id,
            ..
        } = &self.ground;
        let before = visit.paths.len();
        if let Some(source) = visit.sources.get(visit.at()) {
            let paths = keys
                .iter()
                .filter_map(|key| source.viewer_path(catalogue, id, key));
            visit.paths.extend(paths);
        }
        let bytes = visit.paths[before..].iter().map(String::len).sum();
        self.bounds.bytes = self.bounds.bytes.saturating_sub(bytes);
        let extent = match keys.into_iter().next_back() {
            Some(last) if more => Extent::Through(last),
            _ => Extent::All,
        };
        let too_many = extent != Extent::All && visit.keys_left <= 0.0;
        visit.note(extent);
        if too_many || visit.is_over() {
            self.conclude(visit);
        } else {
            self.visit = Some(visit);
        }
    }

    /// The page that it asked for cannot be had, nor can any other of this bucket: all that would need it is not
    /// known.
    pub fn skip_page(&mut self) {
        if let Some(visit) = self.visit.take() {
            self.conclude(visit);
        }
    }

    /// Ends the survey, also before it is over.
    pub fn finish(mut self) -> Surveyed {
        self.open.extend(self.visit.take().map(|visit| visit.part));
        self.found.partial = !self.open.is_empty();
        // There is no point in asking for these again at once.
        for part in self.open.drain() {
            let stem = part.stem(&self.texts).to_owned();
            self.found.given_up.push(stem);
        }
        for stems in [
            &mut self.found.listed,
            &mut self.found.left,
            &mut self.found.given_up,
        ] {
            stems.sort_unstable();
        }
        self.found
    }

    fn leave(&mut self, part: &Part) {
        let stem = part.stem(&self.texts).to_owned();
        self.found.left.push(stem);
    }

    /// Begins to list a part, if that is possible.
    fn visit(&mut self, part: Part) {
        let stem = legal_stem(part.stem(&self.texts));
        let sources = self.ground.sources(stem);
        match sources {
            None => {
                self.leave(&part);
                self.open.extend(part.within(&self.texts));
            }
            Some(sources) => {
                let number = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
                let pays = number(part.len()) * (1.0 + self.bounds.evictions_per_path);
                // So that there is something left for the parts within.
                let pages_left = self.bounds.pages - self.found.pages;
                let share = number(pages_left.div_ceil(SHARE)) * PAGE;
                let visit = Visit {
                    sources,
                    read: Vec::new(),
                    paths: Vec::new(),
                    keys_left: pays.min(share),
                    part,
                };
                if visit.is_over() {
                    // Nothing is cached there.
                    self.conclude(visit);
                } else {
                    self.visit = Some(visit);
                }
            }
        }
    }

    /// Notes what is known after a part has been listed, and opens the parts within it where too little is.
    fn conclude(&mut self, visit: Visit) {
        let Visit {
            part,
            sources,
            read,
            paths,
            ..
        } = visit;
        if read.len() == sources.len() && read.iter().all(|extent| *extent == Extent::All) {
            let stem = legal_stem(part.stem(&self.texts)).to_owned();
            self.found.listed.push(stem);
            self.found.paths.extend(paths);
            return;
        }
        self.leave(&part);
        let mut known: Vec<String> = Vec::new();
        let mut within: Vec<_> = part.within(&self.texts).collect();
        let whole = legal_stem(part.stem(&self.texts)).to_owned();
        while let Some(part) = within.pop() {
            let stem = legal_stem(part.stem(&self.texts)).to_owned();
            if stem == whole {
                // They part within an escape.
                self.leave(&part);
                within.extend(part.within(&self.texts));
                continue;
            }
            let own = self.ground.sources(&stem);
            let is_known = own.is_some_and(|own| {
                own.iter().all(|own| {
                    let read = sources.iter().zip(&read);
                    let mut same = read.filter(|(source, _)| source.is_within(own));
                    same.any(|(_, extent)| extent.has_all(&own.prefix))
                })
            });
            if is_known {
                known.push(stem);
            } else {
                self.open.push(part);
            }
        }
        let is_known = |path: &String| known.iter().any(|stem| path.starts_with(stem.as_str()));
        self.found.paths.extend(paths.into_iter().filter(is_known));
        self.found.listed.extend(known);
    }
}

impl Visit {
    fn ask(&self) -> Option<Ask> {
        let source = self.source()?;
        let after = match self.read.get(self.at()) {
            Some(Extent::Through(key)) => Some(key.clone()),
            Some(Extent::All) | None => None,
        };
        Some(Ask {
            bucket: source.address.bucket.clone(),
            prefix: source.prefix.clone(),
            after,
        })
    }

    /// Which source is being read.
    fn at(&self) -> usize {
        match self.read.last() {
            Some(Extent::Through(_)) => self.read.len() - 1,
            Some(Extent::All) | None => self.read.len(),
        }
    }

    fn source(&self) -> Option<&Source> {
        self.sources.get(self.at())
    }

    fn note(&mut self, extent: Extent) {
        let at = self.at();
        self.read.truncate(at);
        self.read.push(extent);
    }

    /// Whether all sources have been read.
    fn is_over(&self) -> bool {
        self.at() >= self.sources.len()
    }
}

impl Extent {
    /// Whether all keys with a prefix are among those that have been read.
    fn has_all(&self, prefix: &str) -> bool {
        match self {
            Self::All => true,
            Self::Through(key) => key.as_str() > prefix && !key.starts_with(prefix),
        }
    }
}

impl Surveyed {
    /// The keys that are known, as viewer paths.
    pub fn known(&self) -> Known<'_> {
        let known = Known::under(
            self.listed.iter().map(String::as_str).collect(),
            self.paths.iter().map(String::as_str).collect(),
        );
        known.without(self.unusual.iter().map(String::as_str).collect())
    }

    /// Whether it holds: what it was made of is still so.
    pub fn stands_on(&self, ground: &Ground) -> bool {
        self.unusual == ground.unusual && self.footing == ground.footing()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// How many bytes the keys have.
    pub fn bytes(&self) -> usize {
        self.paths.iter().map(String::len).sum()
    }

    /// Whether it says enough about changed paths, which are in order: each part in which several of them have
    /// changed was listed, or left.
    pub fn serves(&self, texts: &[&str]) -> bool {
        texts.windows(2).all(|pair| {
            let stem = shared(pair[0], pair[1]);
            let is_left = || {
                self.left
                    .binary_search_by(|one| one.as_str().cmp(stem))
                    .is_ok()
            };
            is_below(stem, &self.listed) || is_below(stem, &self.given_up) || is_left()
        })
    }
}

/// Whether a stem begins with one of these, which are in order and do not begin with each other.
fn is_below(stem: &str, above: &[String]) -> bool {
    let after = above.partition_point(|one| one.as_str() <= stem);
    after > 0 && stem.starts_with(&above[after - 1])
}
