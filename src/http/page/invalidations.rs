//! Invalidations: the newest ones, and one with the changes behind each item.

use jiff::Timestamp;
use maud::{Markup, html};

use super::words;
use crate::domain::{
    batch::BatchStatus,
    history::{InvalidationDetail, InvalidationSummary, ItemDetail, Merged, Why},
};

/// The most invalidations on the status page, and how many are read to find them.
const SHOWN: usize = 20;
pub(super) const READ: usize = 200;
/// The most items of an invalidation, and the most changes of an item.
const ITEMS: usize = 200;
const WHYS: usize = 10;

/// A status in words, with its class.
pub(super) fn status(status: BatchStatus) -> Markup {
    let (class, text) = match status {
        BatchStatus::Pending => ("", "pending"),
        BatchStatus::InProgress => ("", "in progress"),
        BatchStatus::Completed => ("ok", "completed"),
        BatchStatus::Failed => ("bad", "failed"),
        BatchStatus::Replaced => ("", "replaced"),
        BatchStatus::Shadowed => ("warn", "shadowed"),
    };
    html! { span.tag .(class) { (text) } }
}

/// The newest invalidations, without those that others took the place of.
pub(super) fn recent(newest: &[InvalidationSummary], now: Timestamp) -> Markup {
    let is_replaced = |one: &InvalidationSummary| one.status == BatchStatus::Replaced;
    let last = newest.iter().enumerate();
    let last = last.filter(|(_, one)| !is_replaced(one)).nth(SHOWN - 1);
    let looked_at = &newest[..last.map_or(newest.len(), |(at, _)| at + 1)];
    let shown: Vec<_> = looked_at.iter().filter(|one| !is_replaced(one)).collect();
    let replaced = (looked_at.len() - shown.len()) as u64;
    html! {
        @if newest.is_empty() {
            p.muted { "No invalidation was made yet." }
        } @else if !shown.is_empty() {
            table.cards.compact role="table" {
                caption.hidden { "The newest invalidations" }
                thead role="rowgroup" { tr role="row" {
                    th role="columnheader" scope="col" { "Invalidation" }
                    th role="columnheader" scope="col" { "Distribution" }
                    th role="columnheader" scope="col" { "Status" }
                    th.n role="columnheader" scope="col" { "Items" }
                    th.n role="columnheader" scope="col" { "Changes" }
                    th.n role="columnheader" scope="col" { "Created" }
                    th.n role="columnheader" scope="col" { "Submitted" }
                    th.n role="columnheader" scope="col" { "Completed" }
                } }
                tbody role="rowgroup" {
                    @for one in shown { (row(one, now)) }
                }
            }
        }
        @if replaced > 0 {
            p.muted.pages {
                (words::counted(replaced, "invalidation")) " among these, whose place others took, "
                (if replaced == 1 { "is" } else { "are" }) " left out: "
                code { "GET /invalidations?status=replaced" } " has them."
            }
        }
    }
}

fn row(one: &InvalidationSummary, now: Timestamp) -> Markup {
    let id = one.id.to_string();
    html! {
        tr role="row" {
            th role="rowheader" scope="row" {
                a href=(format!("/page/invalidations/{id}")) { (words::code(&name(one))) }
            }
            td role="cell" data-label="Distribution" { (words::code(&one.distribution_id)) }
            td role="cell" data-label="Status" { (status(one.status)) }
            td.n role="cell" data-label="Items" { (words::number(one.item_count)) }
            td.n role="cell" data-label="Changes" { (words::number(one.change_count)) }
            td.n role="cell" data-label="Created" { (words::moment(now, one.created_at)) }
            td.n role="cell" data-label="Submitted" { (later(one.submitted_at, one)) }
            td.n role="cell" data-label="Completed" { (later(one.completed_at, one)) }
        }
    }
}

/// CloudFront's id or, where there is none, the end of ours: those of the same time begin alike.
fn name(one: &InvalidationSummary) -> String {
    one.cloudfront_id.clone().unwrap_or_else(|| {
        let id = one.id.to_string();
        format!("…{}", &id[id.len() - 12..])
    })
}

/// A time by how long after the creation it was.
fn later(time: Option<Timestamp>, one: &InvalidationSummary) -> Markup {
    html! {
        @match time {
            Some(time) => time datetime=(time) { "+" (words::span(time.duration_since(one.created_at))) },
            None => span.muted { (missing(one.status)) },
        }
    }
}

/// What stands where a time is missing.
fn missing(status: BatchStatus) -> &'static str {
    match status {
        BatchStatus::Pending | BatchStatus::InProgress => "not yet",
        BatchStatus::Completed => "unknown",
        BatchStatus::Failed | BatchStatus::Replaced | BatchStatus::Shadowed => "never",
    }
}

