//! What a simulated CloudFront is like: how fast it is, and what goes wrong with whom, and when.

use std::{ops::Range, time::Duration};

use super::model::Fault;

/// How often what goes wrong, in parts of one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub throttled: f64,
    pub too_many: f64,
    pub lost_before: f64,
    pub lost_after: f64,
    pub unavailable: f64,
    pub denied: f64,
}

impl Faults {
    /// What goes wrong, by a number from 0 to 1.
    pub fn at(&self, mut number: f64) -> Option<Fault> {
        for (share, fault) in [
            (self.throttled, Fault::Throttling),
            (self.too_many, Fault::TooManyInProgress),
            (self.lost_before, Fault::LostBefore),
            (self.lost_after, Fault::LostAfter),
            (self.unavailable, Fault::Status(503)),
            (self.denied, Fault::AccessDenied),
        ] {
            if number < share {
                return Some(fault);
            }
            number -= share;
        }
        None
    }
}

/// What is wrong with one distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Denied,
    /// `NoSuchDistribution`, to every call for its invalidations.
    Gone,
    /// The list of the account does not have it, and it has no details.
    Unlisted,
    Throttled,
    PoolFull,
    /// The call is acted on, and its answer is lost.
    Lost,
    /// No call leaves this process.
    NotSent,
    /// `GetDistributionConfig` answers 503.
    Unread,
}

impl Trouble {
    /// What goes wrong with a CreateInvalidation call.
    pub fn fault(self) -> Option<Fault> {
        match self {
            Self::Denied => Some(Fault::AccessDenied),
            Self::Gone => Some(Fault::Gone),
            Self::Throttled => Some(Fault::Throttling),
            Self::PoolFull => Some(Fault::TooManyInProgress),
            Self::Lost => Some(Fault::LostAfter),
            Self::Unlisted | Self::NotSent | Self::Unread => None,
        }
    }
}

/// A distribution's trouble, from when to when since the beginning.
#[derive(Debug, Clone)]
pub struct Ill {
    pub distribution_id: String,
    pub trouble: Trouble,
    pub span: Range<Duration>,
}

/// A week: as good as for ever.
pub const FOR_EVER: Range<Duration> = Duration::ZERO..Duration::from_hours(24 * 7);

impl Ill {
    pub fn new(distribution_id: &str, trouble: Trouble, span: Range<Duration>) -> Self {
        Self {
            distribution_id: distribution_id.to_owned(),
            trouble,
            span,
        }
    }

    /// The same trouble with each of these.
    pub fn all<I: AsRef<str>>(
        distributions: &[I],
        trouble: Trouble,
        span: &Range<Duration>,
    ) -> Vec<Self> {
        let ids = distributions.iter().map(AsRef::as_ref);
        ids.map(|id| Self::new(id, trouble, span.clone())).collect()
    }
}

/// What a simulated CloudFront is like.
#[derive(Debug, Clone)]
pub struct Nature {
    pub distributions: Vec<String>,
    pub propagation: Duration,
    pub latency: Duration,
    pub faults: Faults,
    /// From when to when nothing answers, since the beginning.
    pub dark: Vec<(Duration, Duration)>,
    /// From when to when Get and List calls answer 503, since the beginning.
    pub blind: Vec<(Duration, Duration)>,
    /// Distributions whose invalidations may not be read.
    pub hidden: Vec<String>,
    /// A batch that is sent again gets a conflict, not the invalidation that it became.
    pub conflicts: bool,
    /// What is wrong with single distributions. Where one has several, the first counts.
    pub ills: Vec<Ill>,
    /// Paths that no batch may have.
    pub bad: Vec<String>,
}

impl Nature {
    /// Whether a distribution has this trouble at a time since the beginning.
    pub fn has(&self, distribution_id: &str, trouble: Trouble, at: Duration) -> bool {
        let mut all = self.ills_of(distribution_id, at);
        all.any(|ill| ill.trouble == trouble)
    }

    /// What goes wrong with a call for it at a time since the beginning.
    pub fn fault(&self, distribution_id: &str, at: Duration) -> Option<Fault> {
        let mut all = self.ills_of(distribution_id, at);
        all.find_map(|ill| ill.trouble.fault())
    }

    fn ills_of(&self, distribution_id: &str, at: Duration) -> impl Iterator<Item = &Ill> {
        let ills = self.ills.iter();
        ills.filter(move |ill| ill.distribution_id == distribution_id && ill.span.contains(&at))
    }
}
