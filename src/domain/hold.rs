//! Deploy windows: holds that gather the changes of a distribution or of a bucket, so that they are sent
//! as one.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{catalogue::Catalogue, due::due_at};

/// For how long a hold may be asked for.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(1);

/// How far ahead the end of a hold can be. More than [`LONGEST`], so that a clock that is set back by a
/// little, as NTP does, ends no hold.
const FURTHEST: SignedDuration = SignedDuration::from_mins(65);

/// The most holds that one token may have open at once. Tokens do not share it, so none can keep the others
/// from theirs.
pub const MOST_OPEN: usize = 100;

/// How long the store keeps a hold that has ended, to know when batching began anew.
pub const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// The most holds that the store keeps although they have ended.
pub const MOST_ENDED: usize = 1_000;

/// What a hold holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Distribution(String),
    /// Each distribution that serves the bucket, also one that begins to while the hold is open.
    Bucket {
        bucket: String,
        /// Only these, in order, because the caller is limited to them. `None`: all.
        only: Option<Vec<String>>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployHold {
    pub id: Uuid,
    pub place: Place,
    /// The name of the token that asked for it.
    pub token: String,
    pub reason: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// When it was ended, if it did not end by itself.
    pub ended_at: Option<Timestamp>,
}

/// What became of a hold that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldAcceptance {
    New,
    /// An earlier call with the same token, key and body began this one.
    Repeated(DeployHold),
    /// The key belongs to a hold with another body.
    OtherBody,
    /// The token has [`MOST_OPEN`] of them.
    TooMany,
}

impl DeployHold {
    /// When it ends or has ended.
    fn ends_at(&self, now: Timestamp) -> Timestamp {
        self.ended_at
            .unwrap_or_else(|| due_at(self.expires_at, FURTHEST, now))
    }

    pub fn is_open(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && now < self.ends_at(now)
    }

    /// Whether it is over only because the clock was set back. This has to be kept: as time passes, its
    /// end would come near again.
    pub fn has_lost_its_end(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && !self.is_open(now) && self.expires_at > now
    }

    /// The only distributions that it can concern; `None` means all.
    pub fn limited_to(&self) -> Option<&[String]> {
        match &self.place {
            Place::Distribution(id) => Some(std::slice::from_ref(id)),
            Place::Bucket { only, .. } => only.as_deref(),
        }
    }

    /// The distributions that it holds, as far as the catalogue knows.
    pub fn distributions<'a>(&'a self, catalogue: &'a Catalogue) -> Vec<&'a str> {
        match &self.place {
            Place::Distribution(id) => vec![id],
            Place::Bucket { bucket, only } => {
                let serving = catalogue.serving(bucket).iter();
                let ids = serving.map(|one| one.distribution.id.as_str());
                let is_meant = |id: &&str| {
                    let only = only.as_ref();
                    only.is_none_or(|only| only.iter().any(|one| one == id))
                };
                ids.filter(is_meant).collect()
            }
        }
    }
}

/// What holds do to one distribution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Until when it is held at the latest, if it is.
    pub until: Option<Timestamp>,
    /// When the last hold that is over ended.
    pub released_at: Option<Timestamp>,
}

impl Held {
    fn and(self, other: Self) -> Self {
        Self {
            until: self.until.max(other.until),
            released_at: self.released_at.max(other.released_at),
        }
    }
}

/// What holds do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldNow {
    by_distribution: BTreeMap<String, Held>,
    /// Every distribution: nobody knows yet which ones serve a bucket.
    all: Held,
}

impl HeldNow {
    /// Resolves holds, also those that are over, through the catalogue. Without one, a hold of a bucket
    /// holds whatever it may: too much for some seconds after a start, rather than too little.
    pub fn resolve(holds: &[DeployHold], catalogue: Option<&Catalogue>, now: Timestamp) -> Self {
        let mut held_now = Self::default();
        for hold in holds {
            let ends_at = hold.ends_at(now);
            let is_open = hold.is_open(now);
            let held = Held {
                until: is_open.then_some(ends_at),
                released_at: (!is_open).then_some(ends_at),
            };
            let ids = match (catalogue, hold.limited_to()) {
                (Some(catalogue), _) => hold.distributions(catalogue),
                (None, Some(only)) => only.iter().map(String::as_str).collect(),
                (None, None) => {
                    held_now.all = held_now.all.and(held);
                    continue;
                }
            };
            for id in ids {
                let known = held_now.by_distribution.entry(id.to_owned()).or_default();
                *known = known.and(held);
            }
        }
        held_now
    }

    pub fn of(&self, distribution_id: &str) -> Held {
        let own = self.by_distribution.get(distribution_id);
        own.copied().unwrap_or_default().and(self.all)
    }

    /// The distributions that are held by name.
    pub fn held(&self) -> impl Iterator<Item = &str> {
        let named = self.by_distribution.iter();
        named
            .filter(|(_, held)| held.until.is_some())
            .map(|(id, _)| id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::catalogue::{Distribution, Origin, Snapshot};

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minutes * 60).unwrap()
    }

