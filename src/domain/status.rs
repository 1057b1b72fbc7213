//! The status of the background work: one value that readiness and metrics read.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    batch::{Backlog, Usage},
    change::Unmapped,
    mapping::Notices,
    operations::DayBudget,
    tracking::TAKEN_AS_COMPLETED,
};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    pub catalogue: CatalogueStatus,
    /// Changes that are unseen or wait for the catalogue.
    pub unmapped: Unmapped,
    pub distributions: BTreeMap<String, DistributionStatus>,
    /// Whether sending is paused for all distributions.
    pub paused: bool,
    /// Whether everything is planned but nothing is sent.
    pub shadow: bool,
    /// `None` if there is no limit.
    pub day: Option<DayBudget>,
    /// The most wildcards in progress per distribution.
    pub wildcards_in_progress: usize,
    /// Distributions whose invalidations cannot be read, and why.
    pub unseen: BTreeMap<String, String>,
    /// The number of unconfirmed subscriptions.
    pub confirmations: usize,
    /// Workers whose last run failed, by name.
    pub workers: BTreeMap<&'static str, WorkerFailure>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct DistributionStatus {
    pub waiting: Backlog,
    pub unresolved: UnresolvedBatches,
    /// Our items, frozen or in progress at CloudFront.
    pub in_progress: Usage,
    /// Why due items wait. Empty if none do.
    pub holds: Vec<Hold>,
}

/// Frozen batches without a definite answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnresolvedBatches {
    pub batches: usize,
    /// When the oldest was frozen.
    pub since: Option<Timestamp>,
}

/// Why a distribution's items are held.
#[derive(Debug, Clone, PartialEq)]
pub enum Hold {
    /// An operator paused the distribution, or all.
    Paused,
    /// The daily limit is spent: automatic work waits.
    DayLimit,
    /// Too many items are in progress, ours or others'.
    PoolFull,
    /// CloudFront or the store failed. It is retried with growing pauses.
    Refused(Refused),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    pub error: String,
    /// What an operator can do, if known.
    pub remedy: Option<&'static str>,
    /// The store has an unreadable row: waiting does not help.
    pub corrupt: bool,
    /// Failures in a row.
    pub failures: u32,
    pub retry_at: Timestamp,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct CatalogueStatus {
    /// When reading the current catalogue began; `None` until the account has been read once.
    pub read_since: Option<Timestamp>,
    /// Why the last reading failed, if it did.
    pub failure: Option<String>,
    /// Distributions whose configuration may not be read.
    pub details_denied: Vec<String>,
    /// Cache policies that may not be read.
    pub policies_denied: Vec<String>,
    /// Rules that emit cache tags for distributions that do not keep them.
    pub rule_faults: Vec<String>,
    pub notices: Notices,
}

/// Why a worker's last run failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerFailure {
    pub error: String,
    /// The store has an unreadable row: waiting does not help.
    pub corrupt: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Ok,
    /// An operator should look.
    Warn,
    /// Something stands still until an operator fixes it.
    Fail,
}

/// The result of a named check, for readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub check: &'static str,
    pub severity: Severity,
    /// The reason and what to do; empty if the severity is `Ok`.
    pub detail: String,
}

impl Finding {
    fn of(check: &'static str, warning: Option<String>) -> Self {
        Self {
            check,
            severity: if warning.is_some() {
                Severity::Warn
            } else {
                Severity::Ok
            },
            detail: warning.unwrap_or_default(),
        }
    }
}

impl Status {
    /// All checks of the background work, for readiness.
    pub fn findings(&self) -> Vec<Finding> {
        let catalogue = &self.catalogue;
        let mut findings = vec![
            Finding::of("catalogue", self.catalogue_warning()),
            Finding::of(
                "root_objects",
                denied(&catalogue.details_denied, |ids| {
                    format!(
                        "GetDistributionConfig is denied for {ids}: mapping continues without the \
                         default root object; grant cloudfront:GetDistributionConfig"
                    )
                }),
            ),
            Finding::of(
                "cache_policies",
                denied(&catalogue.policies_denied, |ids| {
                    format!(
                        "GetCachePolicy is denied or fails for {ids}: mapping assumes that the \
                         cache key has no query strings; grant cloudfront:GetCachePolicy"
                    )
                }),
            ),
            Finding::of("rules", denied(&catalogue.rule_faults, str::to_owned)),
            Finding::of("cloudfront", self.refusals()),
            Finding::of("tracking", self.unseen_invalidations()),
            Finding::of("wildcards", self.too_many_wildcards()),
            Finding::of("daily_limit", self.day_warning()),
            Finding::of("paused", self.pause_warning()),
            Finding::of("shadow", self.shadow_warning()),
            Finding::of("subscriptions", self.confirmation_warning()),
            Finding::of("workers", self.waiting_workers()),
            self.unreadable_rows(),
        ];
        let notices = catalogue.notices.warnings();
        findings.extend(notices.map(|(check, warning)| Finding::of(check, warning)));
        findings
    }

