//! The distributions: what waits, what holds it, what is in progress, and how long CloudFront takes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use maud::{Markup, html};

use super::{chart, words};
use crate::domain::{
    batch::Usage,
    catalogue::Catalogue,
    operations::Pauses,
    propagation::Propagation,
    status::{Audience, DistributionStatus, HeldBy, Status},
};

/// The most distributions on a page.
pub(super) const SHOWN: usize = 200;
/// The most that the status page tells all about, and how many there may be before idle ones are folded.
pub(super) const BUSY: usize = 50;
const UNFOLDED: usize = 20;
/// The rank of those with nothing to do.
const IDLE: u8 = 12;
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
    /// Items of frozen batches that CloudFront has not answered, or not accepted.
    unanswered: usize,
    oldest: Option<Timestamp>,
    /// Items that CloudFront has accepted and not completed.
    in_progress: usize,
    held: Vec<Held>,
    /// Whether this process knows how its work stands, and not only the one that leads.
    work_known: bool,
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
                    Some(at) if at.duration_since(now).as_secs() > 0 => { ". Tried again in " (words::span(at.duration_since(now))) }
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
        let holds = status.held_at(id, Audience::Everything, now);
        let holds = holds.into_iter().flatten();
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
            unanswered: items(of_it.unresolved.usage),
            oldest: of_it.waits_since(),
            in_progress: items(of_it.accepted()),
            held,
            work_known: status.leadership.leads(),
        }
    };
    let mut rows: Vec<_> = ids.into_iter().map(row).collect();
    // Stable: equal ones stay ordered by id.
    rows.sort_by_key(Row::rank);
    rows
}

fn items(usage: Usage) -> usize {
    usage.paths + usage.wildcards
}

impl Row {
    fn is_idle(&self) -> bool {
        self.rank() == IDLE
    }

    fn rank(&self) -> u8 {
        match self.held.first() {
            Some(held) => held.rank(),
            None if self.oldest.is_some() => 10,
            None if self.in_progress > 0 => 11,
            None => IDLE,
        }
    }

    fn state(&self, now: Timestamp) -> Markup {
        html! {
            @for held in &self.held {
                (held.render(now))
            }
            @if self.held.is_empty() {
                @if !self.work_known { span.muted { "known to the leader" } }
                @else if self.oldest.is_some() { span.tag { "sending" } }
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

/// How many rows the status page tells all about: where there are many, not the idle ones.
pub(super) fn told(rows: &[Row]) -> usize {
    let busy = rows.iter().take_while(|row| !row.is_idle()).count();
    if rows.len() <= UNFOLDED {
        rows.len()
    } else {
        busy.min(BUSY)
    }
}

/// The status page's part: the first rows, and what is folded.
pub(super) fn overview(rows: &[Row], figures: Option<&Figures>, now: Timestamp) -> Markup {
    let (shown, rest) = rows.split_at(told(rows));
    let busy = rest.iter().filter(|row| !row.is_idle()).count();
    let idle = &rest[busy..];
    html! {
        (complaints(rows, figures))
        @if !shown.is_empty() { (table(shown, figures, now)) }
        @if busy > 0 {
            p.pages { (words::counted(busy as u64, "more distribution")) " with trouble or work." }
        }
        @if !idle.is_empty() {
            details #idle {
                summary #idle-summary {
                    (words::counted(idle.len() as u64, if idle.iter().all(|row| row.work_known) {
                        "idle distribution"
                    } else {
                        "other distribution"
                    }))
                }
                ul.idle {
                    @for row in idle.iter().take(SHOWN) { li { (row.name()) } }
                }
                @if idle.len() > SHOWN {
                    p.muted { "and " (words::count(idle.len() - SHOWN)) " more" }
                }
            }
        }
        @if !rest.is_empty() {
            p.pages { a href="/page/distributions" {
                "All " (words::count(rows.len())) " distributions, with their times"
            } }
        }
    }
}

fn complaints(rows: &[Row], figures: Option<&Figures>) -> Markup {
    html! {
        @if rows.is_empty() {
            p.muted { "No distributions are known: the account has none, or has not been read yet." }
        } @else if figures.is_none() {
            p.bad { "The store cannot be read now: what was completed is not known." }
        } @else if !rows.iter().all(|row| row.work_known) {
            p.muted { "What waits and what is in progress, the replica that leads knows: see its page." }
        }
    }
}

/// Where the page with this row begins; a row beyond the last one is the last.
pub(super) fn page_of(rows: usize, from: usize) -> usize {
    let last = rows.saturating_sub(1) / SHOWN * SHOWN;
    if from < rows { from } else { last }
}

/// A page of the rows, from a place on.
pub(super) fn render(
    rows: &[Row],
    from: usize,
    figures: Option<&Figures>,
    now: Timestamp,
) -> Markup {
    let next = rows.len().min(from + SHOWN);
    let page = |from: usize| format!("/page/distributions?from={from}");
    html! {
        (complaints(rows, figures))
        @if from < next { (table(&rows[from..next], figures, now)) }
        @if from > 0 || next < rows.len() {
            p.pages {
                (words::count(from + 1)) " to " (words::count(next)) " of " (words::count(rows.len())) ". "
                @if from > 0 { a href=(page(from.saturating_sub(SHOWN))) { "Previous distributions" } " " }
                @if next < rows.len() { a href=(page(next)) { "More distributions" } }
            }
        }
    }
}

fn table(rows: &[Row], figures: Option<&Figures>, now: Timestamp) -> Markup {
    html! {
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
                @for row in rows { (render_row(row, figures, now)) }
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
            td.n role="cell" data-label="Waiting" {
                @if row.work_known { (words::count(row.waiting + row.unanswered)) } @else { (unknown()) }
                @if row.unanswered > 0 {
                    span.muted.line { (words::count(row.unanswered)) " unanswered" }
                }
            }
            td.n role="cell" data-label="Oldest" {
                @match row.oldest {
                    Some(oldest) => (words::span(now.duration_since(oldest))),
                    None if row.work_known => span.muted { "none" },
                    None => (unknown()),
                }
            }
            td.n role="cell" data-label="In progress" {
                @if row.work_known { (words::count(row.in_progress)) } @else { (unknown()) }
            }
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

fn unknown() -> Markup {
    html! { span.muted { "unknown" } }
}

#[cfg(test)]
mod tests;