    /// Held from minute 0 to minute 10.
    fn hold(place: Place) -> DeployHold {
        DeployHold {
            id: Uuid::nil(),
            place,
            token: "t".to_owned(),
            reason: None,
            created_at: at(0),
            expires_at: at(10),
            ended_at: None,
        }
    }

    fn of_distribution(id: &str) -> DeployHold {
        hold(Place::Distribution(id.to_owned()))
    }

    fn of_bucket(bucket: &str, only: Option<&[&str]>) -> DeployHold {
        hold(Place::Bucket {
            bucket: bucket.to_owned(),
            only: only.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect()),
        })
    }

    /// Distributions, each in front of a bucket.
    fn catalogue(pairs: &[(&str, &str)]) -> Catalogue {
        let distributions = pairs.iter().map(|(id, bucket)| {
            Arc::new(Distribution {
                id: (*id).to_owned(),
                origins: vec![Origin {
                    id: "o".to_owned(),
                    domain: format!("{bucket}.s3.eu-west-1.amazonaws.com"),
                    path: String::new(),
                }],
                ..Distribution::default()
            })
        });
        let snapshot = Snapshot {
            distributions: distributions.collect(),
            ..Snapshot::default()
        };
        Catalogue::new(snapshot, Arc::new([]))
    }

    fn resolved(holds: &[DeployHold], catalogue: &Catalogue, minute: i64) -> HeldNow {
        HeldNow::resolve(holds, Some(catalogue), at(minute))
    }

    fn until(minute: i64) -> Held {
        Held {
            until: Some(at(minute)),
            released_at: None,
        }
    }

    #[test]
    fn a_hold_lasts_until_it_ends_or_is_ended() {
        let known = catalogue(&[]);
        let mut one = of_distribution("E1");
        let holds = [one.clone()];
        assert_eq!(resolved(&holds, &known, 9).of("E1"), until(10));
        assert_eq!(resolved(&holds, &known, 9).of("E2"), Held::default());
        let released = |minute| Held {
            until: None,
            released_at: Some(at(minute)),
        };
        assert_eq!(resolved(&holds, &known, 10).of("E1"), released(10));
        one.ended_at = Some(at(3));
        assert!(!one.is_open(at(3)));
        assert_eq!(resolved(&[one], &known, 3).of("E1"), released(3));
    }

    #[test]
    fn a_distribution_is_held_while_any_hold_is_open() {
        let mut short = of_distribution("E1");
        short.expires_at = at(5);
        let holds = [short, of_bucket("site", None)];
        let known = catalogue(&[("E1", "site")]);
        assert_eq!(resolved(&holds, &known, 4).of("E1"), until(10));
        let held = resolved(&holds, &known, 6).of("E1");
        assert_eq!(held.until, Some(at(10)));
        let held = resolved(&holds, &known, 11).of("E1");
        assert_eq!((held.until, held.released_at), (None, Some(at(10))));
    }

    #[test]
    fn a_bucket_is_held_at_each_distribution_that_serves_it_now() {
        let holds = [of_bucket("site", None)];
        let known = catalogue(&[("E1", "site"), ("E2", "other"), ("E3", "site")]);
        let held = resolved(&holds, &known, 1);
        assert_eq!(held.held().collect::<Vec<_>>(), ["E1", "E3"]);
        let later = catalogue(&[("E1", "site"), ("E4", "site")]);
        let held = resolved(&holds, &later, 2);
        assert_eq!(held.held().collect::<Vec<_>>(), ["E1", "E4"]);
        let limited = of_bucket("site", Some(&["E3", "E2"]));
        assert_eq!(limited.distributions(&known), ["E3"]);
        assert_eq!(limited.limited_to().unwrap(), ["E3", "E2"]);
    }

    #[test]
    fn without_a_catalogue_a_bucket_holds_what_it_may() {
        let held = |hold| HeldNow::resolve(&[hold], None, at(1));
        assert_eq!(held(of_bucket("site", None)).of("E7"), until(10));
        let limited = held(of_bucket("site", Some(&["E1"])));
        assert_eq!(limited.of("E1"), until(10));
        assert_eq!(limited.of("E2"), Held::default());
        assert_eq!(held(of_distribution("E1")).of("E2"), Held::default());
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_prolong_a_hold_for_long() {
        let one = of_distribution("E1");
        // By a little: it lasts as long as its own clock says.
        assert!(one.is_open(at(-3)) && !one.has_lost_its_end(at(-3)));
        assert!(one.is_open(at(-55)));
        assert!(!one.is_open(at(-56)));
        assert!(one.has_lost_its_end(at(-56)));
        let held = resolved(std::slice::from_ref(&one), &catalogue(&[]), -56).of("E1");
        assert_eq!(held.until, None);
        assert!(!one.has_lost_its_end(at(11)), "it ended in time");
    }
}
