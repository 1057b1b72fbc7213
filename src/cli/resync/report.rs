//! What a resync tells: as text, or as one JSON value.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    cli::{DONE, FAILED, complain, say},
    domain::{
        ledger::{price, price_usd},
        path::Item,
        resync::{Found, Orders},
    },
    printable::printable,
};

/// What is told, as text or as JSON.
pub(super) struct Report {
    is_json: bool,
    pub(super) json: Value,
    pub(super) sent: usize,
    /// How many keys cannot be cleared.
    left: u64,
}

impl Report {
    pub(super) fn new(is_json: bool) -> Self {
        Self {
            is_json,
            json: json!({"notes": [], "requests": []}),
            sent: 0,
            left: 0,
        }
    }

    fn say(&self, line: impl std::fmt::Display) {
        if !self.is_json {
            say(line);
        }
    }

    pub(super) fn note(&mut self, line: &str) {
        self.say(format_args!("note     {line}"));
        if let Some(notes) = self.json["notes"].as_array_mut() {
            notes.push(line.into());
        }
    }

    pub(super) fn found(&mut self, bucket: &str, since: Timestamp, found: &Found) {
        let Found {
            looked_at,
            changed,
            covered,
            requested,
            ..
        } = found;
        self.say(format_args!(
            "found    {bucket}: {} looked at, {changed} changed since {since}",
            counted(*looked_at, "object")
        ));
        self.say(format_args!(
            "found    {covered} of them covered by later changes in the history, {} possibly stale",
            found.stale()
        ));
        if *requested > 0 {
            let were = if *requested == 1 { "was" } else { "were" };
            self.say(format_args!(
                "found    {} that {were} requested since",
                counted(*requested, "item")
            ));
        }
        for (key, value) in [
            ("looked_at", *looked_at),
            ("changed", *changed),
            ("covered", *covered),
            ("stale", found.stale()),
            ("requested", *requested),
            ("left", found.left),
        ] {
            self.json[key] = value.into();
        }
        for (why, count) in &found.unreachable {
            self.note(&format!(
                "{} without an item: {why}",
                counted(*count, "key")
            ));
        }
        self.left = found.left;
    }

    /// `seen` is the number of deleted objects, if deletes can be seen.
    pub(super) fn deletes(&mut self, bucket: &str, seen: Option<u64>) {
        self.json["deleted"] = json!(seen);
        match seen {
            Some(1) => self.say("found    1 of the stale ones is deleted"),
            Some(seen) => self.say(format_args!("found    {seen} of the stale ones are deleted")),
            None => self.note(&format!(
                "deletes cannot be seen: the bucket keeps no versions. If objects may have been deleted, \
                 clear the part that they were in, with one path for each distribution: purgefront resync \
                 {bucket} --prefix PREFIX --prefix-wildcard"
            )),
        }
    }

    pub(super) fn orders(&mut self, orders: &Orders) {
        let mut shown = BTreeMap::new();
        for (id, items) in &orders.by_distribution {
            let wildcards = items.iter().filter(|item| item.is_wildcard()).count();
            self.say(format_args!(
                "to do    {}: {}, {}{}",
                printable(id),
                counted(items.len(), "item"),
                of_them(wildcards),
                examples(items)
            ));
            shown.insert(id, json!({"items": items.len(), "wildcards": wildcards}));
        }
        let Orders {
            paths, wildcards, ..
        } = orders;
        let price = price(*paths);
        self.say(format_args!(
            "price    {}, {}: {price} after the month's first 1,000; how many of those are spent is not known",
            counted(*paths, "path"),
            of_them(*wildcards)
        ));
        self.json["distributions"] = json!(shown);
        self.json["paths"] = json!(paths);
        self.json["wildcards"] = json!(wildcards);
        self.json["price_usd"] = json!(price_usd(*paths));
    }

    pub(super) fn sent(&mut self, distribution_id: &str, items: usize, request: &str) {
        self.sent += items;
        self.say(format_args!(
            "sent     {distribution_id}: {}, request {request}",
            counted(items, "item")
        ));
        if let Some(requests) = self.json["requests"].as_array_mut() {
            let id = distribution_id;
            requests.push(json!({"id": request, "distribution_id": id, "items": items}));
        }
    }

    /// Ends, and says so if something stays stale. The result is the exit code.
    pub(super) fn finish(&mut self, outcome: &str, text: &str) -> u8 {
        if self.left == 0 {
            self.end(outcome, text);
            return DONE;
        }
        let them = if self.left == 1 { "it" } else { "them" };
        complain(format_args!(
            "{} cannot be cleared: see the notes, and clear {them} with a wildcard or a tag.",
            counted(self.left, "key")
        ));
        self.end("incomplete", if self.sent == 0 { "" } else { text });
        FAILED
    }

    pub(super) fn end(&mut self, outcome: &str, text: &str) {
        if self.is_json {
            self.json["outcome"] = outcome.into();
            say(&self.json);
        } else if !text.is_empty() {
            say(text);
        }
    }
}

/// A number and its noun.
pub(super) fn counted(count: impl std::fmt::Display, noun: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn of_them(wildcards: usize) -> String {
    match wildcards {
        1 => "1 of them a wildcard".to_owned(),
        _ => format!("{wildcards} of them wildcards"),
    }
}

/// A few, so that one can see what is meant.
fn examples(items: &[Item]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = items.iter().take(SHOWN).map(Item::as_str).collect();
    let more = if items.len() > SHOWN { ", …" } else { "" };
    format!(" ({}{more})", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(0, "item"), "0 items");
        assert_eq!(counted(1, "item"), "1 item");
        assert_eq!(of_them(1), "1 of them a wildcard");
        assert_eq!(of_them(2), "2 of them wildcards");
    }
}
