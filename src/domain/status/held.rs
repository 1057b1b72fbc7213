//! What holds work, as the API tells it: one entry for each reason that the status has.

use jiff::Timestamp;
use serde::Serialize;

use super::{Hold, Refused, Status};
use crate::domain::{operations::next_day, wait::Wait};

/// One reason why work at a distribution, or a change for all of them, does not move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldBy {
    /// `None` (null) if it holds the change at all distributions.
    pub distribution_id: Option<String>,
    /// A stable name: that of the [`Hold`], or `shadow`, `catalogue` or `worker`.
    pub hold: &'static str,
    /// What it is, and what helps, in words.
    pub detail: String,
    /// When it is tried again or ends by itself, if known.
    pub retry_at: Option<Timestamp>,
}

/// For whom reasons are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Who may see all distributions: with the errors as AWS sent them, which name roles and accounts.
    Everything,
    /// Who may see some distributions only: without what AWS said.
    Limited,
}

impl Status {
    /// What holds the waiting items and the unresolved batches of a distribution; `None` if only
    /// another process knows.
    pub fn held_at(&self, id: &str, audience: Audience, now: Timestamp) -> Option<Vec<HeldBy>> {
        if !self.leadership.leads() {
            return None;
        }
        let known = self.distributions.get(id);
        let holds = known.map_or(&[][..], |one| one.holds.as_slice());
        let mut held: Vec<_> = holds
            .iter()
            .map(|hold| self.entry(id, hold, audience, now))
            .collect();
        if self.paused && !holds.contains(&Hold::Paused) {
            held.push(self.entry(id, &Hold::Paused, audience, now));
        }
        if self.shadow {
            let detail = "nothing is sent: dispatch.mode is \"shadow\"".to_owned();
            held.push(HeldBy::new(Some(id), "shadow", detail));
        }
        Some(held)
    }

    /// What holds a change that has not been mapped, or not to all its distributions; `None` if only
    /// another process knows.
    pub fn held_unmapped(&self, waits: &[Wait], audience: Audience) -> Option<Vec<HeldBy>> {
        if !self.leadership.leads() {
            return None;
        }
        let mut held = Vec::new();
        if let Some(failure) = self.workers.get("mapper") {
            let detail = match audience {
                Audience::Everything => format!("mapping fails: {}", failure.error),
                Audience::Limited => "mapping fails; an operator has to look".to_owned(),
            };
            held.push(HeldBy::new(None, "worker", detail));
        }
        let failure = match audience {
            Audience::Everything => self.catalogue_failure(),
            Audience::Limited => String::new(),
        };
        if self.catalogue.read_since.is_none() {
            let detail = format!("the account's distributions have not been read yet{failure}");
            held.push(HeldBy::new(None, "catalogue", detail));
            return Some(held);
        }
        held.extend(waits.iter().map(|wait| {
            let detail = format!("{}{failure}", in_words(wait));
            HeldBy::new(wait.distribution_id(), "catalogue", detail)
        }));
        Some(held)
    }

    /// The conversion of each hold: a new one needs an arm here.
    fn entry(&self, id: &str, hold: &Hold, audience: Audience, now: Timestamp) -> HeldBy {
        let with = |detail: String| HeldBy::new(Some(id), hold.name(), detail);
        match hold {
            Hold::Paused if self.paused => {
                with("sending is paused for all distributions, until `purgefront resume`".to_owned())
            }
            Hold::Paused => with(format!(
                "sending is paused for this distribution, until `purgefront resume {id}`"
            )),
            Hold::DayLimit => HeldBy {
                retry_at: Some(next_day(now)),
                ..with(
                    "today's limit (limits.paths_per_day) is spent: automatic work waits until the day \
                     is over (UTC) or `purgefront resume`"
                        .to_owned(),
                )
            },
            Hold::PoolFull => with(
                "as many items are in progress at CloudFront as it permits: more are sent when some \
                 have completed"
                    .to_owned(),
            ),
            Hold::Held { until } => HeldBy {
                retry_at: Some(*until),
                ..with(
                    "a deploy window is open: what gathers is sent when its hold ends, or is deleted \
                     (GET /holds lists those that a token may see)"
                        .to_owned(),
                )
            },
            Hold::Refused(refused) => HeldBy {
                retry_at: Some(refused.retry_at),
                ..with(in_full(refused, audience))
            },
        }
    }

    fn catalogue_failure(&self) -> String {
        let failed = self.catalogue.failure.iter();
        let failed = failed.chain(&self.catalogue.unanswered).next();
        failed.map_or(String::new(), |one| {
            let remedy = one.remedy.map_or(String::new(), |text| format!("; {text}"));
            format!(" ({}{remedy})", one.error)
        })
    }
}