/// An invalidation with its items.
pub(super) fn detail(one: &InvalidationDetail, now: Timestamp) -> Markup {
    let InvalidationDetail {
        summary,
        items,
        prevented,
    } = one;
    let moment = |time: Option<Timestamp>| {
        html! {
            @match time {
                Some(time) => (words::moment_ago(now, time)),
                None => (missing(summary.status)),
            }
        }
    };
    html! {
        section #facts data-part aria-labelledby="facts-title" {
            h1 #facts-title { "Invalidation "
                (words::code(&name(summary)))
            }
            dl.wide {
                div { dt { "Status" } dd { (status(summary.status)) } }
                div { dt { "Distribution" } dd { (words::code(&summary.distribution_id)) } }
                div { dt { "purgefront’s id" } dd { (words::code(&summary.id.to_string())) } }
                div { dt { "Items" } dd { (words::number(summary.item_count)) } }
                div { dt { "Changes" } dd { (words::number(summary.change_count)) } }
                div { dt { "Created" } dd { (moment(Some(summary.created_at))) } }
                div { dt { "Submitted" } dd { (moment(summary.submitted_at)) } }
                div { dt { "Completed" } dd { (moment(summary.completed_at)) } }
                @if !summary.replaced_by.is_empty() {
                    div { dt { "Replaced by" } dd {
                        @for id in &summary.replaced_by {
                            a href=(format!("/page/invalidations/{id}")) { (words::code(&id.to_string())) } " "
                        }
                    } }
                }
            }
        }
        section #items data-part aria-labelledby="items-title" {
            h2 #items-title { "Items, and why" }
            ol.items {
                @for item in items.iter().take(ITEMS) { (item_with_whys(item, now)) }
            }
            @if items.len() > ITEMS {
                p.muted { "and " (words::count(items.len() - ITEMS)) " more items: "
                    code { "GET /invalidations/" (summary.id) } " has all of them." }
            }
            @if items.is_empty() { p.muted { "It was replaced: its changes went on without it, in other invalidations." } }
        }
        @if !prevented.is_empty() { (render_prevented(prevented)) }
    }
}

fn item_with_whys(item: &ItemDetail, now: Timestamp) -> Markup {
    let shown = item.why.len().min(WHYS) as u64;
    let more = item.why_total.saturating_sub(shown);
    html! {
        li {
            p { (words::code(&item.item))
                @if let Some(merged) = &item.merged { span.muted { " " (made(*merged)) } } }
            ul.why {
                @for why in item.why.iter().take(WHYS) { li { (render_why(why, now)) } }
                @if more > 0 { li.muted { "and " (words::counted(more, "more change")) } }
            }
        }
    }
}

/// What a wildcard saves and costs that nobody asked for.
fn made(merged: Merged) -> Markup {
    html! {
        "made by purgefront: replaces " (words::counted(merged.replaces as u64, "path")) ", "
        @match merged.evictions {
            Some(evictions) => { "evicts " (words::counted(evictions as u64, "unchanged object")) }
            None => "number of evictions unknown",
        }
    }
}

fn render_prevented(prevented: &[String]) -> Markup {
    html! {
        section #prevented data-part aria-labelledby="prevented-title" {
            h2 #prevented-title { "Wildcards that were not allowed" }
            ul {
                @for one in prevented.iter().take(ITEMS) { li { (words::foreign(one)) } }
                @if prevented.len() > ITEMS {
                    li.muted { "and " (words::count(prevented.len() - ITEMS)) " more" }
                }
            }
        }
    }
}

fn render_why(why: &Why, now: Timestamp) -> Markup {
    match why {
        Why::Event {
            bucket,
            key,
            event,
            message_id,
            sequencer,
            time,
            accepted_at,
            because,
            asked,
        } => html! {
            span.tag { (words::foreign(event)) } " " (object(bucket, key)) ", " (words::moment(now, *time))
            ", accepted " (words::moment(now, *accepted_at))
            (needed(asked.as_deref()))
            p.muted { (words::foreign(because)) ". Message " (words::code(&message_id.to_string()))
                @if let Some(sequencer) = sequencer { ", sequencer " (words::code(sequencer)) } }
        },
        Why::Manual {
            request_id,
            token,
            reason,
            bucket,
            key,
            time,
            because,
            asked,
        } => html! {
            span.tag { "request" } " by " (words::foreign(token))
            @if let Some(reason) = reason { ": " q { (words::foreign(reason)) } }
            @if let (Some(bucket), Some(key)) = (bucket, key) { ", " (object(bucket, key)) }
            ", " (words::moment(now, *time))
            (needed(asked.as_deref()))
            p.muted { (words::foreign(because)) ". Request " (words::code(&request_id.to_string())) }
        },
    }
}

