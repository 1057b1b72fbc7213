//! The distributions: what waits, what holds it, what is in progress, and how long CloudFront takes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use maud::{Markup, html};

use super::{chart, words};
use crate::domain::{
    catalogue::Catalogue,
    operations::Pauses,
    propagation::Propagation,
    status::{Audience, DistributionStatus, HeldBy, Status},
};

/// The most distributions on a page.
pub(super) const SHOWN: usize = 200;
/// The most aliases of a distribution.
const ALIASES: usize = 3;

/// A distribution's row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) id: String,
    aliases: Vec<String>,
    /// Whether the catalogue has it; unknown before the account was read.
    known: Option<bool>,
    waiting: usize,
    oldest: Option<Timestamp>,
    in_progress: usize,
    held: Vec<Held>,
}

/// Why a distribution's items wait.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    /// The name of the hold in API and metrics.
    hold: &'static str,
    detail: String,
    retry_at: Option<Timestamp>,
}

impl Held {
    /// Orders the rows: the less, the sooner somebody should look.
    fn rank(&self) -> u8 {
        match self.hold {
            "refused" => 0,
            "not_seen" => 1,
            "paused" => 2,
            "daily_limit" => 3,
            _ => 4,
        }
    }

    fn class(&self) -> &'static str {
        if self.hold == "refused" {
            "bad"
        } else {
            "warn"
        }
    }

    fn render(&self, now: Timestamp) -> Markup {
        html! {
            p {
                span.tag .(self.class()) { (self.hold.replace('_', " ")) } " "
                (words::sentence(&self.detail))
                @match self.retry_at {
                    Some(at) if at > now => { ". Tried again in " (words::span(at.duration_since(now))) }
                    Some(_) => { ". Tried again now" }
                    None => {}
                }
            }
        }
    }
}

impl From<HeldBy> for Held {
    fn from(held: HeldBy) -> Self {
        Self {
            hold: held.hold,
            detail: held.detail,
            retry_at: held.retry_at,
        }
    }
}

/// The figures of the store, where it could be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) propagation: BTreeMap<String, Propagation>,
    pub(super) last_completed: HashMap<String, Timestamp>,
}

/// All distributions that the catalogue or the status has: those with trouble first, then by id.
pub(super) fn rows(
    status: &Status,
    pauses: &Pauses,
    catalogue: Option<&Catalogue>,
    now: Timestamp,
) -> Vec<Row> {
    let kept = catalogue.map(|catalogue| &catalogue.snapshot().distributions);
    let kept = kept.into_iter().flatten().map(|one| one.id.as_str());
    let ids: BTreeSet<_> = kept
        .chain(status.distributions.keys().map(String::as_str))
        .chain(pauses.distributions.iter().map(String::as_str))
        .collect();
    let idle = DistributionStatus::default();
    let row = |id: &str| {
        let of_it = status.distributions.get(id).unwrap_or(&idle);
        let found = catalogue.and_then(|catalogue| catalogue.get(id));
        let holds = status.held_at(id, Audience::Everything, now).into_iter();
        // What holds all of them is told above.
        let holds = holds.filter(|held| held.hold != "shadow");
        let mut held: Vec<Held> = holds.map(Held::from).collect();
        if pauses.distributions.contains(id) && held.iter().all(|held| held.hold != "paused") {
            held.push(Held {
                hold: "paused",
                detail: format!("until `purgefront resume {id}`"),
                retry_at: None,
            });
        }
        if let Some(error) = status.unseen.get(id) {
            held.push(Held {
                hold: "not_seen",
                detail: format!("GetInvalidation does not succeed: {error}"),
                retry_at: None,
            });
        }
        held.sort_by_key(Held::rank);
        Row {
            id: id.to_owned(),
            aliases: found.map_or_else(Vec::new, |one| one.aliases.clone()),
            known: catalogue.map(|_| found.is_some()),
            waiting: of_it.waiting.items(),
            oldest: of_it.waits_since(),
            in_progress: of_it.in_progress.paths + of_it.in_progress.wildcards,
            held,
        }
    };
    let mut rows: Vec<_> = ids.into_iter().map(row).collect();
    // Stable: equal ones stay ordered by id.
    rows.sort_by_key(Row::rank);
    rows
}

