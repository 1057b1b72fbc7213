//! Whether distributions had their turns at the account's calls: a pure judgement of what came in
//! and what was called.
//!
//! It counts calls, not seconds, so that it holds at any rate of calls and through any pause. A
//! distribution *waits* from when an exact path of it is overdue, twice the longest window after
//! it came in, as long as the distribution
//!
//! - is healthy: its last call, if any, was answered well, and no suspect of a batch with bad items
//!   waits,
//! - certainly has room: of what it may have in progress, at least one call's worth is left,
//! - and there is no excuse for the account as a whole, such as dark hours or a step of the clock.
//!
//! While it waits, at most `2.5 x max(H, 1) + 4` calls may be made for others, where H is how many
//! different healthy others are called: each of them has its turn (H calls), people may take every
//! second call (2 H), and one call in five may go to refused ones (2.5 H). Four more are for calls
//! under way, and for a plan that waits for another rate. And while anything is overdue that has room,
//! at a healthy distribution or not, the account may not stand still for longer than the longest pause
//! and the slowest call.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

/// The longest pause after a refusal, and a call at the lowest rate.
const MOST_IDLE: Duration = Duration::from_mins(16);
/// How long it may take until a completed invalidation is seen as such.
const SEEN_WITHIN: Duration = Duration::from_mins(6);

/// An item of a distribution that came in.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub at: Duration,
    /// From when it could be mapped.
    pub mapped_at: Duration,
    pub distribution_id: String,
    pub item: String,
}

/// A CreateInvalidation call.
#[derive(Debug, Clone)]
pub struct Turn {
    pub at: Duration,
    pub distribution_id: String,
    pub items: Vec<String>,
    pub answer: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Taken,
    /// At least one item is bad.
    BadItems,
    /// Not taken, or nobody knows.
    Refused,
    /// Not taken, and perhaps never: the distribution is gone.
    Gone,
}

/// What else the judgement needs to know.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    pub max_wait: Duration,
    pub propagation: Duration,
    /// With more paths than this in progress, a pool may have no room for a call.
    pub certain_room: usize,
    /// When nobody can see what is completed.
    pub blind: Vec<Range<Duration>>,
    /// When nobody waits.
    pub excused: Vec<Range<Duration>>,
    /// When the play ended.
    pub end: Duration,
}

/// A distribution waited for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delay {
    pub distribution_id: String,
    pub since: Duration,
    pub until: Duration,
    /// How many calls were made for others meanwhile.
    pub others: usize,
    /// How many of those others were healthy.
    pub healthy: usize,
}

/// The delays of all distributions. Arrivals and turns are in the order of their times.
pub fn delays(arrivals: &[Arrival], turns: &[Turn], conditions: &Conditions) -> Vec<Delay> {
    let ids: BTreeSet<_> = arrivals.iter().map(|one| &one.distribution_id).collect();
    let ids = ids.into_iter();
    ids.flat_map(|id| Watch::new(id, conditions).delays(arrivals, turns))
        .collect()
}

/// One distribution, watched through time.
struct Watch<'a> {
    id: &'a str,
    conditions: &'a Conditions,
    /// The exact paths that wait, and since when.
    paths: BTreeMap<&'a str, Duration>,
    /// The stems of the wildcards that wait.
    stems: BTreeSet<&'a str>,
    suspects: BTreeSet<&'a str>,
    refused: bool,
    /// What was taken, when.
    taken: Vec<(Duration, usize)>,
    /// The last call for anybody.
    last_turn: Duration,
    wait: Option<Wait<'a>>,
    delays: Vec<Delay>,
}

struct Wait<'a> {
    since: Duration,
    others: usize,
    healthy: BTreeSet<&'a str>,
    told: bool,
}

impl<'a> Watch<'a> {
    fn new(id: &'a str, conditions: &'a Conditions) -> Self {
        Self {
            id,
            conditions,
            paths: BTreeMap::new(),
            stems: BTreeSet::new(),
            suspects: BTreeSet::new(),
            refused: false,
            taken: Vec::new(),
            last_turn: Duration::ZERO,
            wait: None,
            delays: Vec::new(),
        }
    }

    fn delays(mut self, arrivals: &'a [Arrival], turns: &'a [Turn]) -> Vec<Delay> {
        let id = self.id;
        let arrivals = arrivals.iter().filter(|one| one.distribution_id == id);
        let mut arrivals = arrivals.peekable();
        let mut ill: BTreeSet<&str> = BTreeSet::new();
        for turn in turns {
            while let Some(arrival) = arrivals.next_if(|one| one.at < turn.at) {
                self.arrives(arrival);
            }
            self.looks(turn.at);
            let id = turn.distribution_id.as_str();
            if id == self.id {
                self.wait = None;
                self.called(turn);
            } else {
                self.other(turn.at, id, !ill.contains(id));
            }
            if turn.answer == Answer::Taken {
                ill.remove(id);
            } else {
                ill.insert(id);
            }
            self.last_turn = turn.at;
        }
        arrivals.for_each(|arrival| self.arrives(arrival));
        self.looks(self.conditions.end);
        self.delays
    }