    fn catalogue_warning(&self) -> Option<String> {
        let CatalogueStatus {
            read_since,
            failure,
            ..
        } = &self.catalogue;
        let meanwhile = match read_since {
            Some(since) => format!("mapping continues with the reading of {since}"),
            None => "changes wait until the account has been read".to_owned(),
        };
        match (failure, read_since) {
            (Some(failure), _) => Some(format!(
                "ListDistributions failed ({failure}); {meanwhile}. It needs \
                 cloudfront:ListDistributions on *{}",
                self.unmapped_note()
            )),
            (None, None) => Some(format!("not read yet: {meanwhile}{}", self.unmapped_note())),
            (None, Some(_)) => None,
        }
    }

    fn unmapped_note(&self) -> String {
        match self.unmapped {
            Unmapped {
                changes,
                oldest: Some(oldest),
            } if changes > 0 => format!(" ({changes} changes wait, the oldest since {oldest})"),
            _ => String::new(),
        }
    }

    fn refusals(&self) -> Option<String> {
        let refused = self.distributions.iter().flat_map(|(id, one)| {
            one.holds.iter().filter_map(move |hold| match hold {
                Hold::Refused(refused) if !refused.corrupt => {
                    let remedy = refused
                        .remedy
                        .map_or(String::new(), |text| format!("; {text}"));
                    Some(format!(
                        "{id}: failed {} times, will be retried: {}{remedy}",
                        refused.failures, refused.error
                    ))
                }
                _ => None,
            })
        });
        join(refused)
    }

    fn unseen_invalidations(&self) -> Option<String> {
        let unseen = self.unseen.iter();
        let unseen = join(unseen.map(|(id, error)| format!("{id} ({error})")))?;
        Some(format!(
            "GetInvalidation does not succeed for {unseen}: what cannot be seen is taken as completed \
             {} minutes after it was submitted, and until then new items may wait for it; grant \
             cloudfront:GetInvalidation",
            TAKEN_AS_COMPLETED.as_mins()
        ))
    }

    /// Warns if more wildcards wait than may be in progress: then they are not occasional.
    fn too_many_wildcards(&self) -> Option<String> {
        let most = self.wildcards_in_progress;
        let busy = self.distributions.iter().filter_map(|(id, one)| {
            let wildcards = one.waiting.wildcards();
            (wildcards > most).then(|| format!("{id} ({wildcards})"))
        });
        let busy: Vec<_> = busy.collect();
        (!busy.is_empty()).then(|| {
            format!(
                "more wildcards wait than may be in progress at once ({most}): {}. Query strings \
                 in a cache key turn every file into a wildcard; `purgefront plan` shows which",
                busy.join(", ")
            )
        })
    }

    fn day_warning(&self) -> Option<String> {
        let DayBudget { limit, spending } = self.day?;
        let items = spending.items;
        if spending.lifted || items * 10 < limit {
            return None;
        }
        if items < limit {
            let share = items * 100 / limit;
            let urgent = if items * 10 >= limit * 8 { "!" } else { "" };
            return Some(format!(
                "{share}% of today's limit is spent ({items} of {limit} items){urgent}"
            ));
        }
        let held = self.distributions.iter().filter_map(|(id, one)| {
            let items = one.waiting.automatic();
            (items > 0).then(|| format!("{id}: {items}"))
        });
        let held: Vec<_> = held.collect();
        Some(format!(
            "today's limit of {limit} items is spent: automatic work is held until the day is over \
             (UTC) or `purgefront resume`; held items: {}",
            if held.is_empty() {
                "none".to_owned()
            } else {
                held.join(", ")
            }
        ))
    }

    fn pause_warning(&self) -> Option<String> {
        if self.paused {
            let text = "sending is paused for all distributions: `purgefront resume` continues";
            return Some(text.to_owned());
        }
        let paused = self.distributions.iter();
        let paused = paused.filter(|(_, one)| one.holds.contains(&Hold::Paused));
        let ids: Vec<_> = paused.map(|(id, _)| id.as_str()).collect();
        (!ids.is_empty()).then(|| {
            format!(
                "sending is paused for {}: `purgefront resume ID` continues",
                ids.join(", ")
            )
        })
    }

    fn shadow_warning(&self) -> Option<String> {
        self.shadow.then(|| {
            "dispatch.mode is shadow: everything is planned, but nothing is sent".to_owned()
        })
    }

    fn confirmation_warning(&self) -> Option<String> {
        (self.confirmations > 0).then(|| {
            format!(
                "{} subscriptions are unconfirmed; confirming needs sns:ConfirmSubscription on the topic \
                 and access to SNS's API, and is retried until the token expires after two days",
                self.confirmations
            )
        })
    }

    fn waiting_workers(&self) -> Option<String> {
        let waiting = self.workers.iter().filter(|(_, one)| !one.corrupt);
        join(waiting.map(|(name, one)| format!("{name}: {}", one.error)))
    }

