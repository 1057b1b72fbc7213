//! What the service is doing as a whole: how it sends, what comes in, and what the month costs.

use jiff::Timestamp;
use maud::{Markup, html};

use super::words;
use crate::domain::{
    change::Unmapped,
    operations::{DayBudget, Pauses},
    preview::{self, FREE_PATHS},
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

/// What was sent this month, and what CloudFront charges for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Month {
    /// Such as `2026-03`.
    name: String,
    /// `None` if the store cannot be read.
    items: Option<u64>,
    today: Option<DayBudget>,
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
    pub(super) fn of(name: String, items: Option<u64>, today: Option<DayBudget>) -> Self {
        Self { name, items, today }
    }

    /// Paths beyond the free ones.
    fn charged(items: u64) -> u64 {
        items.saturating_sub(FREE_PATHS)
    }

    fn today(&self) -> String {
        match self.today {
            None => "unknown: the store cannot be read".to_owned(),
            Some(DayBudget { limit: 0, spending }) => {
                format!("{}, without a daily limit", words::number(spending.items))
            }
            Some(DayBudget { limit, spending }) => {
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

    fn render(&self) -> Markup {
        html! {
            dl {
                @match self.items {
                    None => div { dt { "Paths" } dd { "unknown: the store cannot be read" } },
                    Some(items) => {
                        div { dt { "Paths sent" } dd {
                            (words::number(items))
                            span.muted { " (" (words::number(items.min(FREE_PATHS))) " of the free "
                                (words::number(FREE_PATHS)) ")" }
                        } }
                        div { dt { "Price" } dd {
                            strong { (price(Self::charged(items))) }
                            @if Self::charged(items) > 0 {
                                span.muted { " for " (words::counted(Self::charged(items), "path"))
                                    " beyond them" }
                            }
                        } }
                    }
                }
                div { dt { "Today" } dd { (self.today()) } }
            }
            p.muted.small {
                "The free " (words::number(FREE_PATHS)) " a month are for the whole account. Only what this \
                 service sent counts here: the bill is higher if others invalidate too."
            }
        }
    }
}

/// In US dollars.
fn price(paths: u64) -> String {
    preview::price(usize::try_from(paths).unwrap_or(usize::MAX))
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
    use crate::domain::operations::DaySpending;

    fn month(items: u64) -> String {
        Month::of("March 2026".to_owned(), Some(items), None)
            .render()
            .into_string()
    }

    #[test]
    fn the_first_thousand_paths_are_free() {
        assert!(month(999).contains("$0.000") && month(999).contains("999 of the free 1,000"));
        assert!(month(1_000).contains("$0.000"));
        assert!(month(1_001).contains("$0.005"));
        assert!(month(2_346).contains("$6.730"));
        assert!(month(2_346).contains("for 1,346 paths beyond them"));
        assert!(month(1_001_000).contains("$5000.000"));
    }

    #[test]
    fn today_is_told_with_its_limit() {
        let today = |limit, items, lifted| {
            let spending = DaySpending { items, lifted };
            Month::of(String::new(), None, Some(DayBudget { limit, spending })).today()
        };
        assert_eq!(today(0, 5, false), "5, without a daily limit");
        assert_eq!(
            today(2_000, 1_500, false),
            "1,500 of the daily limit of 2,000"
        );
        assert!(today(2_000, 2_500, true).ends_with("which is lifted today"));
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