    fn arrives(&mut self, arrival: &'a Arrival) {
        match arrival.item.strip_suffix('*') {
            Some(stem) => drop(self.stems.insert(stem)),
            None => drop(self.paths.entry(&arrival.item).or_insert(arrival.mapped_at)),
        }
    }

    fn called(&mut self, turn: &'a Turn) {
        let items = || turn.items.iter().map(String::as_str);
        self.refused = matches!(turn.answer, Answer::Refused | Answer::Gone);
        match turn.answer {
            Answer::Refused => {}
            Answer::Gone => self
                .paths
                .retain(|path, _| !items().any(|item| item == *path)),
            Answer::BadItems if turn.items.len() > 1 => self.suspects.extend(items()),
            Answer::BadItems => {
                for item in items() {
                    self.suspects.remove(item);
                    self.paths.remove(item);
                }
            }
            Answer::Taken => {
                self.taken.push((turn.at, turn.items.len()));
                for item in items() {
                    self.suspects.remove(item);
                    self.paths.remove(item);
                    if let Some(stem) = item.strip_suffix('*') {
                        self.stems.retain(|other| !other.starts_with(stem));
                        self.paths.retain(|path, _| !path.starts_with(stem));
                        self.suspects.retain(|path| !path.starts_with(stem));
                    }
                }
            }
        }
    }

    /// Since when a path is overdue that could go, whether the distribution is healthy or not.
    fn overdue_since(&self, at: Duration) -> Option<Duration> {
        if !self.could_go(at) {
            return None;
        }
        let beneath = |path: &str| self.stems.iter().any(|stem| path.starts_with(stem));
        let own = self.paths.iter().filter(|(path, _)| !beneath(path));
        let overdue = own
            .map(|(_, at)| *at + self.conditions.max_wait * 2)
            .min()?;
        // An excuse that is over is one for all of the time before.
        let excused = self.conditions.excused.iter().map(|span| span.end);
        let since = excused
            .filter(|end| *end <= at)
            .fold(overdue, Duration::max);
        (since <= at).then_some(since)
    }

    /// Whether it certainly has room, and the account has no excuse.
    fn could_go(&self, at: Duration) -> bool {
        let mut excused = self.conditions.excused.iter();
        !excused.any(|span| span.contains(&at)) && self.has_room(at)
    }

    fn has_room(&self, at: Duration) -> bool {
        let Conditions {
            propagation,
            blind,
            certain_room,
            ..
        } = self.conditions;
        let mut since = at.saturating_sub(*propagation + SEEN_WITHIN);
        for span in blind.iter().rev() {
            if span.start < at && since < span.end + SEEN_WITHIN {
                since = since.min(span.start.saturating_sub(*propagation + SEEN_WITHIN));
            }
        }
        let recent = self.taken.iter().filter(|(taken, _)| *taken >= since);
        recent.map(|(_, items)| items).sum::<usize>() <= *certain_room
    }

    /// Looks at it just before a call, or at the end: whether it waits.
    fn looks(&mut self, at: Duration) {
        let Some(since) = self.overdue_since(at) else {
            self.wait = None;
            return;
        };
        if self.is_healthy() {
            self.wait.get_or_insert_with(|| Wait::new(since));
        } else {
            self.wait = None;
        }
        let idle_since = since.max(self.last_turn);
        // Where it could not go before, it is not known since when it can.
        if self.could_go(idle_since) && at.saturating_sub(idle_since) > MOST_IDLE {
            let mut idle = Wait::new(idle_since);
            self.delays.extend(idle.told(self.id, at));
        }
    }

    fn is_healthy(&self) -> bool {
        !self.refused && self.suspects.is_empty()
    }

    fn other(&mut self, at: Duration, id: &'a str, healthy: bool) {
        let Some(wait) = &mut self.wait else { return };
        wait.others += 1;
        if healthy {
            wait.healthy.insert(id);
        }
        if wait.others > most_calls(wait.healthy.len()) {
            self.delays.extend(wait.told(self.id, at));
        }
    }
}

impl Wait<'_> {
    fn new(since: Duration) -> Self {
        Self {
            since,
            others: 0,
            healthy: BTreeSet::new(),
            told: false,
        }
    }

    /// It was too long; each is told once.
    fn told(&mut self, id: &str, until: Duration) -> Option<Delay> {
        let delay = Delay {
            distribution_id: id.to_owned(),
            since: self.since,
            until,
            others: self.others,
            healthy: self.healthy.len(),
        };
        let told = std::mem::replace(&mut self.told, true);
        (!told).then_some(delay)
    }
}

/// How many calls for others are fair while a distribution waits.
fn most_calls(healthy_others: usize) -> usize {
    healthy_others.max(1) * 5 / 2 + 4
}