    /// The workers and distributions that stand still because of an unreadable row.
    fn unreadable_rows(&self) -> Finding {
        let workers = self.workers.iter().filter(|(_, one)| one.corrupt);
        let workers = workers.map(|(name, one)| format!("{name}: {}", one.error));
        let distributions = self.distributions.iter().flat_map(|(id, one)| {
            one.holds.iter().filter_map(move |hold| match hold {
                Hold::Refused(refused) if refused.corrupt => {
                    Some(format!("{id}: {}", refused.error))
                }
                _ => None,
            })
        });
        let mut finding = Finding::of("unreadable_rows", join(workers.chain(distributions)));
        if finding.severity == Severity::Warn {
            finding.severity = Severity::Fail;
        }
        finding
    }
}

fn denied(ids: &[String], text: impl FnOnce(&str) -> String) -> Option<String> {
    (!ids.is_empty()).then(|| text(&ids.join(", ")))
}

fn join(texts: impl Iterator<Item = String>) -> Option<String> {
    let texts: Vec<_> = texts.collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::operations::DaySpending;

    fn detail(status: &Status, check: &str) -> String {
        let findings = status.findings();
        let finding = findings.into_iter().find(|one| one.check == check).unwrap();
        let ok = finding.severity == Severity::Ok;
        assert_eq!(ok, finding.detail.is_empty(), "{finding:?}");
        finding.detail
    }

    fn with(holds: Vec<Hold>) -> Status {
        let one = DistributionStatus {
            holds,
            ..DistributionStatus::default()
        };
        Status {
            distributions: BTreeMap::from([("E1".to_owned(), one)]),
            ..Status::default()
        }
    }

    fn refused(corrupt: bool) -> Hold {
        Hold::Refused(Refused {
            error: "access denied: no".to_owned(),
            remedy: Some("grant it"),
            corrupt,
            failures: 3,
            retry_at: Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn each_hold_is_reported_by_its_own_check() {
        let text = detail(&with(vec![refused(false)]), "cloudfront");
        assert!(
            ["E1", "3 times", "access denied", "grant it"]
                .iter()
                .all(|part| text.contains(part)),
            "{text}"
        );
        assert_eq!(detail(&with(vec![Hold::PoolFull]), "cloudfront"), "");
        assert!(detail(&with(vec![Hold::Paused]), "paused").contains("E1"));
        let all = Status {
            paused: true,
            ..with(vec![Hold::Paused])
        };
        assert!(detail(&all, "paused").contains("all distributions"));
        let shadow = Status {
            shadow: true,
            ..Status::default()
        };
        assert!(detail(&shadow, "shadow").contains("nothing is sent"));
    }

    #[test]
    fn what_cannot_be_seen_is_named_with_the_permission() {
        let mut status = Status::default();
        assert_eq!(detail(&status, "tracking"), "");
        let why = "access denied: no".to_owned();
        status.unseen.insert("E1".to_owned(), why);
        let text = detail(&status, "tracking");
        let named = [
            "E1",
            "access denied",
            "cloudfront:GetInvalidation",
            "30 minutes",
        ];
        assert!(named.iter().all(|part| text.contains(part)), "{text}");
    }

    #[test]
    fn an_unreadable_row_is_a_failure_but_not_a_refusal() {
        let mut status = with(vec![refused(true)]);
        let failure = WorkerFailure {
            error: "table changes, seq = 7".to_owned(),
            corrupt: true,
        };
        status.workers.insert("mapper", failure);
        let findings = status.findings();
        let finding = findings.iter().find(|one| one.check == "unreadable_rows");
        let finding = finding.unwrap();
        assert_eq!(finding.severity, Severity::Fail);
        assert!(finding.detail.contains("mapper: table changes, seq = 7"));
        assert!(finding.detail.contains("E1: "));
        assert_eq!(detail(&status, "cloudfront"), "");
        assert_eq!(detail(&status, "workers"), "");
    }

    #[test]
    fn the_daily_limit_warns_from_a_tenth_and_urgently_from_four_fifths() {
        let day = |items, lifted| Status {
            day: Some(DayBudget {
                limit: 100,
                spending: DaySpending { items, lifted },
            }),
            ..Status::default()
        };
        assert_eq!(detail(&day(9, false), "daily_limit"), "");
        assert!(detail(&day(10, false), "daily_limit").starts_with("10% "));
        assert!(!detail(&day(79, false), "daily_limit").ends_with('!'));
        assert!(detail(&day(80, false), "daily_limit").ends_with('!'));
        assert!(detail(&day(100, false), "daily_limit").ends_with("held items: none"));
        assert_eq!(detail(&day(100, true), "daily_limit"), "");
        assert_eq!(detail(&Status::default(), "daily_limit"), "");
    }

    #[test]
    fn the_catalogue_check_reports_the_changes_that_wait() {
        let mut status = Status::default();
        assert!(detail(&status, "catalogue").contains("not read yet"));
        status.unmapped = Unmapped {
            changes: 12,
            oldest: Some(Timestamp::UNIX_EPOCH),
        };
        assert!(detail(&status, "catalogue").contains("12 changes"));
        status.catalogue.read_since = Some(Timestamp::UNIX_EPOCH);
        assert_eq!(detail(&status, "catalogue"), "");
        status.catalogue.failure = Some("throttled".to_owned());
        assert!(detail(&status, "catalogue").contains("throttled"));
    }
}
