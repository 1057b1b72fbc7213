//! What the service is doing as a whole: how it sends, what comes in, and what the month costs.

use jiff::Timestamp;
use maud::{Markup, html};

use super::words;
use crate::domain::{
    change::Unmapped,
    economy::ANY_NUMBER,
    ledger::{FREE_PATHS, Ledger, MonthStatus, dollars, month_price_usd},
    operations::{DayBudget, Pauses},
    status::Status,
};

/// How the service sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sending {
    shadow: bool,
    /// `None` if the store cannot be read.
    pauses: Option<Pauses>,
    catalogue_read: Option<Timestamp>,
    /// Who leads, if there is a choice.
    leader: Option<String>,
}

/// What comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Intake {
    /// When the newest message was accepted or, before the first, when the store was made.
    silent_since: Option<Timestamp>,
    /// `None` if only another process knows.
    unmapped: Option<Unmapped>,
    topics: usize,
    confirmations: usize,
    /// Whether readiness warns of a subscription.
    warned: bool,
}

/// What this month costs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Month {
    /// Such as `2026-03`.
    name: String,
    /// `None` if the store cannot be read.
    costs: Option<Costs>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Costs {
    pub(super) month: MonthStatus,
    pub(super) today: DayBudget,
}

impl Sending {
    pub(super) fn of(status: &Status, pauses: Option<Pauses>) -> Self {
        Self {
            shadow: status.shadow,
            pauses,
            catalogue_read: status.catalogue.read_since,
            leader: status.leadership.in_words(),
        }
    }

    fn pause(&self) -> String {
        match &self.pauses {
            None => "unknown: the store cannot be read".to_owned(),
            Some(Pauses { all: true, .. }) => "paused for all distributions".to_owned(),
            Some(Pauses { distributions, .. }) if distributions.is_empty() => {
                "not paused".to_owned()
            }
            Some(Pauses { distributions, .. }) => {
                let count = words::counted(distributions.len() as u64, "distribution");
                format!("paused for {count}")
            }
        }
    }

    fn render(&self, now: Timestamp) -> Markup {
        html! {
            dl {
                div { dt { "Mode" } dd {
                    @if self.shadow { span.tag.warn { "shadow" } " plans everything, sends nothing" }
                    @else { span.tag { "live" } }
                } }
                div { dt { "Sending" } dd { (self.pause()) } }
                div { dt { "Account read" } dd {
                    @match self.catalogue_read {
                        Some(at) => (words::moment_ago(now, at)),
                        None => "not yet",
                    }
                } }
                @if let Some(leader) = &self.leader {
                    div { dt { "Leader" } dd { (words::foreign(leader)) } }
                }
                div { dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) } }
            }
        }
    }
}

impl Intake {
    pub(super) fn of(
        status: &Status,
        silent_since: Option<Timestamp>,
        topics: usize,
        warned: bool,
    ) -> Self {
        Self {
            silent_since,
            unmapped: status.leadership.leads().then_some(status.unmapped),
            topics,
            confirmations: status.confirmations,
            warned,
        }
    }

    fn render(&self, now: Timestamp) -> Markup {
        html! {
            dl {
                div { dt { "No message since" } dd {
                    @match self.silent_since {
                        Some(at) => (words::moment_ago(now, at)),
                        None => "unknown: the store cannot be read",
                    }
                } }
                div { dt { "Unmapped changes" } dd {
                    @match self.unmapped {
                        Some(Unmapped { changes, oldest }) => {
                            (words::number(changes))
                            @if let Some(oldest) = oldest.filter(|_| changes > 0) {
                                ", the oldest since " (words::moment_ago(now, oldest))
                            }
                        }
                        None => "known to the leader",
                    }
                } }
                div { dt { "Topics" } dd {
                    (words::count(self.topics))
                    @if self.confirmations > 0 {
                        ", " (words::counted(self.confirmations as u64, "unconfirmed subscription"))
                    } @else if self.warned {
                        " " span.tag.warn { "not all subscribed" }
                    } @else if self.topics > 0 && self.unmapped.is_some() {
                        ", all subscribed"
                    }
                } }
            }
        }
    }
}

impl Month {
    pub(super) fn of(name: String, costs: Option<Costs>) -> Self {
        Self { name, costs }
    }

