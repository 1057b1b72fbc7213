//! Which process leads, where several share a store: it plans, sends and follows invalidations, and it
//! alone knows how that work stands.

use jiff::Timestamp;

use super::{CatalogueStatus, Finding, Severity, Status};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Leadership {
    /// No other process can use the store, so this one leads.
    #[default]
    Alone,
    /// This process leads.
    Leads(Leader),
    /// Another process leads, or nobody is known to.
    Follows(Option<Leader>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The process, as it names itself.
    pub holder: String,
    pub since: Timestamp,
}

impl Leadership {
    pub fn leads(&self) -> bool {
        !matches!(self, Self::Follows(_))
    }

    /// Who leads, in words; `None` if there is no choice.
    pub fn in_words(&self) -> Option<String> {
        match self {
            Self::Alone => None,
            Self::Leads(Leader { holder, since }) => {
                Some(format!("this replica ({holder}) leads since {since:.0}"))
            }
            Self::Follows(Some(Leader { holder, since })) => {
                Some(format!("{holder} leads since {since:.0}"))
            }
            Self::Follows(None) => Some(
                "no replica is known to lead: what is accepted is safe, and is sent once one leads"
                    .to_owned(),
            ),
        }
    }

    /// The check of readiness.
    pub(super) fn finding(&self) -> Option<Finding> {
        let severity = match self {
            Self::Follows(None) => Severity::Warn,
            _ => Severity::Ok,
        };
        self.in_words().map(|detail| Finding {
            check: "leader",
            severity,
            detail,
        })
    }
}

impl Status {
    /// Forgets how the work stands, because another process knows it from now on. What is left, each
    /// process knows by itself.
    pub fn follow(&mut self, leader: Option<Leader>) {
        let workers = std::mem::take(&mut self.workers);
        let follower = workers.into_iter().filter(|(name, _)| *name == FOLLOWER);
        *self = Self {
            leadership: Leadership::Follows(leader),
            catalogue: CatalogueStatus {
                read_since: self.catalogue.read_since,
                ..CatalogueStatus::default()
            },
            shadow: self.shadow,
            workers: follower.collect(),
            ..Self::default()
        };
    }
}

/// The name of the worker that runs in every process.
pub const FOLLOWER: &str = "catalogue follower";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        ledger::MonthStatus,
        status::{DistributionStatus, WorkerFailure},
    };

    fn leader() -> Leader {
        Leader {
            holder: "host-a:17".to_owned(),
            since: Timestamp::UNIX_EPOCH,
        }
    }

    fn checks(status: &Status) -> Vec<(&'static str, Severity)> {
        let findings = status.findings().into_iter();
        findings.map(|one| (one.check, one.severity)).collect()
    }

    #[test]
    fn a_follower_claims_nothing_that_only_the_leader_knows() {
        let mut status = Status {
            paused: true,
            shadow: true,
            unknown_buckets: vec!["b".to_owned()],
            ..Status::default()
        };
        let failure = WorkerFailure {
            error: "gone".to_owned(),
            corrupt: false,
        };
        status.catalogue.read_since = Some(Timestamp::UNIX_EPOCH);
        status.workers.insert("mapper", failure.clone());
        status.workers.insert(FOLLOWER, failure);
        let busy = DistributionStatus::default();
        status.distributions.insert("E1".to_owned(), busy);
        status.month = Some(MonthStatus::default());
        status.follow(Some(leader()));
        assert_eq!(
            checks(&status),
            [
                ("leader", Severity::Ok),
                ("catalogue", Severity::Ok),
                ("shadow", Severity::Warn),
                ("workers", Severity::Warn),
                ("unreadable_rows", Severity::Ok),
            ]
        );
        assert!(status.distributions.is_empty() && !status.paused);
        assert_eq!(status.month, None);
        assert_eq!(status.workers.keys().collect::<Vec<_>>(), [&FOLLOWER]);
        let found = status.findings().remove(0);
        assert_eq!(found.detail, "host-a:17 leads since 1970-01-01T00:00:00Z");
    }

    #[test]
    fn who_leads_is_told_where_there_is_a_choice() {
        assert!(Status::default().leadership.leads());
        assert!(
            !checks(&Status::default())
                .iter()
                .any(|one| one.0 == "leader")
        );
        let leads = Status {
            leadership: Leadership::Leads(leader()),
            ..Status::default()
        };
        assert!(leads.leadership.leads());
        assert_eq!(checks(&leads)[0], ("leader", Severity::Ok));
        assert!(checks(&leads).len() > 10);
        let mut nobody = Status::default();
        nobody.follow(None);
        assert!(!nobody.leadership.leads());
        assert_eq!(checks(&nobody)[0], ("leader", Severity::Warn));
    }
}