impl Row {
    fn rank(&self) -> u8 {
        match self.held.first() {
            Some(held) => held.rank(),
            None if self.oldest.is_some() => 10,
            None if self.in_progress > 0 => 11,
            None => 12,
        }
    }

    fn state(&self, now: Timestamp) -> Markup {
        html! {
            @for held in &self.held {
                (held.render(now))
            }
            @if self.held.is_empty() {
                @if self.oldest.is_some() { span.tag { "sending" } }
                @else if self.in_progress > 0 { span.tag { "in progress" } }
                @else { span.tag.ok { "idle" } }
            }
            @if self.known == Some(false) { p.muted { "not in the account, as last read" } }
        }
    }

    fn name(&self) -> Markup {
        let more = self.aliases.len().saturating_sub(ALIASES);
        html! {
            (words::code(&self.id))
            @if !self.aliases.is_empty() {
                p.muted {
                    @for (at, alias) in self.aliases.iter().take(ALIASES).enumerate() {
                        @if at > 0 { ", " }
                        (words::foreign(alias))
                    }
                    @if more > 0 { " and " (more) " more" }
                }
            }
        }
    }
}

/// A page of the rows, from a place on.
pub(super) fn render(
    rows: &[Row],
    from: usize,
    figures: Option<&Figures>,
    now: Timestamp,
) -> Markup {
    let shown: Vec<_> = rows.iter().skip(from).take(SHOWN).collect();
    let next = from + shown.len();
    html! {
        @if rows.is_empty() {
            p.muted { "No distributions are known: the account has none, or has not been read yet." }
        } @else {
            @if figures.is_none() {
                p.bad { "The store cannot be read now: what was completed is not known." }
            }
            table.cards role="table" {
                caption.hidden { "Distributions, those with trouble first" }
                thead role="rowgroup" { tr role="row" {
                    th role="columnheader" scope="col" { "Distribution" }
                    th role="columnheader" scope="col" { "State" }
                    th.n role="columnheader" scope="col" { "Waiting" }
                    th.n role="columnheader" scope="col" { "Oldest" }
                    th.n role="columnheader" scope="col" { "In progress" }
                    th.n role="columnheader" scope="col" { "Last completed" }
                    th role="columnheader" scope="col" { "Propagation, last day" }
                } }
                tbody role="rowgroup" {
                    @for row in shown { (render_row(row, figures, now)) }
                }
            }
            @if from > 0 || next < rows.len() {
                p.pages {
                    (words::count(from + 1)) " to " (words::count(next)) " of " (words::count(rows.len())) ". "
                    @if from > 0 { a href="/page/distributions" { "First" } " " }
                    @if next < rows.len() {
                        a href=(format!("/page/distributions?from={next}")) { "More distributions" }
                    }
                }
            }
        }
    }
}