impl HeldBy {
    fn new(distribution_id: Option<&str>, hold: &'static str, detail: String) -> Self {
        Self {
            distribution_id: distribution_id.map(str::to_owned),
            hold,
            detail,
            retry_at: None,
        }
    }
}

fn in_full(refused: &Refused, audience: Audience) -> String {
    let Refused {
        error,
        remedy,
        failures,
        ..
    } = refused;
    let failed = match failures {
        0 => "is tried again".to_owned(),
        1 => "failed once, and is tried again".to_owned(),
        _ => format!("failed {failures} times, and is tried again"),
    };
    match audience {
        Audience::Everything => {
            let remedy = remedy.map_or(String::new(), |text| format!("; {text}"));
            format!("{failed}: {error}{remedy}")
        }
        Audience::Limited => failed,
    }
}

fn in_words(wait: &Wait) -> String {
    match wait {
        Wait::Bucket(bucket) => format!(
            "no known distribution has the bucket {bucket} as an origin: the account is read again"
        ),
        Wait::Details(_) => "the distribution's configuration has to be read first".to_owned(),
        Wait::Policy { policy_id, .. } => {
            format!("the cache policy {policy_id} has to be read first")
        }
        Wait::Again(_) => "it is to be mapped to this distribution again".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::status::{CatalogueFailure, DistributionStatus};

    fn status(holds: Vec<Hold>) -> Status {
        let one = DistributionStatus {
            holds,
            ..DistributionStatus::default()
        };
        let mut status = Status::default();
        status.distributions.insert("E1".to_owned(), one);
        status
    }

    fn now() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn names(held: &[HeldBy]) -> Vec<&'static str> {
        held.iter().map(|one| one.hold).collect()
    }

    #[test]
    fn each_hold_of_a_distribution_is_one_entry() {
        let refused = Hold::Refused(Refused {
            error: "denied for arn:aws:iam::1:role/r".to_owned(),
            kind: Some("denied"),
            remedy: Some("grant it"),
            corrupt: false,
            failures: 3,
            retry_at: now(),
        });
        let status = status(vec![Hold::Paused, refused, Hold::DayLimit, Hold::PoolFull]);
        let held = status.held_at("E1", Audience::Everything, now()).unwrap();
        assert_eq!(
            names(&held),
            ["paused", "refused", "daily_limit", "pool_full"]
        );
        assert!(
            held.iter()
                .all(|one| one.distribution_id.as_deref() == Some("E1"))
        );
        assert!(held[0].detail.contains("purgefront resume E1"));
        assert!(held[1].detail.contains("arn:aws:iam") && held[1].detail.contains("grant it"));
        assert_eq!(held[1].retry_at, Some(now()));
        let midnight = "2026-11-24T00:00:00Z".parse().unwrap();
        assert_eq!(held[2].retry_at, Some(midnight));
        let idle = status.held_at("E2", Audience::Everything, now());
        assert_eq!(idle, Some(Vec::new()));
        let limited = status.held_at("E1", Audience::Limited, now()).unwrap();
        assert_eq!(names(&limited), names(&held));
        assert!(!limited[1].detail.contains("arn"), "{:?}", limited[1]);
    }

    #[test]
    fn a_pause_of_all_and_shadow_mode_hold_every_distribution() {
        let status = Status {
            paused: true,
            shadow: true,
            ..status(vec![Hold::Paused])
        };
        for id in ["E1", "E9"] {
            let held = status.held_at(id, Audience::Limited, now()).unwrap();
            assert_eq!(names(&held), ["paused", "shadow"], "{id}");
            assert!(held[0].detail.contains("all distributions"));
        }
    }

    #[test]
    fn an_unmapped_change_says_what_it_waits_for() {
        let mut status = Status::default();
        status.catalogue.failure = Some(CatalogueFailure {
            error: "denied for arn:aws:iam::1:role/r".to_owned(),
            kind: "denied",
            remedy: Some("grant it"),
        });
        let waits = [
            Wait::Bucket("site".to_owned()),
            Wait::Details("E1".to_owned()),
        ];
        let held = status.held_unmapped(&waits, Audience::Everything).unwrap();
        assert_eq!(names(&held), ["catalogue"]);
        assert!(held[0].detail.contains("not been read yet (denied"));
        status.catalogue.read_since = Some(now());
        let held = status.held_unmapped(&waits, Audience::Limited).unwrap();
        assert_eq!(names(&held), ["catalogue", "catalogue"]);
        assert_eq!(held[0].distribution_id, None);
        assert_eq!(held[1].distribution_id.as_deref(), Some("E1"));
        assert!(held.iter().all(|one| !one.detail.contains("arn")));
        let nothing = status.held_unmapped(&[], Audience::Limited);
        assert_eq!(nothing, Some(Vec::new()));
        status.follow(None);
        assert_eq!(status.held_unmapped(&waits, Audience::Everything), None);
        assert_eq!(status.held_at("E1", Audience::Everything, now()), None);
    }
}