/// What a change needed, where a wildcard covers it.
fn needed(asked: Option<&str>) -> Markup {
    html! { @if let Some(asked) = asked { ", for " (words::code(asked)) } }
}

/// An object, with a link to its story.
pub(super) fn object(bucket: &str, key: &str) -> Markup {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("bucket", bucket)
        .append_pair("key", key)
        .finish();
    html! {
        a href=(format!("/page/object?{query}")) { (words::short_code(key)) }
        " in " (words::code(bucket))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn summary() -> InvalidationSummary {
        InvalidationSummary {
            seq: 1,
            id: Uuid::nil(),
            distribution_id: "E1".to_owned(),
            cloudfront_id: Some("I1".to_owned()),
            status: BatchStatus::InProgress,
            item_count: 1_200,
            change_count: 3_400,
            created_at: "2026-03-04T11:00:00Z".parse().unwrap(),
            submitted_at: Some("2026-03-04T11:00:02Z".parse().unwrap()),
            completed_at: None,
            replaced_by: Vec::new(),
        }
    }

    fn event() -> Why {
        Why::Event {
            bucket: "site".to_owned(),
            key: "a&b \"<i>.html".to_owned(),
            event: "ObjectCreated:Put".to_owned(),
            message_id: Uuid::nil(),
            sequencer: Some("00AF".to_owned()),
            time: summary().created_at,
            accepted_at: summary().created_at,
            because: "the object".to_owned(),
            asked: None,
        }
    }

    fn now() -> Timestamp {
        "2026-03-04T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_row_has_the_times_after_its_creation() {
        let shown = recent(&[summary()], now()).into_string();
        for part in [
            "/page/invalidations/00000000",
            ">+2 s<",
            "not yet",
            "1,200",
            "3,400",
            "11:00:00",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let replaced = InvalidationSummary {
            status: BatchStatus::Replaced,
            submitted_at: None,
            ..summary()
        };
        let mut newest = vec![replaced; 40];
        newest.extend(vec![summary(); 30]);
        let shown = recent(&newest, now()).into_string();
        assert_eq!(shown.matches("<tr").count(), 1 + SHOWN);
        assert!(shown.contains("40 invalidations among these") && !shown.contains(">replaced<"));
        let none = recent(&newest[..1], now()).into_string();
        assert!(none.contains("1 invalidation among these") && !none.contains("<table"));
        assert!(recent(&[], now()).into_string().contains("No invalidation"));
    }

    #[test]
    fn items_and_their_reasons_are_bounded_and_escaped() {
        let item = ItemDetail {
            item: "/a".to_owned(),
            why: vec![event(); 100],
            why_total: 5_000,
            merged: None,
        };
        let detail = InvalidationDetail {
            summary: summary(),
            items: vec![item; 1_200],
            prevented: vec!["<b>".to_owned(); 1_200],
        };
        let shown = super::detail(&detail, now()).into_string();
        assert_eq!(shown.matches("ObjectCreated:Put").count(), ITEMS * WHYS);
        assert!(shown.contains("and 4,990 more changes"));
        assert!(shown.contains("and 1,000 more items"));
        assert_eq!(shown.matches("&lt;b&gt;").count(), ITEMS);
        assert!(shown.contains("and 1,000 more<"));
        assert!(!shown.contains("<i>") && !shown.contains("<b>"));
        let link = "/page/object?bucket=site&amp;key=a%26b+%22%3Ci%3E.html";
        assert!(shown.contains(link), "{}", &shown[..2_000]);
    }

    #[test]
    fn what_merging_did_is_said() {
        let item = |merged| ItemDetail {
            item: "/img/*".to_owned(),
            why: Vec::new(),
            why_total: 0,
            merged,
        };
        let shown = |merged| {
            let detail = InvalidationDetail {
                summary: summary(),
                items: vec![item(merged)],
                prevented: Vec::new(),
            };
            super::detail(&detail, now()).into_string()
        };
        let merged = |replaces, evictions| Merged {
            replaces,
            evictions,
        };
        let known = shown(Some(merged(12, Some(3))));
        assert!(
            known.contains("made by purgefront: replaces 12 paths, evicts 3 unchanged objects"),
            "{known}"
        );
        let unknown = shown(Some(merged(1, None)));
        assert!(unknown.contains("replaces 1 path, number of evictions unknown"));
        let asked_for = shown(None);
        assert!(!asked_for.contains("made by") && !asked_for.contains("not allowed"));
    }
}