fn render_row(row: &Row, figures: Option<&Figures>, now: Timestamp) -> Markup {
    let completed = figures.and_then(|figures| figures.last_completed.get(&row.id));
    let propagation = figures.and_then(|figures| figures.propagation.get(&row.id));
    html! {
        tr role="row" {
            th role="rowheader" scope="row" { (row.name()) }
            td role="cell" data-label="State" { (row.state(now)) }
            td.n role="cell" data-label="Waiting" { (words::count(row.waiting)) }
            td.n role="cell" data-label="Oldest" {
                @match row.oldest {
                    Some(oldest) => (words::span(now.duration_since(oldest))),
                    None => span.muted { "none" },
                }
            }
            td.n role="cell" data-label="In progress" { (words::count(row.in_progress)) }
            td.n role="cell" data-label="Last completed" {
                @match completed {
                    Some(completed) => (words::ago(now, *completed)),
                    None => span.muted { "none" },
                }
            }
            td role="cell" data-label="Propagation, last day" {
                @match propagation {
                    Some(propagation) => div.propagation {
                        (chart::render(propagation))
                        p {
                            "median " (words::span(propagation.day.median)) br;
                            "longest " (words::span(propagation.day.longest))
                        }
                    },
                    None => span.muted { "none" },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{
        catalogue::{Distribution, Snapshot},
        status::{Hold, Refused},
    };

    fn now() -> Timestamp {
        "2026-03-04T12:00:00Z".parse().unwrap()
    }

    fn catalogue(ids: &[&str]) -> Catalogue {
        let distributions = ids.iter().map(|id| {
            let aliases = ["a", "b", "c", "d", "e"].map(|name| format!("{name}.example"));
            Arc::new(Distribution {
                id: (*id).to_owned(),
                aliases: aliases.to_vec(),
                ..Distribution::default()
            })
        });
        let snapshot = Snapshot {
            distributions: distributions.collect(),
            ..Snapshot::default()
        };
        Catalogue::new(snapshot, Arc::new([]))
    }

    fn refused() -> Hold {
        Hold::Refused(Refused {
            error: "AccessDenied: <b>".to_owned(),
            kind: Some("denied"),
            remedy: Some("grant it"),
            corrupt: false,
            failures: 3,
            retry_at: now() + jiff::SignedDuration::from_mins(4),
        })
    }

    fn status(holds: &[(&str, &[Hold])]) -> Status {
        let distributions = holds.iter().map(|(id, holds)| {
            let holds = holds.to_vec();
            let status = DistributionStatus {
                holds,
                ..DistributionStatus::default()
            };
            ((*id).to_owned(), status)
        });
        Status {
            distributions: distributions.collect(),
            ..Status::default()
        }
    }

    #[test]
    fn those_with_trouble_come_first_then_by_id() {
        let status = status(&[
            ("E1", &[]),
            ("E3", &[Hold::PoolFull]),
            ("E4", &[Hold::DayLimit]),
            ("E5", &[Hold::PoolFull, refused()]),
        ]);
        let pauses = Pauses {
            all: false,
            distributions: ["E9".to_owned()].into(),
        };
        let catalogue = catalogue(&["E0", "E1", "E3", "E4", "E5"]);
        let rows = rows(&status, &pauses, Some(&catalogue), now());
        let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, ["E5", "E9", "E4", "E3", "E0", "E1"]);
        assert_eq!(
            rows[1].known,
            Some(false),
            "an operator paused it, but it is gone"
        );
        assert_eq!(rows[1].held[0].hold, "paused", "also while nothing waits");
    }

    #[test]
    fn a_refusal_says_why_what_mends_it_and_when_it_is_tried_again() {
        let status = status(&[("E1", &[refused()])]);
        let rows = rows(&status, &Pauses::default(), None, now());
        let shown = render(&rows, 0, None, now()).into_string();
        for part in [
            "refused",
            "AccessDenied: &lt;b&gt;; grant it",
            "failed 3 times",
            "again in 4 min",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(shown.contains("The store cannot be read"), "no figures");
    }

    #[test]
    fn many_distributions_are_shown_in_pages() {
        let ids: Vec<_> = (0..450).map(|n| format!("E{n:03}")).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let catalogue = catalogue(&ids);
        let rows = rows(
            &Status::default(),
            &Pauses::default(),
            Some(&catalogue),
            now(),
        );
        let page = |from| render(&rows, from, Some(&Figures::default()), now()).into_string();
        assert_eq!(page(0).matches("<tr").count(), 1 + SHOWN);
        assert!(page(0).contains("/page/distributions?from=200"));
        assert!(page(0).contains("c.example</bdi> and 2 more"));
        assert_eq!(page(400).matches("<tr").count(), 51);
        assert!(!page(400).contains("More distributions"));
        assert_eq!(page(9_999).matches("<tr").count(), 1);
    }
}
