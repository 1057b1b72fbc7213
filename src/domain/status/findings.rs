//! The checks of the background work: what needs attention, why, and what to do.

use super::{Announcement, CatalogueFailure, CatalogueStatus, Finding, Hold, Severity, Status};
use crate::domain::{change::Unmapped, operations::DayBudget, tracking::TAKEN_AS_COMPLETED};

/// The most unanswered questions that a warning names.
const MOST_QUESTIONS: usize = 5;

impl Status {
    /// All checks of the background work that this process can make, for readiness.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<_> = self.leadership.finding().into_iter().collect();
        if self.leadership.leads() {
            findings.extend(self.findings_of_work());
        } else {
            findings.extend([
                Finding::of("catalogue", self.catalogue_warning()),
                Finding::of("shadow", self.shadow_warning()),
                Finding::of("workers", self.waiting_workers()),
                self.unreadable_rows(),
            ]);
        }
        findings
    }

    fn findings_of_work(&self) -> Vec<Finding> {
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
                        "GetCachePolicy is denied for {ids}: mapping assumes that the cache key \
                         has no query strings; grant cloudfront:GetCachePolicy"
                    )
                })
                .into_iter()
                .chain(denied(&catalogue.policies_failed, |ids| {
                    format!(
                        "GetCachePolicy fails for {ids}: mapping assumes that the cache key has no \
                         query strings"
                    )
                }))
                .reduce(|denied, failed| format!("{denied}; {failed}")),
            ),
            Finding::of("rules", denied(&catalogue.rule_faults, str::to_owned)),
            Finding::of(
                "unused_settings",
                join(catalogue.unused_settings.iter().cloned()),
            ),
            Finding::of("unknown_buckets", self.buckets_without_distribution()),
            Finding::of("cloudfront", self.refusals()),
            Finding::of("tracking", self.unseen_invalidations()),
            Finding::of("wildcards", self.too_many_wildcards()),
            Finding::of("daily_limit", self.day_warning()),
            Finding::of("monthly_budget", self.month_warning()),
            Finding::of("paused", self.pause_warning()),
            self.deploy_windows(),
            Finding::of("shadow", self.shadow_warning()),
            Finding::of("subscriptions", self.confirmation_warning()),
            Finding::of("notices", self.undelivered_notices()),
            Finding::of("workers", self.waiting_workers()),
            self.unreadable_rows(),
        ];
        let notices = catalogue.notices.warnings();
        findings.extend(notices.map(|(check, warning)| Finding::of(check, warning)));
        findings
    }

    /// Those findings that are logged when they begin, change, or end. Others are logged where they
    /// are found.
    pub fn announcements(&self) -> Vec<Announcement> {
        let paused = self.pause_warning();
        vec![
            Announcement {
                check: "paused",
                stage: paused.clone().unwrap_or_default(),
                detail: paused,
            },
            Announcement {
                check: "daily_limit",
                stage: self.day_stage().to_string(),
                detail: self.day_warning(),
            },
            Announcement {
                check: "monthly_budget",
                stage: self.month.map_or(0, |month| month.stage()).to_string(),
                detail: self.month_warning(),
            },
            Announcement {
                check: "shadow",
                stage: String::new(),
                detail: self.shadow_warning(),
            },
            Announcement {
                check: "unused_settings",
                stage: self.catalogue.unused_settings.join("; "),
                detail: join(self.catalogue.unused_settings.iter().cloned()),
            },
        ]
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
            (Some(CatalogueFailure { error, remedy, .. }), _) => {
                let remedy = remedy.map_or(String::new(), |text| format!("; {text}"));
                Some(format!(
                    "ListDistributions failed ({error}); {meanwhile}{}{remedy}",
                    self.unmapped_note()
                ))
            }
            (None, None) => Some(format!("not read yet: {meanwhile}{}", self.unmapped_note())),
            (None, Some(_)) => self.unanswered_questions(),
        }
    }

    fn unanswered_questions(&self) -> Option<String> {
        let unanswered = self.catalogue.unanswered.iter().take(MOST_QUESTIONS);
        let unanswered = join(unanswered.map(|one| {
            let remedy = one.remedy.map_or(String::new(), |text| format!("; {text}"));
            format!("{}{remedy}", one.error)
        }))?;
        Some(format!(
            "changes that need these details wait{}: {unanswered}",
            self.unmapped_note()
        ))
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

    fn buckets_without_distribution(&self) -> Option<String> {
        let buckets = self.unknown_buckets.iter();
        let buckets = join(buckets.map(|bucket| format!("{bucket:?}")))?;
        Some(format!(
            "changes came from buckets that no distribution has as an origin, and invalidated nothing: \
             {buckets}. If one serves a bucket under another domain, add an [[origin]]; otherwise, \
             remove the bucket's notifications"
        ))
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
             {} minutes after it was submitted, and until then new items may wait for it",
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
        if spending.lifted {
            return Some(format!(
                "today's limit of {limit} items was lifted by `purgefront resume` until the day is over \
                 (UTC); {items} items were sent"
            ));
        }
        if items * 10 < limit {
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

    /// How far the daily limit is spent: 0 hardly, 1 from a tenth, 2 from four fifths, 3 completely; 4
    /// if it is lifted.
    pub fn day_stage(&self) -> u8 {
        let Some(DayBudget { limit, spending }) = self.day else {
            return 0;
        };
        match spending.items {
            _ if spending.lifted => 4,
            items if items >= limit => 3,
            items if items * 10 >= limit * 8 => 2,
            items if items * 10 >= limit => 1,
            _ => 0,
        }
    }

    fn month_warning(&self) -> Option<String> {
        let month = self.month?;
        let (paths, budget) = (month.ledger.paths(), month.budget);
        let mend =
            "raise economy.monthly_paths, or see by `GET /invalidations` what needs so many paths";
        match month.stage() {
            0 => None,
            1 => Some(format!(
                "{:.0}% of this month's budget is spent (at least {paths} of {budget} paths), and one path is worth \
                 {:.0} evictions by now instead of {}: {mend}",
                (month.spent_share() * 100.0).floor(),
                month.evictions_per_path,
                month.base_evictions_per_path
            )),
            _ => Some(format!(
                "this month's budget of {budget} paths is spent (at least {paths} paths): nothing is held, but until \
                 the month is over (UTC), however many unchanged objects are evicted to save a path; {mend}"
            )),
        }
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

    /// Somebody wants them, so they are no warning.
    fn deploy_windows(&self) -> Finding {
        let held = self.distributions.iter().flat_map(|(id, one)| {
            one.holds.iter().filter_map(move |hold| match hold {
                Hold::Held { until } => Some(format!("{id} (until {until:.0})")),
                _ => None,
            })
        });
        let detail = join(held).map(|held| {
            format!("deploy windows gather the changes of {held}: `DELETE /holds/ID` ends one")
        });
        Finding {
            detail: detail.unwrap_or_default(),
            ..Finding::of("holds", None)
        }
    }

    fn shadow_warning(&self) -> Option<String> {
        self.shadow.then(|| {
            "dispatch.mode is shadow: everything is planned, but nothing is sent".to_owned()
        })
    }

    fn confirmation_warning(&self) -> Option<String> {
        let failure = self.confirmation_failure.as_ref();
        let failure = failure.map_or(String::new(), |why| format!(" (the last attempt: {why})"));
        (self.confirmations > 0).then(|| {
            format!(
                "{} subscriptions are unconfirmed{failure}; confirming needs sns:ConfirmSubscription on the topic \
                 and access to SNS's API, and is retried until the token expires after two days",
                self.confirmations
            )
        })
    }

    fn undelivered_notices(&self) -> Option<String> {
        let failing = self.failing_receivers.iter();
        let failing = join(failing.map(|(origin, why)| format!("{origin} ({why})")))?;
        Some(format!(
            "{} notices wait; the receivers of some [[notify]] do not take them, and they are sent \
             again for three days: {failing}",
            self.notices.notices
        ))
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