    fn render(&self) -> Markup {
        html! {
            @match &self.costs {
                None => dl { div { dt { "Paths" } dd { "unknown: the store cannot be read" } } },
                Some(costs) => dl { (costs.render()) },
            }
            p.muted.small {
                "The free " (words::number(FREE_PATHS)) " a month are for the whole account. Of what others \
                 invalidate, only what this service came across counts here: the bill may be higher."
            }
        }
    }
}

impl Costs {
    fn render(&self) -> Markup {
        let Ledger { own, others, .. } = self.month.ledger;
        let paths = self.month.ledger.paths();
        let charged = paths.saturating_sub(FREE_PATHS);
        html! {
            div { dt { "Paths sent" } dd { (words::number(own)) } }
            div { dt { "Others’ paths" } dd { "at least " (words::number(others)) } }
            div { dt { "Price so far" } dd {
                "at least " strong { (dollars(self.month.ledger.price_usd())) }
                span.muted {
                    @if charged > 0 {
                        " for " (words::counted(charged, "path")) " beyond the free "
                            (words::number(FREE_PATHS))
                    } @else {
                        " (" (words::number(paths)) " of the free " (words::number(FREE_PATHS)) ")"
                    }
                }
            } }
            div { dt { "Forecast" } dd {
                (dollars(month_price_usd(self.month.forecast)))
                span.muted { " for " (words::counted(self.month.forecast, "path")) }
            } }
            div { dt { "Budget" } dd { (self.budget()) } }
            div { dt { "A path is worth" } dd {
                (self.evictions())
                @if self.is_raised() {
                    span.muted { ", raised from " (shown(self.month.base_evictions_per_path)) }
                }
            } }
            div { dt { "Today" } dd { (self.today()) } }
        }
    }

    fn budget(&self) -> Markup {
        let share = (self.month.spent_share() * 100.0).floor();
        html! {
            @if self.month.budget == 0 {
                "none"
            } @else {
                @if self.month.stage() > 0 { span.tag.warn { (share) "%" } } @else { (share) "%" }
                " of " (words::counted(self.month.budget, "path"))
            }
        }
    }

    fn is_raised(&self) -> bool {
        self.month.evictions_per_path > self.month.base_evictions_per_path
    }

    fn evictions(&self) -> String {
        if self.month.evictions_per_path >= ANY_NUMBER {
            "any number of evictions".to_owned()
        } else {
            format!("{} evictions", shown(self.month.evictions_per_path))
        }
    }

    fn today(&self) -> String {
        match self.today {
            DayBudget { limit: 0, spending } => {
                format!("{}, without a daily limit", words::number(spending.items))
            }
            DayBudget { limit, spending } => {
                let lifted = if spending.lifted {
                    ", which is lifted today"
                } else {
                    ""
                };
                format!(
                    "{} of the daily limit of {}{lifted}",
                    words::number(spending.items),
                    words::number(limit)
                )
            }
        }
    }
}

/// A number of evictions: small ones with two places, where there are any.
fn shown(evictions: f64) -> String {
    let text = if evictions < 100.0 {
        format!("{evictions:.2}")
    } else {
        format!("{evictions:.0}")
    };
    match text.split_once('.') {
        Some(_) => {
            let text = text.trim_end_matches('0');
            text.trim_end_matches('.').to_owned()
        }
        None => text.parse().map_or(text, words::number),
    }
}

/// The three lists beside each other.
pub(super) fn render(sending: &Sending, intake: &Intake, month: &Month, now: Timestamp) -> Markup {
    html! {
        div.facts {
            section #sending data-part aria-labelledby="sending-title" {
                h2 #sending-title { "Service" } (sending.render(now))
            }
            section #intake data-part aria-labelledby="intake-title" {
                h2 #intake-title { "Intake" } (intake.render(now))
            }
            section #month data-part aria-labelledby="month-title" {
                h2 #month-title { "Price of " (month.name) } (month.render())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{economy::Economy, operations::DaySpending};

    /// In the middle of June, after a week of 100 paths a day.
    fn month(own: u64, others: u64, monthly_paths: u64) -> String {
        let economy = Economy {
            monthly_paths,
            ..Economy::default()
        };
        let ledger = Ledger {
            own,
            others,
            recent: 700,
            days: 7,
        };
        let now = "2026-06-16T00:00:00Z".parse().unwrap();
        let costs = Costs {
            month: MonthStatus::of(ledger, &economy, now),
            today: DayBudget::default(),
        };
        let month = Month::of("June 2026".to_owned(), Some(costs));
        month.render().into_string()
    }

    #[test]
    fn the_first_thousand_paths_are_free() {
        let month = |own, others| month(own, others, 0);
        assert!(
            month(999, 0).contains("$0.000") && month(999, 0).contains("999 of the free 1,000")
        );
        assert!(month(600, 400).contains("$0.000"));
        assert!(month(600, 401).contains("$0.005"));
        assert!(month(2_000, 346).contains("$6.730"));
        assert!(month(2_000, 346).contains("for 1,346 paths beyond the free 1,000"));
        assert!(month(2_000, 346).contains("at least 346"));
        assert!(month(1_001_000, 0).contains("$5000.000"));
    }

    #[test]
    fn the_budget_is_told_with_what_it_does() {
        let none = month(900, 100, 0);
        assert!(
            none.contains(">none<") && none.contains("20 evictions") && !none.contains("raised")
        );
        // 1,000 so far, and 100 a day for the 15 days that are left.
        assert!(
            none.contains("$7.500") && none.contains("2,500 paths"),
            "{none}"
        );
        let half = month(900, 100, 2_000);
        assert!(half.contains("50% of 2,000 paths"), "{half}");
        assert!(half.contains("40 evictions") && half.contains("raised from 20"));
        assert!(!half.contains("tag warn"));
        assert!(month(900, 100, 1_250).contains("tag warn"));
        let spent = month(900, 100, 1_000);
        assert!(
            spent.contains("100%") && spent.contains("any number of evictions"),
            "{spent}"
        );
    }

    #[test]
    fn numbers_of_evictions_have_no_more_places_than_they_need() {
        let numbers = [0.0, 0.5, 20.0, 22.222, 99.5, 2_000.4, 1e6];
        let wanted = ["0", "0.5", "20", "22.22", "99.5", "2,000", "1,000,000"];
        assert_eq!(numbers.map(shown), wanted);
    }

    #[test]
    fn today_is_told_with_its_limit() {
        let today = |limit, items, lifted| {
            let spending = DaySpending { items, lifted };
            let costs = Costs {
                month: MonthStatus::default(),
                today: DayBudget { limit, spending },
            };
            costs.today()
        };
        assert_eq!(today(0, 5, false), "5, without a daily limit");
        assert_eq!(
            today(2_000, 1_500, false),
            "1,500 of the daily limit of 2,000"
        );
        assert!(today(2_000, 2_500, true).ends_with("which is lifted today"));
        let unknown = Month::of(String::new(), None).render().into_string();
        assert!(unknown.contains("unknown: the store"));
    }

    #[test]
    fn shadow_mode_and_subscriptions_that_are_missing_are_told() {
        let now = Timestamp::UNIX_EPOCH;
        let live = Status::default();
        let shadow = Status {
            shadow: true,
            ..Status::default()
        };
        let mode = |status: &Status| Sending::of(status, None).render(now).into_string();
        assert!(mode(&shadow).contains("sends nothing") && !mode(&live).contains("sends nothing"));
        let topics = |topics, warned| {
            let intake = Intake::of(&live, None, topics, warned);
            intake.render(now).into_string()
        };
        assert!(topics(2, false).contains("2, all subscribed"));
        assert!(topics(2, true).contains("not all subscribed"));
        assert!(!topics(0, false).contains("subscribed"));
        assert!(!mode(&live).contains("Leader"));
    }

    #[test]
    fn a_follower_tells_who_leads_and_claims_nothing_more() {
        let now = Timestamp::UNIX_EPOCH;
        let mut status = Status::default();
        status.follow(Some(crate::domain::status::Leader {
            holder: "host-a:1".to_owned(),
            since: now,
        }));
        let sending = Sending::of(&status, None).render(now).into_string();
        assert!(sending.contains("host-a:1"), "{sending}");
        let intake = Intake::of(&status, None, 2, false)
            .render(now)
            .into_string();
        assert!(intake.contains("known to the leader"), "{intake}");
        assert!(!intake.contains("subscribed"), "{intake}");
    }

    #[test]
    fn pauses_are_told_in_words() {
        let pause = |pauses| Sending::of(&Status::default(), pauses).pause();
        let one = Pauses {
            all: false,
            distributions: ["E1".to_owned()].into(),
        };
        assert_eq!(pause(Some(Pauses::default())), "not paused");
        assert_eq!(pause(Some(one.clone())), "paused for 1 distribution");
        assert_eq!(
            pause(Some(Pauses { all: true, ..one })),
            "paused for all distributions"
        );
        assert!(pause(None).starts_with("unknown"));
    }
}
